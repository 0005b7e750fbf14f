"""Figures of a program in TensorBoard's event files below its run folder: one curve for each tag, over all segments."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ganhpc.core.printable import printable
from ganhpc.core.streams import print_line
from ganhpc.program.said_figures import SaidFigures, Steps
from ganhpc.runs.run_files import is_number
from ganhpc.runs.run_folder import Run

_MOST_POINTS = 2000
_MOST_NAMES = 100
_PREFIX = "events.out.tfevents."
_OF_A_START = re.compile(
    r"version_\d+|[A-Z][a-z]{2}\d{1,2}_\d\d-\d\d-\d\d_.*|\d{4}-?\d\d-?\d\d([-_T ]?\d\d[-:_.]?\d\d[-:_.]?\d\d.*)?|\d{10}"
)
"""A folder that each start of a program makes anew: of Lightning, of SummaryWriter (Nov29_16-37-37_host), a date."""
_EVALUATION = ("val", "valid", "validation", "eval", "evaluation", "dev", "test")
"""Folders of which a figure is meant rather than of a training's, the likeliest first."""


class Found(NamedTuple):
    """Figures of event files."""

    points: list[dict[str, float]]
    """One for each step, in order."""
    sentences: list[str]
    """On tags that several folders have: which one is taken, and what to type for another."""


class _Series(NamedTuple):
    folder: tuple[str, ...]
    """The folder's path below the run's, one for all segments."""
    values: dict[int, float]


def add_to(said: SaidFigures, run: Run, headline: str | None) -> None:
    """Add the figures of the run's event files where the program has said none itself, or not the headline that is asked for."""
    if said.last and (headline is None or headline in said.last):
        return
    try:
        found = read([run.folder, run.tensorboard, run.checkpoints], headline)
    except Exception as error:  # a damaged file, or a TensorBoard that can't be loaded: no figures, and a program that ran all the same
        print_line(f"warning: TensorBoard's files were not read ({type(error).__name__}: {error})")
        return
    if said.last and not any(headline in point for point in found.points):
        return  # it has said its figures: of TensorBoard's the headline alone was looked for
    for sentence in found.sentences:
        print_line(sentence)
    for point in found.points:
        said.add(point)


def read(folders: Sequence[Path], headline: str | None = None) -> Found:
    """The scalars in the event files below `folders`; of a `headline`, that alone where it is there, else all. None where they can't be read.

    A tag in several folders, such as train/ and val/, has a name with its folder for each (val/loss), and alone it means the one that is told.
    """
    tags: dict[str, list[_Series]] = {}
    for folder, place in _places(folders):
        for tag, values in _scalars(place).items():
            known = tags.setdefault(tag, [])
            same = next((each for each in known if each.folder == folder), None)
            if same:
                same.values.update(values)
            else:
                known.append(_Series(folder, values))
    names, sentences = _named(tags)
    if headline:
        if headline not in names:
            names |= _by_folder(tags, headline)
        if headline in names:
            sentences = {tag: said for tag, said in sentences.items() if tag == headline}
            names = {headline: names[headline]}
    points: dict[int, dict[str, float]] = {}
    for name, values in names.items():
        for step, value in values.items():
            points.setdefault(step, {})[name[:100]] = value
    ordered = [{"step": float(step), **values} for step, values in sorted(points.items())]
    return Found(ordered, list(sentences.values()))


def _places(folders: Sequence[Path]) -> list[tuple[tuple[str, ...], Path]]:
    """The folders with event files, the oldest first: what a later segment writes of a step counts. Each has its path below the last of `folders`
    that holds it."""
    found: dict[Path, tuple[float, tuple[str, ...]]] = {}
    for root in folders:
        for path in root.rglob(f"{_PREFIX}*"):
            begun = path.name.removeprefix(_PREFIX).partition(".")[0]
            when = float(begun) if begun.isdecimal() else 0.0
            parts = tuple(part for part in path.parent.relative_to(root).parts if not _OF_A_START.fullmatch(part))
            found[path.parent] = (max(when, found.get(path.parent, (0.0, ()))[0]), parts)
    ordered = sorted(found.items(), key=lambda each: (each[1][0], str(each[0])))
    return [(parts, place) for place, (_, parts) in ordered]


def _scalars(place: Path) -> dict[str, dict[int, float]]:
    """Tag -> step -> value in the event files of one folder; what can't be read says nothing."""
    from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

    found: dict[str, dict[int, float]] = {}
    steps: dict[str, Steps] = {}
    # One after the other: given the folder, TensorBoard's reader would wait for a fifo among the files.
    for file in sorted(path for path in place.glob(f"{_PREFIX}*") if path.is_file()):
        with suppress(Exception):  # a reader of damaged bytes may raise anything, and hides no other file
            events = EventAccumulator(str(file), size_guidance={SCALARS: _MOST_POINTS})
            events.Reload()
            for tag in map(str, events.Tags()[SCALARS][:_MOST_NAMES]):
                counter = steps.setdefault(tag, Steps())
                counter.begin_segment(saved=False)
                for each in events.Scalars(tag):
                    if is_number(each.value):
                        point, _ = counter.placed({"step": float(each.step), "value": float(each.value)})
                        found.setdefault(tag, {})[int(point["step"])] = point["value"]
    return found


def _named(tags: dict[str, list[_Series]]) -> tuple[dict[str, dict[int, float]], dict[str, str]]:
    """The curves by their names, and for tags of several folders the sentence on which is meant."""
    names: dict[str, dict[int, float]] = {}
    sentences: dict[str, str] = {}
    for tag, series in tags.items():
        if len(series) == 1:
            names.setdefault(tag, series[0].values)
            continue
        words = _labels([each.folder for each in series])
        full = {f"{word}/{tag}" if word else tag: each.values for word, each in zip(words, series, strict=True)}
        for name, values in full.items():
            names.setdefault(name, values)
        chosen = tag if tag in full else f"{min(words, key=_rank)}/{tag}"
        if tag not in full:
            names[tag] = full[chosen]
        others = " or ".join(f"--headline {printable(name)}" for name in full if name != chosen)
        where = f"{printable(chosen)} is taken" if chosen != tag else "the one outside folders is taken"
        sentences[tag] = f"TensorBoard's {printable(tag)} is in {len(full)} folders: {where}; {others} names another"
    return names, sentences


def _labels(folders: list[tuple[str, ...]]) -> list[str]:
    """The parts by which the folders differ, without what all of them begin and end with."""
    first = 0
    while all(len(each) > first for each in folders) and len({each[first] for each in folders}) == 1:
        first += 1
    rest = [each[first:] for each in folders]
    last = 0
    while all(len(each) > last for each in rest) and len({each[-1 - last] for each in rest}) == 1:
        last += 1
    return ["/".join(each[: len(each) - last]) for each in rest]


def _rank(word: str) -> tuple[int, str]:
    parts = word.lower().split("/")
    return min((_EVALUATION.index(part) for part in parts if part in _EVALUATION), default=len(_EVALUATION)), word


def _by_folder(tags: dict[str, list[_Series]], headline: str) -> dict[str, dict[int, float]]:
    """The curve that a headline with a folder means, such as val/loss where no other folder has a loss."""
    for tag, series in tags.items():
        for each in series:
            if f"/{'/'.join((*each.folder, tag))}".endswith(f"/{headline}"):
                return {headline: each.values}
    return {}
