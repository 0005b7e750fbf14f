"""Processor cores that this process may use: affinity, quotas of control groups, a scheduler's allocation, the load of other processes.

Never imports torch: whether threads wait by spinning must be settled in the environment before torch's libraries are loaded.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ganhpc.core.scheduler_environment import OMP_TYPED
from ganhpc.core.units import counted

_BUSY_SECONDS = 0.2
"""Seconds for which other processes are watched: the kernel counts in hundredths of a second."""
_BUSY_LOOKS = 5
"""Looks at other processes while they are busy: how threads wait is settled for good, and what starts this process is busy for a moment."""
SHARED_FROM = 0.25
"""Cores in use by others from which the cores count as shared."""
PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}
"""Variables of GNU's and LLVM's (Intel's) OpenMP that make idle threads sleep instead of spin."""


_PERIOD = 100_000.0
"""Microseconds in which a quota is counted where its group says none, as the kernel has it."""


class Cores(NamedTuple):
    """Cores that this process may use. `affinity`: cores that it may run on; `quota`: processor seconds a second, as the control groups
    above it allow; `allocated`: cores that the scheduler gave to its task; `busy`: cores in use by other processes, of those."""

    affinity: int
    quota: float | None = None
    allocated: int | None = None
    busy: float = 0.0

    @property
    def limit(self) -> int:
        """Whole cores that can be had at most (at least 1). A part of a core serves no thread: the others would wait for it."""
        bounds = [self.affinity, self.affinity if self.quota is None else math.floor(self.quota + 1e-6)]
        return max(1, min(*bounds, self.allocated or self.affinity))

    @property
    def free(self) -> int:
        """Whole cores that other processes leave free, at least 1."""
        # Others may use cores outside the limit first, where the affinity has more of them.
        left = self.affinity - self.busy
        return max(1, min(self.limit, math.floor(left + SHARED_FROM)))

    @property
    def shared(self) -> bool:
        """True if a thread may have to wait for its core, so that others must not spin in the meantime."""
        return self.busy >= SHARED_FROM or self.limit < self.affinity or (self.quota or math.inf) < self.affinity

    def describe(self) -> str:
        """One clause for people: what bounds the threads."""
        words = [counted(self.affinity, "core")]
        if self.quota is not None and self.quota < self.affinity:
            words.append(f"a quota of {self.quota:.3g}")
        if self.allocated is not None and self.allocated < self.affinity:
            words.append(f"{self.allocated} allocated by the scheduler")
        if self.busy >= SHARED_FROM:
            words.append(f"{self.busy:.1f} in use by others")
        return ", ".join(words)


def here(root: Path = Path("/"), environ: Mapping[str, str] = os.environ, seconds: float = _BUSY_SECONDS) -> Cores:
    """The cores of this process. Watches other processes for `seconds` (0: not at all), a few times where they are busy."""
    mine = sorted(os.sched_getaffinity(0))
    return Cores(len(mine), quota(root), allocated(environ), _least_busy(mine, root, seconds) if seconds else 0.0)


# -- control groups ---------------------------------------------------------------------------------------------------


def quota(root: Path = Path("/")) -> float | None:
    """Processor seconds a second that the control groups of this process allow, the strictest on the way up; None: no bound.

    `root` is where /proc and /sys are found. Both versions of control groups are read, and both may be mounted at once.
    """
    found = [bound for folder, is_v2 in _groups(root) if (bound := _bound(folder, is_v2)) is not None]
    return min(found, default=None)


def _groups(root: Path) -> Iterator[tuple[Path, bool]]:
    """(folder, whether of version 2) of each control group that this process is in and that may bound its processor time."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, controllers, path = (*line.split(":", 2), "", "")[:3]
        is_v2 = number == "0" and not controllers
        if not is_v2 and "cpu" not in controllers.split(","):
            continue
        for mounted, at in _mounts(root, is_v2):
            yield from ((folder, is_v2) for folder in _upwards(root, mounted, at, path))


def _mounts(root: Path, is_v2: bool) -> Iterator[tuple[str, str]]:
    """(path inside the hierarchy that is mounted, mount point) of the control groups of one version, those of `cpu` in version 1."""
    for line in _text(root / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, kinds = before.split(), after.split()
        if len(fields) < 5 or len(kinds) < 3:
            continue
        if kinds[0] == "cgroup2" if is_v2 else kinds[0] == "cgroup" and "cpu" in kinds[2].split(","):
            yield _unescaped(fields[3]), _unescaped(fields[4])


def _upwards(root: Path, mounted: str, at: str, path: str) -> Iterator[Path]:
    """Folders of the group `path` and of those above it, as far as they can be seen from here."""
    below: PurePosixPath | None = None
    if ".." not in PurePosixPath(path).parts:  # A group outside our namespace can't be seen, its mount point can.
        try:
            below = PurePosixPath(path).relative_to(mounted)
        except ValueError:
            below = None
    point = root / at.lstrip("/")
    parts = below.parts if below else ()
    for length in range(len(parts), -1, -1):
        yield point.joinpath(*parts[:length])


def _bound(folder: Path, is_v2: bool) -> float | None:
    if is_v2:
        words = _text(folder / "cpu.max").split()
    else:
        words = [word for name in ("quota", "period") for word in _text(folder / f"cpu.cfs_{name}_us").split()[:1]]
    try:
        most, period = float(words[0]), float(words[1]) if len(words) > 1 else _PERIOD
    except (ValueError, IndexError):  # `max`, -1 on another line, or no such file.
        return None
    return most / period if most > 0 and period > 0 else None


def _unescaped(field: str) -> str:
    """A field of mountinfo, where blanks are octal."""
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, char)
    return field


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


# -- the scheduler's allocation and other processes -----------------------------------------------------------------


def allocated(environ: Mapping[str, str]) -> int | None:
    """Cores of this node that Slurm gave to the task, where it says so. It need not confine the task to them.

    OAR confines its jobs by cpusets, which the affinity shows.
    """
    if "SLURM_JOB_ID" not in environ:
        return None
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"):
        if (environ.get(name) or "").isdecimal() and int(environ[name]) > 0:
            return int(environ[name])
    return None


def busy(cores: list[int], root: Path = Path("/"), seconds: float = _BUSY_SECONDS) -> float:
    """Cores' worth of processor time that is used on `cores` while this process sleeps for `seconds`."""
    before, begun = _ticks(cores, root), time.monotonic()
    time.sleep(seconds)
    after, took = _ticks(cores, root), time.monotonic() - begun
    if before is None or after is None:
        return 0.0
    return min(float(len(cores)), max(0.0, (after - before) / (_ticks_per_second() * took)))


def _least_busy(cores: list[int], root: Path, seconds: float) -> float:
    """`busy` in the quietest of a few looks, the last one where nothing is shared."""
    least = math.inf
    for _ in range(_BUSY_LOOKS):
        least = min(least, busy(cores, root, seconds))
        if least < SHARED_FROM:
            break
    return least


def _ticks(cores: list[int], root: Path) -> int | None:
    """Ticks since the start that `cores` worked for anybody, this machine's host (steal) included; None where nobody counts."""
    wanted, total, seen = {f"cpu{n}" for n in cores}, 0, False
    for line in _text(root / "proc/stat").splitlines():
        name, *ticks = line.split()
        if name in wanted and len(ticks) >= 4:
            user, nice, system, _idle, *rest = (int(tick) for tick in ticks[:8])
            # After idle: waiting for disks, which is no work; interrupts, soft interrupts, steal.
            total, seen = total + user + nice + system + sum(rest[1:]), True
    return total if seen else None


def _ticks_per_second() -> int:
    return os.sysconf("SC_CLK_TCK")


class Load:
    """Use of this process's cores by others, seen between two looks."""

    def __init__(self) -> None:
        self._cores = sorted(os.sched_getaffinity(0))
        self._last = self._now()

    def others(self) -> float | None:
        """Cores' worth of time that others used since the last look (or since this was made); None where nobody counts."""
        (before, own, begun), (after, now_own, now) = self._last, self._now()
        self._last = (after, now_own, now)
        if before is None or after is None or now <= begun:
            return None
        used = (after - before) / _ticks_per_second() - (now_own - own)
        return max(0.0, used / (now - begun))

    def _now(self) -> tuple[int | None, float, float]:
        return _ticks(self._cores, Path("/")), time.process_time(), time.monotonic()


# -- the threads of one process -----------------------------------------------------------------------------------


class Threads(NamedTuple):
    """Threads of one training process. `most`: worth a measurement up to so many; `now`: without one; `why`: who decided, where the
    user did; `cores`: what the processes of this machine share."""

    most: int
    now: int
    why: str
    cores: Cores

    @property
    def typed(self) -> bool:
        """True if the user decided."""
        return bool(self.why)


def settle(asked: int | None, environ: MutableMapping[str, str] = os.environ) -> Threads:
    """The threads of this process among those that torchrun started beside it, and how they wait for one another (see
    `wait_without_spinning`). `asked`: what --threads says. Other processes are not watched where one thread was typed."""
    processes = int(environ.get("LOCAL_WORLD_SIZE", "1"))
    typed = asked or _typed_threads(environ)
    cores = here(environ=environ, seconds=0.0 if typed == 1 else _BUSY_SECONDS)
    wait_without_spinning(cores, processes, environ)
    return threads(asked, environ, processes, cores)


def threads(asked: int | None, environ: Mapping[str, str], processes: int, cores: Cores) -> Threads:
    """The threads of each of `processes` on this machine: as asked for (--threads), as OMP_NUM_THREADS says, or a share of the cores."""
    if asked is not None:
        return Threads(asked, asked, "--threads", cores)
    if (typed := _typed_threads(environ)) is not None:
        return Threads(typed, typed, "OMP_NUM_THREADS", cores)
    most, now = max(1, cores.limit // processes), max(1, cores.free // processes)
    return Threads(most, now, "", cores)


def _typed_threads(environ: Mapping[str, str]) -> int | None:
    """Value of OMP_NUM_THREADS by the user, or None. torchrun sets it to 1 for its children where nobody did, whatever there is."""
    text = environ.get(OMP_TYPED)
    if text is None:
        text = environ.get("OMP_NUM_THREADS", "")
        if "TORCHELASTIC_RUN_ID" in environ and text == "1":
            return None
    first = text.split(",")[0].strip()  # A list has one number for each level of nesting.
    return int(first) if first.isdecimal() and int(first) > 0 else None


def wait_without_spinning(cores: Cores, processes: int, environ: MutableMapping[str, str]) -> bool:
    """Have the threads of OpenMP sleep while they wait, where cores are shared and the user set nothing else. Call it before torch is
    imported. Returns whether it is so."""
    crowded = cores.shared or processes > cores.limit
    if not crowded or any(name in environ for name in PASSIVE):
        return False
    environ.update(PASSIVE)
    return True
