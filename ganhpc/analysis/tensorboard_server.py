"""TensorBoard over chosen runs: a folder of links for it to read, the program as a child, and the tunnel to type elsewhere."""

from __future__ import annotations

import importlib.util
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ganhpc.core.errors import UserError
from ganhpc.core.files import read_json
from ganhpc.core.printable import printable
from ganhpc.core.whoami import user_name
from ganhpc.runs import tensorboard_hparams
from ganhpc.runs.definition_fields import differing, fields_of, options_of
from ganhpc.runs.figures import ShownIn, keys_of, named_in
from ganhpc.runs.run_folder import Run
from ganhpc.runs.trainer_protocol import die_with_parent

_LONGEST_NAME = 240
"""Bytes of a part of a title: a file system takes 255, and a number may come behind it."""
_MOST_FILES, _DEEPEST = 10_000, 4
"""Files of a folder, and folders below it, that TensorBoard is given."""
TRIES = 20
"""Ports that are looked at from the first one on."""
_LOCAL_PORT = 10_000
"""Added to the port at the laptop's end: 6006 is 16006 there, so that a TensorBoard on the laptop is not in the way."""
_GRID = "grid5000.fr"
"""The domain of its sites."""
_GATE = "access.grid5000.fr"
"""Through this host all of Grid'5000 is reached."""

# -- what is shown ------------------------------------------------------------------------------------------------------


@dataclass
class Shown:
    """A folder of links to the event files of runs, named experiment/run, and the columns of the HParams page.

    TensorBoard opens whatever it finds, and would wait for a fifo: it finds links to regular files only, the same ones that the runs have.
    TensorBoard reads the columns from one place only: runs of several experiments, and only what differs, can't be told by a run.
    """

    folder: Path
    _linked: dict[str, Path] = field(default_factory=dict)
    _columns: Any = None

    def update(self, runs: Iterable[Run]) -> int:
        """Link the runs that have begun and are not linked yet. Returns how many are linked."""
        for run in runs:
            # os.path's, since Path.is_dir raises where a folder may not be entered.
            if run.folder.absolute() in self._linked.values() or not os.path.isdir(run.tensorboard):  # noqa: PTH112
                continue
            # Copies, and runs that were moved or renamed, may have one title.
            title = _title(run)
            same = sum(name == title or name.startswith(f"{title} (") for name in self._linked)
            name = f"{title} ({same + 1})" if same else title
            if name not in self._linked:
                (self.folder / name).mkdir(parents=True, exist_ok=True)
                self._linked[name] = run.folder.absolute()
        for name, folder in self._linked.items():
            _link_files(Run(folder).tensorboard, self.folder / name)
        columns = columns_of(list(self._linked.values()))
        if columns != self._columns:
            self._write(columns)
        return len(self._linked)

    def _write(self, columns: tuple[dict[str, list[Any]], list[str]]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._columns = columns
        for old in self.folder.glob("events.*"):
            old.unlink()
        with (self.folder / f"events.out.tfevents.0000000000.columns-{len(self._linked)}").open("wb") as file:
            writer = RecordWriter(file)
            for event in (Event(file_version="brain.Event:2"), Event(summary=tensorboard_hparams.columns(*columns))):
                writer.write(event.SerializeToString())


def _title(run: Run) -> str:
    """Experiment and name of a run as a path of two parts below the links, whatever its files call its experiment."""
    kind, _, name = run.title.rpartition("/")
    parts = (
        printable(part).replace("/", "-").encode()[:_LONGEST_NAME].decode(errors="ignore") for part in (kind, name)
    )
    # Neither a way up, nor the name of the file of columns.
    return "/".join(part if part.strip(".") and not part.startswith("events.") else f"-{part}" for part in parts)


def _link_files(source: Path, links: Path, depth: int = _DEEPEST) -> None:
    """Link the regular files in `source` and the folders below it that are not linked yet; links to what is gone are removed."""
    with suppress(OSError):
        for link in links.iterdir():
            if link.is_symlink() and not link.is_file():
                link.unlink()
    try:
        with os.scandir(source) as entries:
            found = sorted(entries, key=lambda entry: entry.name)[:_MOST_FILES]
    except OSError:  # not to be read: it is shown without curves
        return
    for entry in found:
        link = links / entry.name
        with suppress(OSError):
            if entry.is_dir(follow_symlinks=False) and depth:
                link.mkdir(exist_ok=True)
                _link_files(Path(entry.path), link, depth - 1)
            elif entry.is_file() and not link.is_symlink():
                link.symlink_to(Path(entry.path).absolute())


def columns_of(folders: Sequence[Path]) -> tuple[dict[str, list[Any]], list[str]]:
    """(options with their values, tags of metrics) for the HParams page: of several runs the options that differ, and of runs of
    several experiments those that any two of one experiment differ in, with the experiment's own name left to the run's."""
    trees = [tree for folder in folders if (tree := _read(folder / "experiment.json"))]
    kinds: dict[str, list[dict[str, Any]]] = {}
    for tree in trees:
        kinds.setdefault(str(tree.get("experiment")), []).append(tree)
    names = dict.fromkeys(name for alike in kinds.values() for name in differing(alike))
    if not names and trees:
        names = dict.fromkeys(name for tree in trees for name in options_of(tree))
    options = {name: [fields_of(tree).get(name) for tree in trees if name in fields_of(tree)] for name in names}
    return options, _metrics_of(folders)


def _metrics_of(folders: Iterable[Path]) -> list[str]:
    """The tags of metrics that any of the runs has."""
    found: set[str] = set()
    for folder in folders:
        last = _read(folder / "status.json").get("last")
        found |= {f"epoch/{name}" for name in last} if isinstance(last, dict) else set()
        measured = named_in(ShownIn.HPARAMS_END, _read(folder / "result.json"))
        found |= {f"final/{name}" for name in measured}
    order = [f"epoch/{name}" for name in keys_of(ShownIn.HPARAMS) if f"epoch/{name}" in found]
    return order + sorted(tag for tag in found if tag.startswith("final/"))


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_json(path) or {}
    except (OSError, UserError):
        return {}  # `results` says what is wrong with it


# -- the program ----------------------------------------------------------------------------------------------------------


def missing() -> str | None:
    """The reason for which TensorBoard can't be started here, or None."""
    if importlib.util.find_spec("tensorboard") is None:
        return f"TensorBoard is not installed in this environment: {shlex.quote(sys.executable)} -m pip install tensorboard"
    return None


def free_port(first: int) -> int:
    """The first port from `first` on that nobody on this machine listens to. Raises UserError where all that are tried are taken."""
    for port in range(first, min(first + TRIES, 65_536)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise UserError(
        f"--port {first}: the ports from {first} to {min(first + TRIES, 65_536) - 1} are taken or not allowed here; type another."
    )


def command(folder: Path, port: int, every: float) -> list[str]:
    """The command line of TensorBoard, for this machine alone."""
    reload = ["--reload_interval", f"{max(1, every):.0f}", "--reload_multifile", "true"]
    return [
        sys.executable,
        "-P",  # modules of the folder in which it is typed are none of TensorBoard's
        "-m",
        "tensorboard.main",
        "--logdir",
        str(folder),
        "--host",
        "localhost",
        "--port",
        str(port),
        *reload,
    ]


def start(folder: Path, port: int, every: float, log: Path) -> subprocess.Popen[bytes]:
    """TensorBoard as a child, in a session of its own: Ctrl-C reaches the parent alone, which ends it."""
    with log.open("wb") as words:
        return subprocess.Popen(
            command(folder, port, every),
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )


def answers(port: int) -> bool:
    """True if something listens on `port` of this machine."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


# -- the tunnel ------------------------------------------------------------------------------------------------------------


def tunnel(port: int, *, node: str | None = None, login: str | None = None) -> str:
    """The ssh command to type on the laptop, so that http://localhost:PORT+10000 there is this TensorBoard.

    `node`: the machine on which it runs, where that is not the one that is logged in to; `login`: USER@HOST of the latter. It listens
    on its own machine's loopback alone, so that the tunnel ends there: through other machines by -J, never by an open port.
    """
    if node and "." not in node and (domain := this_machine().partition(".")[2]).endswith(_GRID):
        node = f"{node}.{domain}"  # as it is named on the site's own frontend and nodes
    here = port + _LOCAL_PORT if port + _LOCAL_PORT < 65_536 else port
    user = user_name()
    place = node or this_machine()
    user, host = login.rpartition("@")[::2] if login and "@" in login else (user, login or "")
    words = ["ssh", "-N", "-L", f"{here}:localhost:{port}"]
    hops, target = _way(place, host)
    if hops:
        words += ["-J", ",".join(f"{user}@{hop}" for hop in hops)]
    return shlex.join([*words, f"{user}@{target}"])


def on_grid(machine: str) -> bool:
    """True if a machine is named as one of Grid'5000, to which there is one way."""
    return machine.endswith(f".{_GRID}")


def this_machine() -> str:
    """The full name of this machine, as far as it knows one."""
    full = socket.getfqdn()
    return socket.gethostname() if full.startswith("localhost") else full


def _way(place: str, login: str) -> tuple[list[str], str]:
    """(machines to go through, the machine where the tunnel ends) from a laptop."""
    name, _, rest = place.removesuffix(f".{_GRID}").partition(".")
    if rest and place.endswith(
        f".{_GRID}"
    ):  # flille.lille.grid5000.fr is a frontend, chifflot-1.lille.grid5000.fr a node
        site = rest.rpartition(".")[2]
        short = f"{name}.{site}" if name not in ("frontend", f"f{site}") else site
        return [_GATE, *([site] if short != site else [])], short
    if login and login.partition(".")[0] != place.partition(".")[0]:
        return [login], place
    return [], login or place
