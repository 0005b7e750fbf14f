"""Definition of a run: a frozen, typed definition, its options on the command line, its JSON and its signature."""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
import typing
from collections.abc import Container, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, ClassVar, Self

from ganhpc.core.digests import short_digest
from ganhpc.core.errors import UserError, nearest
from ganhpc.core.printable import slug
from ganhpc.runs.options import Option, kind_of, option


class Kind(Enum):
    """Families of experiments, by what their runs are judged by and reports show."""

    CLASSIFIER = auto()
    GAN = auto()
    PROGRAM = auto()
    OTHER = auto()


FORMAT = 1
"""Version of experiment.json. A change that older code can't read, or that changes what a field means, adds one."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Bounds of a run. None: no bound."""

    time: float | None = option(
        3600.0, "training clock: training and evaluation, all segments of the run added up", kind="duration"
    )
    epochs: int | None = option(
        None, "fix the number of epochs instead of planning it (then --time, if given, is a cap)", low=1, high=10**6
    )
    budget_params: int | None = option(None, "largest number of unique trainable parameters", kind="count")


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Place and means of a run's computation. Not part of its signature: the same run may move to another machine."""

    device: str = option("auto", "where to compute", choices=("auto", "cpu", "cuda"))
    nodes: int = option(1, "machines", low=1, high=1024)
    nodes_typed: bool = False
    """True if --nodes was typed, and goes before the settings: 1 is also the value where nothing was."""
    gpus_per_node: int | None = option(
        None, "GPUs on each machine (unset: one where the device has any)", low=0, high=64
    )
    tasks_per_node: int | None = option(
        None, "training processes on each machine (unset: one a GPU, or one)", low=1, high=256
    )
    threads: int | None = option(
        None,
        "threads of each training process on a CPU (auto: measured, unless OMP_NUM_THREADS is set)",
        kind="auto",
        low=1,
        high=4096,
        metavar="auto|N",
    )
    checkpoint_every: float = option(60.0, "longest time between two checkpoints", kind="duration")
    data_root: str | None = option(
        None, "folder where data sets lie (unset: configuration, then the cache)", metavar="DIR"
    )


def share_of_batch(batch_size: int, processes: int, option: str = "--batch-size") -> int:
    """The images of a batch that each of `processes` takes. Raises UserError where they can't share it equally."""
    if batch_size % processes:
        raise UserError(
            f"{option} {batch_size} can't be shared equally by {processes} processes: type a multiple of {processes}."
        )
    return batch_size // processes


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """The full definition of a run. A file of `jobs/` derives its own class and adds its fields."""

    NAME: ClassVar[str]
    """The experiment's name on the command line."""
    TASK: ClassVar[str]
    """The module of `ganhpc.train.tasks` that trains it."""
    DATA: ClassVar[tuple[str, ...]] = ()
    """Data sets it can train on, shown in the help."""

    KIND: ClassVar[Kind] = Kind.OTHER
    """The family that reports take it for."""
    NETWORK: ClassVar[tuple[str, ...]] = ()
    """The options that its networks are made from, beside `data` and the budget."""

    ENTRY: ClassVar[str] = "ganhpc.train"
    """The module that a node runs for it, with the run's folder."""
    TAKES_COMMAND: ClassVar[bool] = False
    """True if the words behind its options are a program's command line."""
    ADDED_FIELDS: ClassVar[Mapping[str, Any]] = {}
    """Fields that came when there were runs already, with the value that a definition without them means. Where they have it they are left out of
    the definition, so that signatures stay."""
    HIDDEN: ClassVar[frozenset[str]] = frozenset()
    """Fields of every experiment that are no options of this one."""

    preset: str = "default"
    budget: Budget = Budget()
    resources: Resources = Resources()
    name: str | None = option(None, "a name of your own for the variant (unset: made from the options)", metavar="TEXT")
    data: str = option("synthetic", "data set", metavar="NAME|PATH")
    train_images: int | None = option(None, "use only N training images (unset: all)", kind="count", metavar="N")
    batch_size: int = option(64, "images a step, over all processes", unit="images", low=1, high=65_536)
    lr: float = option(0.001, "learning rate at its highest", low=0.0)
    seed: int = option(0, "seed of weights, data order and augmentation", low=0, high=2**31 - 1)
    precision: str = option(
        "auto",
        "arithmetic of the training step (auto: the faster one; measured on a CPU, where --time bounds the run)",
        choices=("auto", "fp32", "bf16"),
    )
    compile: str = option(
        "auto",
        "compile the training step (auto: where it pays); off: nor replay it on a GPU",
        choices=("auto", "on", "off"),
    )

    def check(self) -> None:
        """Raise UserError where the fields contradict one another. Definitions extend this."""

    def check_processes(self, processes: int) -> None:
        """Raise UserError where so many training processes can't share a batch."""
        share_of_batch(self.batch_size, processes)

    def remark(self, longest: int | None) -> str:
        """A sentence on what has no room in the run's segments, of `longest` seconds at most (None: any); empty where all has."""
        del longest
        return ""

    @classmethod
    def typed(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """The fields that are typed otherwise than as options. Raises UserError."""
        del values
        return {}

    @classmethod
    def free_option(cls, word: str) -> Option | None:
        """The option that a scanned word means which no field has; None where there is none."""
        del word
        return None

    def network_options(self) -> frozenset[str]:
        """The names of the options that this definition's networks are made from."""
        return frozenset(self.NETWORK)

    # -- identity ---------------------------------------------------------------------------------------------------

    @property
    def definition(self) -> dict[str, Any]:
        """Everything that decides the result, defaults included: all fields but Resources.

        The options of a group lie beside the others, so that an option may move into a group without a change of signatures.
        """
        return dict(self._definition)

    @functools.cached_property
    def _definition(self) -> dict[str, Any]:
        """`definition`, made once: a launch asks for it several times."""
        tree = _plain(dataclasses.asdict(self))
        del tree["resources"]
        for name in _groups(type(self)):
            tree |= tree.pop(name)
        tree = {
            name: value
            for name, value in tree.items()
            if name not in self.HIDDEN and not self._is_as_before(name, value)
        }
        return {"format": FORMAT, "experiment": self.NAME, "task": self.TASK, **tree}

    def _is_as_before(self, name: str, value: Any) -> bool:
        return name in self.ADDED_FIELDS and bool(value == _plain(self.ADDED_FIELDS[name]))

    @functools.cached_property
    def signature(self) -> str:
        """Ten hexadecimal digits that stand for the definition."""
        return definition_digest(self.definition)

    @property
    def group(self) -> str:
        """The signature without the seed: runs of one group differ by nothing else."""
        tree = self.definition
        del tree["seed"]
        return definition_digest(tree)

    @property
    def variant(self) -> str:
        """A readable name: the user's own, or the preset and what differs from it. The seed is not part of it."""
        if self.name:
            return slug(self.name)
        base, words = type(self).presets()[self.preset], [self.preset]
        for opt in options(type(self)):
            value, default = opt.get(self), opt.get(base)
            # Without a bound on the time, the number of epochs says it all.
            silent = (
                opt.name in ("seed", "name") or opt.path[0] == "resources" or (opt.name == "time" and value is None)
            )
            if not silent and value != default:
                words.append(opt.label(value))
        return self._joined(words)

    def _joined(self, words: list[str]) -> str:
        """The words of a variant as one name; of a long one the beginning, with a digest."""
        text = slug("-".join(words))
        return text if len(text) <= 150 else f"{text[:141].rstrip('-.')}-{self.group[:8]}"

    # -- presets, options, JSON ----------------------------------------------------------------------------------------

    @classmethod
    def presets(cls) -> dict[str, Self]:
        """The exact, named variants: `PRESETS` of the experiment's file."""
        return sys.modules[cls.__module__].PRESETS

    @classmethod
    def from_preset(cls, preset: str) -> Self:
        """The definition called `preset`. Raises UserError with the nearest names where there is none."""
        presets = cls.presets()
        if preset not in presets:
            raise UserError(f"--preset {preset!r} is not one of {cls.NAME}'s presets: {nearest(preset, presets)}.")
        return presets[preset]

    def replace(self, **values: Any) -> Self:
        """A copy with options set by name (budget and resource options too), checked."""
        known = {opt.name: opt for opt in options(type(self))}
        changes: dict[str, Any] = {}
        for name, value in values.items():
            if name not in known:
                raise UserError(f"{self.NAME} has no option {name!r}: {nearest(name, known)}.")
            value = known[name].canonical(value)
            known[name].check(value)
            first, *rest = known[name].path
            if rest:
                group = changes.get(first, getattr(self, first))
                changes[first] = dataclasses.replace(group, **{rest[0]: value})
            else:
                changes[first] = value
        made = dataclasses.replace(self, **changes)
        made.check()
        return made

    def to_json(self) -> dict[str, Any]:
        """Contents of experiment.json."""
        return {
            **self.definition,
            "resources": _plain(dataclasses.asdict(self.resources)),
            "variant": self.variant,
            "signature": self.signature,
            "group": self.group,
        }

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> Self:
        """The definition of this class in `tree`. Raises UserError where this version of the program can't read it."""
        tree = {**cls.ADDED_FIELDS, **tree}
        groups = _groups(cls)
        own = [f.name for f in dataclasses.fields(cls) if f.name not in groups and f.name not in cls.HIDDEN]
        known = own + [f.name for group in groups.values() for f in dataclasses.fields(group)]
        missing = [name for name in known if name not in tree]
        extra = set(tree) - set(known) - _EXTRA_KEYS
        if missing or extra:
            raise UserError(
                f"this run's definition has other fields than this version's {cls.NAME} "
                f"(missing: {', '.join(missing) or 'none'}; unknown: {', '.join(sorted(extra)) or 'none'}): "
                "use the version that made it, or launch again with --new."
            )
        try:
            parts = {
                name: group(**{f.name: _typed(f.name, tree[f.name]) for f in dataclasses.fields(group)})
                for name, group in groups.items()
            }
            made = cls(**{name: _typed(name, tree[name]) for name in own}, **parts)
            for opt in options(cls):
                opt.check_type(opt.get(made))
                opt.check(opt.get(made))
            made.check()
            cls.from_preset(made.preset)
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
            raise UserError(f"this run's definition is damaged ({error}): launch again with --new.") from None
        return made


_EXTRA_KEYS = {"format", "experiment", "task", "variant", "signature", "group"}


# -- options ----------------------------------------------------------------------------------------------------------


def options(cls: type[Experiment]) -> tuple[Option, ...]:
    """The options of a definition, those of Budget and Resources included, in the order of their fields."""
    if cls not in _OPTIONS:
        _OPTIONS[cls] = tuple(_read_options(cls))
    return _OPTIONS[cls]


_OPTIONS: dict[type[Experiment], tuple[Option, ...]] = {}


def _read_options(cls: type[Experiment]) -> list[Option]:
    found: list[Option] = []
    groups = _groups(cls)

    def read(owner: type, prefix: tuple[str, ...]) -> None:
        hints = typing.get_type_hints(owner)
        for f in dataclasses.fields(owner):
            if f.name in groups and not prefix:
                read(groups[f.name], (f.name,))
            elif f.metadata and f.name not in cls.HIDDEN:
                kind, optional, item = kind_of(hints[f.name])
                made = Option(f.name, (*prefix, f.name), kind, optional, f.default, **f.metadata, item=item)
                places = [k for k, o in enumerate(found, 1) if o.name == made.after]
                found.insert(places[0] if places else len(found), made)

    read(cls, ())
    read(Budget, ("budget",))
    read(Resources, ("resources",))
    return found


def _groups(cls: type[Experiment]) -> dict[str, type]:
    """The fields that are groups of options, such as those of one family of networks, with their classes."""
    return {
        f.name: type(f.default)
        for f in dataclasses.fields(cls)
        if dataclasses.is_dataclass(f.default) and f.name not in ("budget", "resources")
    }


def from_typed(
    cls: type[Experiment], values: Mapping[str, Any], preset: str = "default", *, scanned: Container[str] = ()
) -> Experiment:
    """The preset's definition with the options that were typed (None: not typed) instead of its own.

    Where --epochs is typed or scanned and --time is not, the number of epochs is the budget. Raises UserError.
    """
    known = [o.name for o in options(cls)]  # a program's argument may be called like any option
    typed = {name: values[name] for name in known if values.get(name) is not None}
    by_epochs = "epochs" in typed or ("epochs" in known and "epochs" in scanned)
    if by_epochs and "time" not in typed and "time" not in scanned:
        typed["time"] = None
    base = dataclasses.replace(cls.from_preset(preset), **cls.typed(values))
    made = base.replace(**typed)
    if "nodes" in typed:
        made = dataclasses.replace(made, resources=dataclasses.replace(made.resources, nodes_typed=True))
    return made


# -- small helpers ----------------------------------------------------------------------------------------------------


def definition_digest(tree: dict[str, Any]) -> str:
    """Ten hexadecimal digits of a definition as JSON. Raises TypeError or ValueError where it is none."""
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return short_digest(text, 10)


def _plain(tree: Any) -> Any:
    """`tree` as JSON would give it back: tuples become lists."""
    if isinstance(tree, dict):
        return {key: _plain(value) for key, value in tree.items()}
    return [_plain(value) for value in tree] if isinstance(tree, list | tuple) else tree


def _typed(name: str, value: Any) -> Any:
    nested = {"budget": Budget, "resources": Resources}
    if name in nested:
        known = {f.name for f in dataclasses.fields(nested[name])}
        return nested[name](**{key: item for key, item in value.items() if key in known})
    return tuple(_typed("", item) for item in value) if isinstance(value, list) else value
