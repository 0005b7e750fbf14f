"""Further words for sbatch and oarsub that the settings have, read as those commands read them: what the policy decides is refused."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from ganhpc.core.errors import UserError
from ganhpc.launch.schedulers.script_text import argument


class Takes(Enum):
    """Whether an option has a value."""

    NOTHING = 0
    ONE = 1
    PERHAPS = 2
    """Only joined to the option: --export=ALL, --nice."""


@dataclass(frozen=True)
class Word:
    """One option as its command understands it: its long name (as typed where it is not known) and its value."""

    name: str
    value: str
    typed: tuple[str, ...]


@dataclass(frozen=True)
class Grammar:
    """The options of one command."""

    command: str
    takes: Mapping[str, Takes]
    """By long name."""
    short: Mapping[str, str]
    """Letter -> long name."""
    refused: Mapping[str, str]
    """Long name -> what to do instead of it."""
    directive: str
    """How a line of a script begins that has options."""
    ignores_case: bool = False

    def long(self, typed: str) -> list[str]:
        """The options that `typed` may stand for: itself, or those that it abbreviates."""
        name = typed.lower() if self.ignores_case else typed
        return [name] if name in self.takes else [each for each in self.takes if each.startswith(name)]


_DECIDED = "the policy and the plan decide it"
_TIME = f"{_DECIDED}: type --time, or name another --policy"
_START = f"{_DECIDED}: `night --from` names a moment to start"
_ONE = "one job is one segment of a run: --seeds and --scan make several runs"
_OURS = "the launcher finds its jobs and their logs by it"
_TYPED = "type --nodes, --gpus-per-node and --tasks-per-node, or set gpus_per_node"
_NO_JOB = "with it nothing is submitted, or no number of a job is said: --dry-run shows what would be sent"

SLURM = Grammar(
    "sbatch",
    {
        **dict.fromkeys(
            ["account", "acctg-freq", "array", "batch", "bb", "bbf", "begin", "chdir", "cluster-constraint", "clusters", "comment", "constraint", "container", "core-spec", "cores-per-socket", "cpu-bind", "cpu-freq", "cpus-per-gpu", "cpus-per-task", "deadline", "delay-boot", "dependency", "distribution", "error", "exclude", "export-file", "extra", "extra-node-info", "gid", "gpu-bind", "gpu-freq", "gpus", "gpus-per-node", "gpus-per-socket", "gpus-per-task", "gres", "gres-flags", "hint", "input", "job-name", "kill-on-invalid-dep", "licenses", "mail-type", "mail-user", "mcs-label", "mem", "mem-bind", "mem-per-cpu", "mem-per-gpu", "mincpus", "network", "nodefile", "nodelist", "nodes", "ntasks", "ntasks-per-core", "ntasks-per-gpu", "ntasks-per-node", "ntasks-per-socket", "open-mode", "output", "partition", "power", "prefer", "priority", "profile", "qos", "reservation", "signal", "sockets-per-node", "switches", "thread-spec", "threads-per-core", "time", "time-min", "tmp", "tres-bind", "tres-per-task", "uid", "wait-all-nodes", "wckey", "wrap"],
            Takes.ONE,
        ),
        **dict.fromkeys(["exclusive", "export", "get-user-env", "nice", "no-kill", "propagate"], Takes.PERHAPS),
        **dict.fromkeys(
            ["contiguous", "help", "hold", "ignore-pbs", "no-requeue", "overcommit", "oversubscribe", "parsable", "quiet", "reboot", "requeue", "share", "spread-job", "test-only", "usage", "use-min-nodes", "verbose", "version", "wait", "immediate"],
            Takes.NOTHING,
        ),
    },
    {
        "A": "account", "a": "array", "B": "extra-node-info", "b": "begin", "C": "constraint", "c": "cpus-per-task", "D": "chdir", "d": "dependency",
        "P": "dependency", "e": "error", "F": "nodefile", "G": "gpus", "H": "hold", "h": "help", "I": "immediate", "i": "input", "J": "job-name",
        "k": "no-kill", "L": "licenses", "M": "clusters", "m": "distribution", "N": "nodes", "n": "ntasks", "O": "overcommit", "o": "output",
        "p": "partition", "Q": "quiet", "q": "qos", "S": "core-spec", "s": "oversubscribe", "t": "time", "V": "version", "v": "verbose",
        "W": "wait", "w": "nodelist", "x": "exclude",
    },
    {
        **dict.fromkeys(("time", "time-min"), _TIME),
        **dict.fromkeys(("begin", "deadline", "hold", "immediate"), _START),
        "reservation": f"a reservation of the site begins and ends when the plan doesn't know, and {_DECIDED}",
        "dependency": f"{_DECIDED}: jobs follow one another as it says",
        "array": _ONE,
        **dict.fromkeys(("job-name", "comment", "output", "error", "open-mode"), _OURS),
        **dict.fromkeys(("signal", "requeue", "no-requeue"), "the trainer saves and goes on by it"),
        "chdir": "setup lines may hold a `cd`",
        **dict.fromkeys(("test-only", "wrap", "parsable", "quiet", "help", "usage", "version", "wait"), _NO_JOB),
        "clusters": "its jobs would be another cluster's, which is not looked at here: export SLURM_CONF of that cluster",
        **dict.fromkeys(("uid", "gid"), "jobs are yours"),
        **dict.fromkeys(("nodes", "ntasks", "ntasks-per-node", "gpus-per-node", "ntasks-per-gpu", "nodefile"), _TYPED),
    },
    "#SBATCH",
)  # fmt: skip

OAR = Grammar(
    "oarsub",
    {
        **dict.fromkeys(
            ["resource", "queue", "property", "reservation", "connect", "stagein", "stagein-md5sum", "checkpoint", "notify", "type", "directory", "name", "project", "array", "array-param-file", "anterior", "signal", "stdout", "stderr", "resubmit", "import-job-key-inline-priv", "import-job-key-from-file", "export-job-key-to-file"],
            Takes.ONE,
        ),
        **dict.fromkeys(["interactive", "help", "hold", "scanscript", "xml", "yaml", "json", "dumper", "use-job-key", "version"], Takes.NOTHING),
    },
    {
        "l": "resource", "q": "queue", "I": "interactive", "p": "property", "r": "reservation", "C": "connect", "s": "stagein", "h": "help",
        "t": "type", "d": "directory", "n": "name", "a": "anterior", "O": "stdout", "E": "stderr", "S": "scanscript", "X": "xml", "Y": "yaml",
        "J": "json", "D": "dumper", "k": "use-job-key", "i": "import-job-key-from-file", "e": "export-job-key-to-file", "V": "version",
    },
    {
        "resource": 'the walltime is the policy\'s: write resources = "/host=1/gpu=1" for the rest',
        **dict.fromkeys(("reservation", "hold"), _START),
        "anterior": f"{_DECIDED}: jobs follow one another as it says",
        **dict.fromkeys(("array", "array-param-file"), _ONE),
        **dict.fromkeys(("name", "stdout", "stderr"), _OURS),
        **dict.fromkeys(("checkpoint", "signal"), "the trainer saves and goes on by it"),
        "directory": "setup lines may hold a `cd`",
        **dict.fromkeys(("interactive", "connect", "resubmit", "scanscript", "help", "version", "xml", "yaml", "json", "dumper"), _NO_JOB),
    },
    "#OAR",
    ignores_case=True,
)  # fmt: skip

_BY_TYPE = "--type"
"""The key of words that were chosen on the command line: who types --type night wants the night's rules beside the plan's."""
_TIMED_TYPES = ("deadline", "postpone", "expire", "day", "night", "state")
"""Types of OAR's jobs that say when a job may run or must end."""
_NO_TRAINING_TYPES = (
    "noop",
    "cosystem",
    "container",
    "placeholder",
    "desktop_computing",
    "idempotent",
    "set_placeholder",
    "deploy",
)
"""Types of OAR's jobs in which no script runs, that run on another machine, or that send a job again."""


def read(grammar: Grammar, options: Sequence[str], by_type: Sequence[str] = ()) -> list[Word]:
    """The settings' options and those of a job type, an entry of which may hold several words.

    Raises UserError for what the policy decides.
    """
    words: list[Word] = []
    for key, lines in (("options", options), (_BY_TYPE, by_type)):
        for line in lines:
            words += _checked(grammar, _words(line, key), line, key)
    return words


def _words(line: str, key: str) -> list[str]:
    if re.match(r"\s*#", line):
        bare = re.sub(r"^\s*#\s*(SBATCH|OAR)\s*", "", line)
        raise UserError(
            f"{key} has {line!r}, which begins with #: write the words alone, such as {key} = [{quoted(bare)}]."
        )
    try:
        return shlex.split(argument(line, key))
    except ValueError as error:
        raise UserError(f"{key} has {line!r}, whose quotes don't match ({error}): close them.") from None


def quoted(text: str) -> str:
    return f'"{text}"' if '"' not in text else f"'{text}'"


def _checked(grammar: Grammar, words: Sequence[str], line: str, key: str) -> Iterator[Word]:
    for word, candidates in _read(grammar, words, line, key):
        for name in candidates:
            if why := grammar.refused.get(name):
                raise UserError(
                    f"{key} has {line!r}, which sets --{name} of {grammar.command}: {why}; take it out of {key}."
                )
        if grammar is OAR and word.name == "type":
            check_type(word.value, line, key)
        yield word


def check_type(value: str, line: str, key: str) -> None:
    """Raise UserError for a type of an OAR job that decides when it runs, or in which no training runs."""
    kind = value.partition("=")[0].strip().lower()
    if kind in _TIMED_TYPES and not (key == _BY_TYPE and kind in ("day", "night")):
        raise UserError(f"{key} has {line!r}: -t {kind} says when a job may run, and {_DECIDED}; take it out of {key}.")
    if kind in _NO_TRAINING_TYPES:
        raise UserError(
            f"{key} has {line!r}: in a job of -t {kind} no training goes on as planned; take it out of {key}."
        )


def _read(grammar: Grammar, words: Sequence[str], line: str, key: str) -> Iterator[tuple[Word, list[str]]]:
    """Each option of the words with the options that it may stand for."""
    rest = list(words)
    while rest:
        first = rest.pop(0)
        if first in (":", "hetjob", "packjob"):
            raise UserError(f"{key} has {line!r}, which makes a heterogeneous job: {_ONE}; take it out of {key}.")
        if first == "--" or not first.startswith("-") or first == "-":
            raise UserError(
                f"{key} has {line!r}, in which {first!r} is no option of {grammar.command}: write each entry as an option "
                f'and its value, such as {key} = ["{_example(grammar)}"].'
            )
        yield from (
            _long(grammar, first, rest, line, key)
            if first.startswith("--")
            else _short(grammar, first, rest, line, key)
        )


def _example(grammar: Grammar) -> str:
    return "--exclude=node7" if grammar is SLURM else "-t exotic"


def _lacks_value(word: str, line: str, key: str) -> UserError:
    """The error on an option at the end of an entry, whose command would take the next word of ours for its value."""
    return UserError(
        f"{key} has {line!r}, in which {word} lacks its value: write both as one entry, {key} = [{quoted(line + ' VALUE')}]."
    )


def _long(grammar: Grammar, first: str, rest: list[str], line: str, key: str) -> Iterator[tuple[Word, list[str]]]:
    typed, joined, value = first[2:].partition("=")
    candidates = grammar.long(typed)
    name = candidates[0] if len(candidates) == 1 else typed
    takes = {grammar.takes[each] for each in candidates}
    used = [first]
    if not joined and rest and (Takes.ONE in takes or (not takes and not rest[0].startswith("-"))):
        value = rest.pop(0)
        used.append(value)
    elif not joined and takes == {Takes.ONE}:
        raise _lacks_value(first, line, key)
    yield Word(name, value, tuple(used)), candidates


def _short(grammar: Grammar, first: str, rest: list[str], line: str, key: str) -> Iterator[tuple[Word, list[str]]]:
    letters = first[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        name = grammar.short.get(letter)
        if name is None:
            raise UserError(f"{key} has {line!r}, but {grammar.command} has no option -{letter}: write its long name.")
        takes, value, used = grammar.takes[name], "", [f"-{letter}"]
        if takes is not Takes.NOTHING and letters:
            value, letters = letters, ""
            used = [f"-{letter}{value}"]
        elif takes is Takes.ONE and rest:
            value = rest.pop(0)
            used.append(value)
        elif takes is Takes.ONE:
            raise _lacks_value(f"-{letter}", line, key)
        yield Word(name, value.removeprefix("=") if grammar is SLURM else value, tuple(used)), [name]


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
