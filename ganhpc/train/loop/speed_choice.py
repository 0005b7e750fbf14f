"""Arithmetic and threads of a training step on a CPU: chosen by measuring the task at hand on this machine, and kept for all segments.

Candidates take turns on the same batches, so that whatever else the machine does meets all of them alike. A GPU's precision follows from its
kind (`tasks.base.precision_of`), and threads hardly matter there: nothing is measured.
"""

from __future__ import annotations

import dataclasses
import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ganhpc.core.units import counted
from ganhpc.datasets.types import ImageData
from ganhpc.runs.cores import SHARED_FROM, Cores, Load
from ganhpc.runs.experiment import Experiment
from ganhpc.train.tasks.task import SPEED, Context, Task, precision_of

_SHARE = 0.02
"""Share of the time budget that all measurements of a run may take."""
FIRST = 0.75
"""Share of that which the first one may take."""
_PAYS = 0.1
"""Share of the training to come that a measurement in its midst may take."""
_LEAST_SECONDS = 0.3
"""A measurement that may take less than this is not begun."""
_FEW = 16
"""Images of a first, rough measurement, for each process."""
_FEWEST = 64
"""With fewer images, what is measured is not the arithmetic."""
_ROUNDS = (2, 7)
"""Rounds of a comparison, at least and at most."""
_GAIN = 1.05
"""Factor by which bf16, or more threads, must be faster to be taken."""
_SLOWER = 1.3
"""All threads that are so many times slower than one with few images are not tried with many."""
_FAR = 2.0
"""A precision that is so many times slower with few images is not tried with many."""
_WORTH_IMAGES = 100_000
"""Runs with a fixed number of epochs that see fewer images are over before a measurement pays."""
_LOOK_SECONDS = 5.0
"""Time between two looks at the load of the machine."""
_OTHER_LOAD = 0.6
"""Cores' worth of change in what others use, seen twice in a row, after which the choice is looked at again."""

_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "bf16")
"""Of a processor's flags, those that decide which arithmetic is fast (the last one is Arm's)."""

_Build = Callable[[Experiment, Context], Task]
_Clock = Callable[[], float]


@dataclass(frozen=True)
class Way:
    """Settings that a step is computed with."""

    threads: int
    precision: str


def _first(data: ImageData, n: int) -> ImageData:
    """`data` with its first `n` training images."""
    labels = None if data.labels is None else data.labels[:n]
    return dataclasses.replace(data, images=data.images[:n], labels=labels)


class Speed:
    """The choice of a run: settled when a segment begins, looked at again when the load of the machine changes.

    Args:
        context: what the run's task is built with; the choice stands in its `choices`, which every step reads.
        build: makes the task. Measurements work on tasks of their own, which are thrown away.
        keep: called when the choice has changed, to write it down.
    """

    def __init__(
        self, experiment: Experiment, context: Context, build: _Build, keep: Callable[[], None] = lambda: None
    ) -> None:
        self.experiment, self.context, self.build, self.keep = experiment, context, build, keep
        given = context.process_group.threads
        self.cores = given.cores if given else Cores(torch.get_num_threads())
        typed = given is None or given.typed
        self.most = 1 if given is None else given.most
        self.ladder = () if typed else _ladder(self.most, given.now if given else 1)
        self.start = torch.get_num_threads()
        # With a fixed number of epochs the precision is no matter of the moment: the same command trains the same way.
        self.timed = context.seconds_left is not None
        self.precisions: tuple[str, ...] = ("fp32", "bf16") if experiment.precision == "auto" and self.timed else ()
        self.spent, self.load, self._changed, self._looked = 0.0, Load(), 0, time.monotonic()
        self._budget = _SHARE * context.seconds_left if context.seconds_left is not None else 0.0

    # -- when ---------------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Choose, or go on with what an earlier segment chose as far as that still holds here."""
        if self.context.device.type != "cpu" or not (self._open(self.ladder) or self.precisions):
            return
        known = self.context.choices.get(SPEED)
        if known is None:
            self._measure(FIRST * self._budget)
            return
        self._apply(Way(min(known["threads"], self.most) if self.ladder else self.start, self._precision()))
        if self._agreed(self._doubtful(known)):
            if self.precisions and known["processor"] != processor():
                # Without time to measure it, what is slow on no processor.
                self.context.choices[SPEED] = {**known, "precision": "fp32"}
            self._measure(FIRST * self._budget)
            self._compared_with(known)

    def measure_again(self, left: float = math.inf) -> None:
        """Measure again where other processes have begun or ceased to use the cores; costs next to nothing else. One process only.

        `left`: the seconds of training to come. A measurement that takes more than a small share of them does not pay, and would end the
        run behind its time.
        """
        now = time.monotonic()
        known = self.context.choices.get(SPEED)
        if (
            known is None
            or not self.timed
            or self.context.process_group.world_size > 1
            or now - self._looked < _LOOK_SECONDS
        ):
            return
        self._looked, others = now, self.load.others()
        differs = others is not None and abs(others - known["busy"]) >= _OTHER_LOAD
        self._changed = self._changed + 1 if differs else 0
        allowed = min((self._budget - self.spent) / 2, _PAYS * left)
        if self._changed < 2 or self._budget - self.spent < _LEAST_SECONDS or _PAYS * left < _LEAST_SECONDS:
            return
        self._changed = 0
        assert others is not None
        self.cores = self.cores._replace(busy=others)
        self._measure(allowed)
        self.load = Load()

    def _doubtful(self, known: dict[str, Any]) -> bool:
        """True if a choice of an earlier segment is to be made again: it was made on another processor, among other processes, or for
        more threads than there are. With a fixed number of epochs it stands as long as the processor is the same."""
        moved = known["processor"] != processor()
        return moved or (self.timed and (known["busy"] >= SHARED_FROM or known["threads"] > self.most))

    def _compared_with(self, known: dict[str, Any]) -> None:
        """Say what has changed since an earlier segment."""
        new = self.context.choices[SPEED]
        if (known["precision"], known["threads"]) != (new["precision"], new["threads"]):
            before = f"{known['precision']}, {_threads(known['threads'])}"
            moved = "" if known["processor"] == new["processor"] else f" on {known['processor'].split(' [')[0]}"
            self._say(
                f"speed: the run began with {before}{moved}; it goes on with {new['precision']}, {_threads(new['threads'])}"
            )

    # -- measuring ----------------------------------------------------------------------------------------------------

    def _measure(self, allowed: float) -> None:
        """Choose precision, then threads, in about `allowed` seconds; without enough time, what is safe."""
        begun = time.perf_counter()

        def left() -> float:
            return self._agreed(allowed - (time.perf_counter() - begun))

        # Cores that others use are left to them: a step waits for the last of its threads.
        ladder = [n for n in self.ladder if n <= self._now()] or list(self.ladder[:1])
        way, words = Way(ladder[-1] if ladder else self.start, self._precision()), []
        allowed = self._agreed(allowed if self.timed else self._worth())
        tried = bool(self._open(ladder) or self._open(self.precisions))
        if tried and allowed >= _LEAST_SECONDS:
            task = self._task(min(self.experiment.batch_size, _FEW * self.context.process_group.world_size))
            ladder, way, said = self._few(task, way, ladder)
            words += said
            if larger := self._sized(task, way, left, self._open(ladder) + self._open(self.precisions)):
                if self._open(self.precisions):
                    way, said = self._choose_precision(larger, way, left() / (1 + self._open(ladder)))
                    words += said
                if self._open(ladder) and left() >= 2 * (1 + _ROUNDS[0]) * self._step(larger, way):
                    way, said = self._choose_threads(larger, way, ladder, left())
                    words += said
        self._apply(way)
        self._settle_on(way, "; ".join(words), tried)
        self.spent += time.perf_counter() - begun

    def _few(self, task: Task, way: Way, ladder: list[int]) -> tuple[list[int], Way, list[str]]:
        """Conclusions from a few images: many threads that wait for one another, as where a quota can't be seen, are dropped at once; so is
        bf16 where it is far slower."""
        words = []
        if self._open(ladder):
            one, all_ = (self._rough(task, dataclasses.replace(way, threads=n)) for n in (1, ladder[-1]))
            if self._agreed(all_ > _SLOWER * one):
                words.append(f"1 thread: {self._agreed(all_ / one):.2g} times {ladder[-1]} here")
                ladder, way = [1], dataclasses.replace(way, threads=1)
        if self._open(self.precisions):
            full, half = (self._rough(task, dataclasses.replace(way, precision=p)) for p in ("fp32", "bf16"))
            if self._agreed(half > _FAR * full):
                words.append(f"fp32: {self._agreed(half / full):.2g} times bf16 here")
                self.precisions, way = ("fp32",), dataclasses.replace(way, precision="fp32")
        return ladder, way, words

    def _worth(self) -> float:
        """Seconds for a run with a fixed number of epochs: none for a short one."""
        images = (self.experiment.budget.epochs or 0) * len(self.context.data.images)
        return 3.0 if images >= _WORTH_IMAGES else 0.0

    def _now(self) -> int:
        """Threads that the cores have room for at this moment."""
        return max(1, self.cores.free // max(1, self._neighbours))

    @property
    def _neighbours(self) -> int:
        return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))

    def _sized(self, task: Task, way: Way, left: Callable[[], float], comparisons: int) -> Task | None:
        """A task whose steps can be compared in the time `left`: with the run's batches, or with fewer images. None: there is no time."""
        if not comparisons:
            return None
        world, full = self.context.process_group.world_size, self.experiment.batch_size
        found, compared = None, 2 * (1 + _ROUNDS[0])
        while True:
            batch, step = task.batch_size, self._agreed(self._rough(task, way))
            if compared * step > left():
                return found
            found = task if batch >= min(full, _FEWEST * world) else None
            # The cost of a step does not grow faster than its batch, and far slower with few images.
            growth = min(4.0, left() / ((compared + 2) * step))
            growth = 4.0 if not found and growth >= 2 else growth
            larger = int(min(full, growth * batch)) // world * world
            if batch >= full or larger < min(full, 2 * batch):
                return found
            task = self._task(larger)

    def _task(self, batch: int) -> Task:
        """A task like the run's, for batches of `batch` images, with choices of its own."""
        n = max(batch, 4 * _FEW * self.context.process_group.world_size)
        choices = {**self.context.choices, SPEED: {"precision": "fp32"}}
        more = {field: _first(data, n) for field, data in self.context.more.items()}
        some = _first(self.context.data, n)
        context = Context(
            some, self.context.process_group, choices=choices, say=lambda _: None, more=more, source=self.context.source
        )
        with torch.random.fork_rng(devices=()):
            task = self.build(dataclasses.replace(self.experiment, batch_size=batch), context)
            task.wrap(self.context.process_group.wrap)
        self._choices = choices
        return task

    def _rough(self, task: Task, way: Way) -> float:
        self._step(task, way)
        return self._step(task, way)

    def _step(self, task: Task, way: Way, clock: _Clock = time.perf_counter) -> float:
        """Seconds of one training step."""
        self._choices[SPEED]["precision"] = way.precision
        torch.set_num_threads(way.threads)
        with torch.random.fork_rng(devices=()):
            begun = clock()
            task.train_step(task.batch(0, 0))
            return clock() - begun

    def _in_turn(
        self, task: Task, ways: Sequence[Way], allowed: float, clock: _Clock = time.perf_counter
    ) -> list[list[float]]:
        """Seconds of steps of each way, in as many rounds as fit into `allowed` seconds after one that warms up."""
        whole = sum(self._step(task, way) for way in ways)
        rounds = int(self._agreed(min(_ROUNDS[1], max(_ROUNDS[0], allowed / max(whole, 1e-9) - 1))))
        found = [[self._step(task, way, clock) for way in ways] for _ in range(rounds)]
        return [[row[k] for row in found] for k in range(len(ways))]

    def _choose_threads(self, task: Task, way: Way, ladder: Sequence[int], allowed: float) -> tuple[Way, list[str]]:
        """From all that `ladder` has down to fewer threads, as long as the steps do not get slower. Means: on a busy machine the best
        case of many threads says nothing about the usual one."""
        words: list[str] = []
        best, deadline = len(ladder) - 1, time.perf_counter() + allowed
        while best and self._agreed(time.perf_counter() < deadline):
            fewer, more = ladder[best - 1], ladder[best]
            pair = [dataclasses.replace(way, threads=n) for n in (fewer, more)]
            slow, fast = (statistics.mean(t) for t in self._in_turn(task, pair, allowed / 2))
            ratio = self._agreed(slow / fast)
            words = [f"{_threads(more)}: {ratio:.2g} times {fewer} here"]
            if ratio >= _GAIN:
                break
            best -= 1
        return dataclasses.replace(way, threads=ladder[best]), words

    def _choose_precision(self, task: Task, way: Way, allowed: float) -> tuple[Way, list[str]]:
        """The faster of fp32 and bf16, by the best step of each: both suffer alike from other work. Where cores are shared, by the
        processor time of one thread, of which others take nothing away."""
        threads = 1 if self.cores.shared else way.threads
        pair = [Way(threads, p) for p in ("fp32", "bf16")]
        times = self._in_turn(task, pair, allowed, clock=time.process_time if self.cores.shared else time.perf_counter)
        full, half = (min(each) for each in times)
        ratio = self._agreed(full / half)
        words = f"bf16: {ratio:.2g} times fp32 here" if ratio >= 1 else f"fp32: {1 / ratio:.2g} times bf16 here"
        return dataclasses.replace(way, precision="bf16" if ratio >= _GAIN else "fp32"), [words]

    # -- the choice -----------------------------------------------------------------------------------------------------

    def _settle_on(self, way: Way, words: str, tried: bool) -> None:
        if not words and tried and self.timed:
            words = "not measured: too little time"
        found = {
            "threads": way.threads,
            "precision": way.precision,
            "why": words,
            "busy": round(self.cores.busy, 2),
            "processor": processor(),
        }
        self.context.choices[SPEED] = found
        self.keep()
        if words:
            self._say(f"speed: {way.precision}, {_threads(way.threads)} ({words}; {self.cores.describe()})")

    def _apply(self, way: Way) -> None:
        torch.set_num_threads(way.threads)

    def _precision(self) -> str:
        return precision_of(self.experiment.precision, self.context.device, self.context.choices)

    def _agreed(self, value: float) -> float:
        """Rank 0's value, on all ranks."""
        process_group = self.context.process_group
        return process_group.agree([float(value) if process_group.is_main else 0.0])[0]

    def _say(self, line: str) -> None:
        if self.context.process_group.is_main:
            self.context.say(line)

    @staticmethod
    def _open(candidates: Sequence[object]) -> int:
        """1 where there is a choice, else 0."""
        return int(len(candidates) > 1)


def processor() -> str:
    """The processor and its flags that decide which arithmetic is fast; a limit set for oneDNN counts as another processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    fields = dict(reversed([line.split(":", 1) for line in lines if ":" in line]))  # the first core's
    known = {key.strip(): value.strip() for key, value in fields.items()}
    has = set((known.get("flags") or known.get("Features") or "").split())
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "")
    flags = [flag for flag in _FLAGS if flag in has] + ([f"at most {limit}"] if limit else [])
    return f"{known.get('model name', 'a processor')} [{' '.join(flags)}]"


def _ladder(most: int, now: int) -> tuple[int, ...]:
    """Numbers of threads that are tried: powers of two, all that can be had, and what the load suggests."""
    return tuple(sorted({min(2**k, most) for k in range(most.bit_length() + 1)} | {now}))


def _threads(n: int) -> str:
    return counted(n, "thread")
