"""Settings of the place where the program runs: one TOML file, for what is the same in every command typed there."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import ganhpc
from ganhpc.core import whoami
from ganhpc.core.errors import UserError, nearest
from ganhpc.core.toml_readers import BadValue, readers_of, table_in, text, time_zone, whole_number
from ganhpc.core.whoami import base_folder, expand

ROOT = Path(ganhpc.__file__).resolve().parents[1]
"""The folder of launch.py."""
SAFE_PATH = () if os.pathsep in str(ROOT) else ("-P",)
"""Python's option that leaves out the folder in which a command is typed: its random.py is none of Python's modules. Not where the checkout's
path can't stand in PYTHONPATH: there that folder is often the checkout."""
_VARIABLE = "GANHPC_CONFIG"
"""Environment variable that names the file."""


def with_checkout(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which Python finds this checkout's packages, before those of other folders in PYTHONPATH."""
    others = [word for word in environment.get("PYTHONPATH", "").split(os.pathsep) if word not in ("", str(ROOT))]
    return {**environment, "PYTHONPATH": os.pathsep.join([str(ROOT), *others])}


def folder(value: Any) -> Path:
    """A folder; `~` and `$VARIABLES` stand for what they are in the shell."""
    if not text(value).strip():
        raise BadValue('a folder such as "~/data"')
    path = os.path.expandvars(value)
    if unset := re.search(r"\$\{?(\w+)", path):
        raise BadValue(f"a folder without ${unset[1]}, which is not set here")
    return expand(path)


def folders(value: Any) -> tuple[Path, ...]:
    """A list of folders."""
    if not isinstance(value, list):
        shown = json.dumps(value, ensure_ascii=False) if isinstance(value, str) and value else '"~/my-jobs"'
        raise BadValue(f"a list such as [{shown}]")
    return tuple(folder(each) for each in value)


def _texts(example: str) -> Callable[[Any], tuple[str, ...]]:
    """A reader of lines of text, with an example of one."""

    def read(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list):
            shown = json.dumps(value, ensure_ascii=False) if isinstance(value, str) and value else f'"{example}"'
            raise BadValue(f"a list such as [{shown}]")
        return tuple(text(line) for line in value)

    return read


def job_types(value: Any) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """A table of job types: name -> further words."""
    if not isinstance(value, dict):
        raise BadValue('a table such as\n[job_types]\nnight = ["-t night"]')
    return tuple((name, _texts("-t exotic")(words)) for name, words in value.items())


def whole(value: Any) -> int:
    """A whole number that is not negative."""
    return whole_number(value, "a whole number such as 1")


@dataclass(frozen=True)
class Settings:
    """The settings, a field a key of the file, with the reader of its value. None: the file doesn't say."""

    path: Path | None = None
    """The file they were read from; None: there is none."""
    data_root: Annotated[Path | None, folder] = None
    """Folder where data sets lie. --data-root on the command line goes before it."""
    runs: Annotated[Path | None, folder] = None
    """Folder of run folders. --runs on the command line and GANHPC_RUNS go before it."""
    time_zone: Annotated[str | None, time_zone] = None
    """Time zone of the site's schedulers, such as Europe/Paris."""
    policy: Annotated[str | None, text] = None
    """Policy in force where --policy says nothing: a packaged one, or the path of a TOML file, which counts from this file's own folder."""
    python: Annotated[str | None, text] = None
    """Python interpreter on the nodes, where it is not the one that runs the launcher."""
    setup: Annotated[tuple[str, ...], _texts("module load conda")] = ()
    """Shell lines that every job begins with, such as export PATH="/srv/.../anaconda3/bin:$PATH"."""
    gpus_per_node: Annotated[int | None, whole] = None
    """GPUs that a job asks for where --gpus-per-node says nothing."""
    options: Annotated[tuple[str, ...], _texts("--exclude=node7")] = ()
    """Further words for oarsub or sbatch; what the policy decides is refused (ganhpc.launch.schedulers.option_words)."""
    queue: Annotated[str | None, text] = None
    """OAR: queue (-q)."""
    project: Annotated[str | None, text] = None
    """OAR: project (--project)."""
    properties: Annotated[str | None, text] = None
    """OAR: properties (-p), such as gpu_model = 'GTX 1080 Ti'."""
    resources: Annotated[str | None, text] = None
    """OAR: resources (-l) without the walltime, such as host=1/gpu=1."""
    partition: Annotated[str | None, text] = None
    """Slurm: partition."""
    account: Annotated[str | None, text] = None
    """Slurm: account."""
    qos: Annotated[str | None, text] = None
    """Slurm: quality of service."""
    gpu_model: Annotated[str | None, text] = None
    """The model of the GPUs, by the cluster's own name for it."""
    cluster: Annotated[str | None, text] = None
    """OAR: the cluster of the site, such as chifflot."""
    constraint: Annotated[str | None, text] = None
    """Slurm: features that nodes must have (--constraint); OAR: a further condition beside `properties`."""
    mail: Annotated[str | None, text] = None
    """Address that gets a mail when a job ends."""
    container: Annotated[str | None, text] = None
    """Words before the command on the node, such as apptainer exec --nv image.sif."""
    conda: Annotated[str | None, text] = None
    """Conda environment, by name or folder, that every job activates."""
    modules: Annotated[tuple[str, ...], _texts("cuda/12")] = ()
    """Modules that every job loads."""
    job_types: Annotated[tuple[tuple[str, tuple[str, ...]], ...], job_types] = ()
    """Named types of jobs, chosen by --type: the further words of each, as in `options`."""
    jobs: Annotated[tuple[Path, ...], folders] = ()
    """Folders with experiments of the user's own. GANHPC_JOBS goes before it."""

    by_type: tuple[str, ...] = ()
    """The further words of the job type that is typed."""

    @property
    def setup_lines(self) -> tuple[str, ...]:
        """The lines of shell before the command: modules, the Conda environment, then `setup`."""
        found = 'command -v module >/dev/null || for f in /etc/profile.d/{modules,lmod}.sh; do [ ! -r "$f" ] || . "$f"; done'
        loads = [found, *(f"module load {shlex.quote(name)}" for name in self.modules)] if self.modules else []
        conda = ['eval "$(conda shell.bash hook)"', f"conda activate {shlex.quote(self.conda)}"] if self.conda else []
        return (*loads, *conda, *self.setup)

    @property
    def prefix(self) -> list[str]:
        """The words before the command on the node. Raises UserError where their quotes don't match."""
        try:
            return shlex.split(self.container or "")
        except ValueError as error:
            raise UserError(
                f"container is {self.container!r}, whose quotes don't match ({error}): close them."
            ) from None

    @property
    def interpreter(self) -> str:
        """The Python of the jobs. A relative path counts from the file's own folder; a bare name is looked up on the node."""
        if not self.python:
            return "python" if self.conda or self.container else sys.executable
        if "/" not in self.python:
            return self.python
        # A variable stands at the beginning, such as $HOME; elsewhere a dollar may be part of a name.
        first, slash, rest = self.python.partition("/")
        made = expand(os.path.expandvars(first) + slash + rest)
        return str(self.path.resolve().parent / made if self.path else made.absolute())


def places() -> list[Path]:
    """Paths at which the file may lie, the first one first; where $GANHPC_CONFIG is set, nowhere else (/dev/null: no settings)."""
    if named := os.environ.get(_VARIABLE):
        return [expand(named)]
    found = os.environ.get("XDG_CONFIG_HOME") or whoami.home()
    own = [base_folder("XDG_CONFIG_HOME", "~/.config") / "ganhpc" / "config.toml"] if found else []
    return [ROOT / "ganhpc.toml", *own]


def state_folder() -> Path:
    """Folder in which the launchers of this user meet."""
    return base_folder("XDG_STATE_HOME", "~/.local/state") / "ganhpc"


def usual_runs() -> Path:
    """The folder of runs in which a command looks that has no --runs."""
    return expand(os.environ.get("GANHPC_RUNS") or load().runs or "runs")


def load() -> Settings:
    """The settings of the first file that exists; none of them where there is no file.

    Raises UserError where $GANHPC_CONFIG names no file, or a file can't be read, has an unknown key or a bad value.
    """
    candidates = places()
    found = next((path for path in candidates if path.exists() and not path.is_dir()), None)
    if found is None and _VARIABLE in os.environ and os.environ[_VARIABLE]:
        raise UserError(f"${_VARIABLE} names {candidates[0]}, which is not a file: write it, or `unset {_VARIABLE}`.")
    return read(found) if found else Settings()


def read(path: Path) -> Settings:
    """The settings in `path`. A folder that is not absolute counts from the file's own. Raises UserError (see `load`)."""
    try:
        table = table_in(path)
    except UserError as error:
        raise UserError(f"the configuration {str(error).rstrip('.')}: write it anew, or fix its permissions.") from None
    except ValueError as error:
        raise UserError(
            f'the configuration {path} is not valid TOML: {error}. A line reads: runs = "~/runs"'
        ) from error
    return dataclasses.replace(Settings(path), **{key: _value(path, key, value) for key, value in table.items()})


def _value(path: Path, key: str, value: Any) -> Any:
    readers = readers_of(Settings)
    if key not in readers:
        raise UserError(f"the configuration {path} has an unknown key {key!r}: {nearest(key, readers)}.")
    try:
        made = readers[key](value)
    except BadValue as allowed:
        raise UserError(f"the configuration {path} has {key} = {value!r}: write {allowed}.") from None
    base = path.resolve().parent
    if isinstance(made, tuple) and made and isinstance(made[0], Path):
        return tuple(base / each for each in made)
    return base / made if isinstance(made, Path) else made
