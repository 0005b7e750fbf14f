"""The options of sbatch, which of them the policy decides, the GPUs that they ask for, and defaults of the user's own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from ganhpc.core.errors import UserError
from ganhpc.core.files import read_text
from ganhpc.core.settings import ROOT
from ganhpc.core.whoami import home, system_home
from ganhpc.launch.schedulers.option_words import (
    DECIDED,
    NO_JOB,
    ONE_SEGMENT,
    OURS,
    START,
    Grammar,
    Takes,
    Word,
    letters,
    names,
    read,
)

_TIME = f"{DECIDED}: type --time, or name another --policy"
_TYPED = "type --nodes, --gpus-per-node and --tasks-per-node, or set gpus_per_node"
_NUMBERS = names("nodes ntasks ntasks-per-node tasks-per-node gpus-per-node ntasks-per-gpu nodefile")


def _check_priority(word: Word, line: str, key: str) -> None:
    """Raise UserError for the priority that holds a job, as --hold does."""
    if word.name == "priority" and re.fullmatch(r"0+", word.value):
        raise UserError(f"{key} has {line!r}: --priority=0 holds the job, and {START}; take it out of {key}.")


SLURM = Grammar(
    "sbatch",
    {
        **dict.fromkeys(
            names(
                "account acctg-freq array batch bb bbf begin chdir cluster-constraint clusters comment constraint "
                "container core-spec cores-per-socket cpu-bind cpu-freq cpus-per-gpu cpus-per-task deadline "
                "delay-boot dependency distribution error exclude export-file extra extra-node-info gid gpu-bind "
                "gpu-freq gpus gpus-per-node gpus-per-socket gpus-per-task gres gres-flags hint input job-name "
                "kill-on-invalid-dep licenses mail-type mail-user mcs-label mem mem-bind mem-per-cpu mem-per-gpu "
                "mincpus network nodefile nodelist nodes ntasks ntasks-per-core ntasks-per-gpu ntasks-per-node "
                "ntasks-per-socket open-mode output partition power prefer priority profile qos reservation "
                "segment signal sockets-per-node switches tasks-per-node thread-spec threads-per-core time time-min tmp "
                "tres-bind tres-per-task uid wait-all-nodes wckey workdir wrap"
            ),
            Takes.ONE,
        ),
        **dict.fromkeys(["exclusive", "export", "get-user-env", "nice", "no-kill", "propagate"], Takes.PERHAPS),
        **dict.fromkeys(
            names(
                "contiguous help hold ignore-pbs no-requeue overcommit oversubscribe parsable quiet reboot "
                "requeue share spread-job test-only usage use-min-nodes verbose version wait immediate"
            ),
            Takes.NOTHING,
        ),
    },
    letters(
        "A=account a=array B=extra-node-info b=begin C=constraint c=cpus-per-task D=chdir d=dependency "
        "P=dependency e=error F=nodefile G=gpus H=hold h=help I=immediate i=input J=job-name k=no-kill "
        "L=licenses M=clusters m=distribution N=nodes n=ntasks O=overcommit o=output p=partition Q=quiet "
        "q=qos S=core-spec s=oversubscribe t=time V=version v=verbose W=wait w=nodelist x=exclude"
    ),
    {
        **dict.fromkeys(("time", "time-min"), _TIME),
        **dict.fromkeys(("begin", "deadline", "hold", "immediate"), START),
        "reservation": f"a reservation of the site begins and ends when the plan doesn't know, and {DECIDED}",
        "dependency": f"{DECIDED}: jobs follow one another as it says",
        "array": ONE_SEGMENT,
        **dict.fromkeys(("job-name", "comment", "output", "error", "open-mode"), OURS),
        **dict.fromkeys(("signal", "requeue", "no-requeue"), "the trainer saves and goes on by it"),
        **dict.fromkeys(("chdir", "workdir"), "setup lines may hold a `cd`"),  # since Slurm 17.11, before
        **dict.fromkeys(("test-only", "wrap", "parsable", "quiet", "help", "usage", "version", "wait"), NO_JOB),
        "clusters": "its jobs would be another cluster's, which is not looked at here: export SLURM_CONF of that cluster",
        **dict.fromkeys(("uid", "gid"), "jobs are yours"),
        **dict.fromkeys(_NUMBERS, _TYPED),
    },
    "#SBATCH",
    "--exclude=node7",
    _check_priority,
    short_equals=True,
)


def gpus(word: Word) -> int | None:
    """The GPUs on a node that an option of sbatch asks for; None for options that ask for none."""
    if word.name in ("gpus", "gpus-per-socket", "gpus-per-task", "gpus-per-node"):
        generic = word.value
    elif word.name in ("gres", "tres-per-task") and (found := re.search(r"gpu\b[:=/]?([\w.:=-]*)", word.value)):
        generic = found[1]
    else:
        return None
    number = re.search(r"(?:^|[:=])(\d+)$", generic)
    return int(number[1]) if number else 1


_TYPED_ALWAYS = frozenset(
    names(
        "time job-name comment output open-mode chdir requeue no-requeue signal nodes ntasks-per-node tasks-per-node gpus-per-node"
    )
)
"""Options that every submission of ours has: a default of the user's own does nothing to them."""


_AT_SRUN = {"time": "0", "output": "all", "error": "all", "input": "all", "chdir": str(ROOT)}
"""Option of srun -> the value that it has without a default of the user's own. The others that matter are on its line always, or are the job's."""


class _Default(NamedTuple):
    """A line of a file with defaults of the user's own."""

    file: Path
    commands: tuple[str, ...]
    cluster: str
    """Empty: any."""
    name: str
    value: str

    def is_for(self, command: str, cluster: Callable[[], str]) -> bool:
        """True if `command` reads it here, or may: `cluster` gives this one's name, empty where nobody says."""
        return command in self.commands and (not self.cluster or self.cluster == (cluster() or self.cluster))


def check_defaults(cluster: Callable[[], str]) -> None:
    """Raise UserError where the user's own defaults, which a plugin of many sites reads, ask for what the policy decides. `cluster` gives this one's
    name; empty where nobody says."""
    for default in _defaults():
        name, value = default.name, default.value
        if value in ("", "0") or name in _TYPED_ALWAYS or not SLURM.refused.get(name):
            continue
        if default.is_for("sbatch", cluster):
            words = f"--{name}" if SLURM.takes[name] is Takes.NOTHING else f"--{name}={value}"
            read(SLURM, [words], key=str(default.file))


def against_defaults(cluster: Callable[[], str], nodes: int) -> list[str]:
    """Words of srun in a job of `nodes` nodes, with which the user's own defaults neither end its step early nor take the words out of the log:
    the plugin gives them to srun too."""
    usual = {**_AT_SRUN, "ntasks": str(nodes)}
    named = [each.name for each in _defaults() if each.name in usual and each.is_for("srun", cluster)]
    return [f"--{name}={value}" for name, value in usual.items() if name in named]


def _defaults() -> Iterator[_Default]:
    # The plugin takes the system's word for the home, whatever HOME says.
    for own in dict.fromkeys(filter(None, (home(), system_home()))):
        file = own / ".slurm" / "defaults"
        try:
            lines = read_text(file).splitlines()
        except (OSError, UserError):
            continue
        yield from filter(None, (_default(line, file) for line in lines))


def _default(line: str, file: Path) -> _Default | None:
    # COMMAND:CLUSTER:OPTION=VALUE; the command, or both, may be missing, and * means any. Of capitals in the command the plugin makes nothing.
    before, equals, value = line.partition("#")[0].partition("=")
    words = [part.strip() for part in before.split(":") if part.strip()][:3]
    if not equals or not words:
        return None
    command, named = ("*", "*", *words[:-1])[-2:]
    if (
        len(words) == 2 and named.lower() in _COMMANDS
    ):  # as if the cluster were missing: the plugin has such a line for no cluster
        command, named = named, "*"
    commands = _COMMANDS if command == "*" else (command.lower(),)
    return _Default(file, commands, "" if named.startswith("*") else named, words[-1].lstrip("-"), value.strip())


_COMMANDS = ("sbatch", "salloc", "srun")
"""Commands that read the defaults."""
