"""Any program of your own, in segments that keep the rules: program --time 6h -- python train.py."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ganhpc.core.errors import UserError
from ganhpc.core.files import open_regular
from ganhpc.core.printable import slug
from ganhpc.core.units import format_duration
from ganhpc.core.whoami import expand
from ganhpc.runs import placeholders, result_fields
from ganhpc.runs.experiment import Budget, Experiment, Kind, Resources, options
from ganhpc.runs.options import Option, option
from ganhpc.runs.trainer_protocol import STOPPING_SHARE

_SIGNALS = ("USR1", "TERM", "INT")
_PLACES = frozenset({"step", "epoch", "time"})
"""Names by which a program says where a figure belongs."""
_LARGEST = 2**30
"""Bytes of a watched file, at most."""


@dataclass(frozen=True)
class Parameter(Option):
    """A name in braces in the program's arguments, which a scan gives values to."""

    ranged: ClassVar[bool] = True

    def parse(self, text: str) -> str:
        """The text as typed, whatever the name means to other experiments."""
        return text.strip()

    def canonical(self, value: Any) -> Any:
        """A value has one spelling, the typed one."""
        return value

    def get(self, experiment: object) -> Any:
        assert isinstance(experiment, Program)
        return dict(experiment.parameters).get(self.name, "")


@dataclass(frozen=True, kw_only=True)
class Program(Experiment):
    """A user's own program. Its command line, and the files that are watched, are part of its definition."""

    NAME: ClassVar[str] = "program"
    TASK: ClassVar[str] = "program"
    KIND: ClassVar[Kind] = Kind.PROGRAM
    ENTRY: ClassVar[str] = "ganhpc.program.runner"
    TAKES_COMMAND: ClassVar[bool] = True
    WATCHED: ClassVar[tuple[str, ...]] = ()
    """Files in the folder of a program with a command of its own, another content of which is another run."""
    HIDDEN: ClassVar[frozenset[str]] = frozenset(
        {
            "data",
            "train_images",
            "batch_size",
            "lr",
            "precision",
            "compile",
            "epochs",
            "checkpoint_every",
            "data_root",
            "threads",
        }
    )

    command: tuple[str, ...] = ()
    """The program and its arguments, exactly as typed."""
    folder: str = ""
    """The folder that it runs in."""
    parameters: tuple[tuple[str, str], ...] = ()
    """Values of the names in braces, as scanned."""
    watched: tuple[tuple[str, str], ...] = ()
    """The watched files, each with the SHA-256 of its contents."""
    launcher: str = option(
        "plain",
        "how several processes are started (--nodes, --tasks-per-node, --gpus-per-node): plain gives each RANK and WORLD_SIZE",
        choices=("plain", "torchrun"),
    )
    stop_signal: str = option("TERM", "signal by which the program is told to stop, once", choices=_SIGNALS)
    stop_before: float = option(
        120.0,
        "how long before the end it is told, at first; then as long as it took to stop last time",
        kind="duration",
    )
    resumable_exit: int | None = option(
        None, "one more exit code that means: go on with it later (75 always does)", low=1, high=255
    )
    headline: str | None = option(None, "the figure that tables show and compare", metavar="NAME")
    better: str = option("higher", "which values of the headline are better", choices=("higher", "lower"))
    measure: str | None = option(
        None,
        "function of the program that returns (network, example input): its size is counted",
        metavar="MODULE:FUNCTION",
    )

    def __init_subclass__(cls, **words: Any) -> None:
        """An experiment with a program of its own may have options that are hidden here, such as lr."""
        super().__init_subclass__(**words)
        own = frozenset(inspect.get_annotations(cls))
        groups = {f.name for group in (Budget, Resources) for f in dataclasses.fields(group)}
        if odd := sorted(own & {*groups, *placeholders.FIXED} - {"seed"}):
            raise UserError(
                f"an option of a program can't be called {odd[0]}, which has a meaning already: call it my_{odd[0]}"
            )
        cls.HIDDEN = cls.HIDDEN - own

    def own_options(self) -> tuple[Option, ...]:
        """The options that an experiment with a program of its own adds; its arguments take their values by their names in braces."""
        known = {f.name for f in dataclasses.fields(Program) if f.name not in Program.HIDDEN} | {"preset"}
        known |= {f.name for group in (Budget, Resources) for f in dataclasses.fields(group)}
        return tuple(o for o in options(type(self)) if o.name not in known)

    def in_braces(self) -> dict[str, str]:
        """The values of names in braces: those that were scanned, and those of the experiment's own options."""
        own = {o.name: _as_word(o.get(self)) for o in self.own_options()}
        return own | dict(self.parameters)

    def check(self) -> None:
        """Raise UserError for a program without a command, and where values are for names that no argument has."""
        if odd := next((o for o in self.own_options() if not placeholders.uses(self.command, o.name)), None):
            raise UserError(
                f"{odd.flag}: no argument of the program takes it: write {{{odd.name}}} into `command` where it goes."
            )
        if not self.command:
            raise UserError(
                "program needs the command of your program, behind two dashes: python launch.py program --time 6h -- python train.py."
            )
        for name, _ in self.parameters:
            if not placeholders.uses(self.command, name):
                raise UserError(
                    f"--scan {name}: no argument of the program takes its values: write {{{name}}} where they go, such as --{name} {{{name}}}."
                )
        if self.measure is not None:
            module, colon, function = self.measure.partition(":")
            if not colon or not function.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
                raise UserError(
                    f"--measure {self.measure!r} names no function: it takes MODULE:FUNCTION, such as train:measured for def measured() in train.py."
                )
        elif self.budget.budget_params is not None:
            raise UserError(
                "--budget-params needs --measure MODULE:FUNCTION: without it nothing tells the parameters of your program's network."
            )

    def check_watched(self) -> None:
        """Raise UserError where a watched file is not as it was when the run began: what goes on with it would be another run."""
        for name, digest in self.watched:
            try:
                same = _watched(name, Path(self.folder))[1] == digest
            except UserError:
                same = False
            if not same:
                raise UserError(
                    f"the watched file {name!r} in {self.folder} is not as it was when this run began: put it back to go on; "
                    "or type the command that began the run again, which begins another one with the file as it is."
                )

    def check_processes(self, processes: int) -> None:
        """Any number will do: the program shares its work itself."""
        del processes

    def remark(self, longest: int | None) -> str:
        """A `--stop-before` that is more than stopping may have of the longest segment."""
        whole = min((each for each in (self.budget.time, longest) if each is not None), default=None)
        usual = type(self)().stop_before
        if whole is None or self.stop_before in (usual, min(self.stop_before, STOPPING_SHARE * whole)):
            return ""
        return (
            f"--stop-before {format_duration(self.stop_before)}: the program is told to stop {format_duration(STOPPING_SHARE * whole)} before the "
            f"end of a segment of {format_duration(whole)}, since stopping has a quarter of it at most."
        )

    @property
    def variant(self) -> str:
        """The user's own name, or the program's with what is scanned and its time."""
        if self.name:
            return slug(self.name)
        if not self.TAKES_COMMAND:
            words = [super().variant, *(f"{name}{value}" for name, value in self.parameters)]
            return self._joined(words)
        words = [_short_name(self.command), *(f"{name}{value}" for name, value in self.parameters)]
        if self.budget.time != type(self)().budget.time:
            time = next(each for each in options(Program) if each.name == "time")
            words.append(time.label(self.budget.time))
        return self._joined(words)

    @classmethod
    def typed(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """The fields that are typed otherwise than as options: the command, its folder, the watched files. Raises UserError.

        What is refused here alone was taken by earlier versions, whose runs are still read.
        """
        if (headline := values.get("headline")) in result_fields.OF_PROGRAMS | _PLACES:
            raise UserError(
                f"--headline {headline}: results have a field of that name, which is no figure of the program: let it say the figure under "
                f"another name, such as my_{headline}."
            )
        if not cls.TAKES_COMMAND:
            home = Path(cls.presets()["default"].folder)
            return {"watched": tuple(sorted(_watched(name, home, "the watched file") for name in cls.WATCHED))}
        if "command" not in values:
            raise UserError(
                "a program is not named alone, since it needs its command: python launch.py program --time 6h -- python train.py."
            )
        if values["command"] and not values["command"][0]:
            raise UserError("the program's name is empty: type it behind the two dashes, such as -- python train.py.")
        folder = _folder(values.get("folder"))
        watched = tuple(sorted({_watched(name, folder) for name in values.get("watch_files") or ()}))
        return {"command": tuple(values["command"]), "folder": str(folder), "watched": watched}

    @classmethod
    def free_option(cls, word: str) -> Option | None:
        """The name in braces that `--scan word=..` gives values to."""
        name = word.strip().removeprefix("--")
        if not placeholders.NAME.fullmatch(name) or name in placeholders.FIXED:
            return None
        return Parameter(name, ("parameters", name), str, False, "", "", word=f"--{name}")

    def replace(self, **values: Any) -> Program:
        """As of every experiment, with values of names in braces besides."""
        known = {each.name for each in options(type(self))}
        free = {name: str(value) for name, value in values.items() if name not in known}
        own = {name: value for name, value in values.items() if name in known}
        if not free:
            return super().replace(**own)
        parameters = tuple(sorted({**dict(self.parameters), **free}.items()))
        return super(Program, dataclasses.replace(self, parameters=parameters)).replace(**own)


def _as_word(value: object) -> str:
    """An option's value as an argument of a program."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple) else "" if value is None else str(value)


def _short_name(command: tuple[str, ...]) -> str:
    """A readable name of a command: its script's, else the program's."""
    words = [word for word in command[1:] if not word.startswith("-")]
    script = next((word for word in words if word.endswith((".py", ".sh", ".R", ".jl", ".pl", ".lua"))), None)
    name = script or (command[0] if command else "program")
    return Path(name).stem or "program"


def _folder(typed: str | None) -> Path:
    try:
        folder = expand(typed).resolve() if typed else Path(os.getcwd())  # noqa: PTH109
    except (OSError, RuntimeError) as error:
        raise UserError(f"--folder {typed!r} can't be used ({error}): name a folder that is there.") from None
    if not folder.is_dir():
        raise UserError(f"--folder {str(typed)!r} is not a folder: name the one in which the program is to run.")
    return folder


def _watched(typed: str, folder: Path, what: str = "--watch-file") -> tuple[str, str]:
    path = folder / expand(typed)
    name = _inside(path, folder)
    try:
        if not path.is_file():
            raise UserError(f"{what} {typed!r} is not a file in {folder}: name one that is there, such as train.py.")
        if path.stat().st_size > _LARGEST:
            raise UserError(f"{what} {typed!r} is larger than 1 GiB: watch the program's own files, and not its data.")
        with open_regular(path) as file:
            return name, hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(
            f"{what} {typed!r} can't be read ({error.strerror}): make it readable, or leave it out."
        ) from None


def _inside(path: Path, folder: Path) -> str:
    """The one name of a file, however it was typed: train.py, ./train.py, lib/../train.py, its whole path. Links keep their own names."""
    whole = Path(os.path.normpath(path))
    return str(whole.relative_to(folder) if whole.is_relative_to(folder) else whole)


# A program that does nothing: what is typed takes its place, and no command at all is refused.
PRESETS = {"default": Program(command=("true",), folder="/")}
