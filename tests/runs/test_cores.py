"""Threads by what is to be had: made trees of control groups, affinity, Slurm's words, the load of other processes, a real quota."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from ganhpc.core.errors import UserError
from ganhpc.core.scheduler_environment import OMP_TYPED
from ganhpc.runs import cores, trainer_protocol
from ganhpc.runs.cores import Cores
from ganhpc.runs.experiment import options
from jobs.cifar import Cifar
from tests.helpers import ROOT

V1_MOUNT = "32 31 0:29 {root} /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct"
V2_MOUNT = "29 23 0:26 {root} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"


def tree(root: Path, cgroup: str, mounts: list[str], files: dict[str, str]) -> Path:
    """A made root with what the kernel says of this process, and the files of control groups."""
    for name, text in {"proc/self/cgroup": cgroup, "proc/self/mountinfo": "\n".join(mounts), **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


def v1(folder: str, quota: int, period: int = 100_000) -> dict[str, str]:
    at = f"sys/fs/cgroup/cpu,cpuacct{folder}"
    return {f"{at}/cpu.cfs_quota_us": str(quota), f"{at}/cpu.cfs_period_us": str(period)}


def v2(folder: str, text: str) -> dict[str, str]:
    return {f"sys/fs/cgroup{folder}/cpu.max": text}


CASES = {
    "v2": ("0::/user/job", ["/"], {**v2("/user/job", "150000 100000")}, 1.5),
    "v2, another period": ("0::/job", ["/"], {**v2("/job", "20000 10000")}, 2.0),
    "v2, max": ("0::/job", ["/"], {**v2("/job", "max 100000")}, None),
    "v2, the strictest on the way up": (
        "0::/a/b/c",
        ["/"],
        {**v2("/a", "100000 100000"), **v2("/a/b", "400000 100000"), **v2("/a/b/c", "max 100000")},
        1.0,
    ),
    "v2, no file": ("0::/a", ["/"], {}, None),
    "v2, own namespace, quota at the mount": ("0::/", ["/"], {**v2("", "200000 100000")}, 2.0),
    "v2, mounted from within": ("0::/docker/x/sub", ["/docker/x"], {**v2("/sub", "max"), **v2("", "300000 100000")}, 3.0),
    "v2, group outside the mount": ("0::/../../other", ["/"], {**v2("", "50000 100000")}, 0.5),
    "v2, damaged": ("0::/job", ["/"], {**v2("/job", "x y")}, None),
    "v1": ("4:cpu,cpuacct:/job", ["1:/"], v1("/job", 250_000), 2.5),
    "v1, unlimited": ("4:cpu,cpuacct:/job", ["1:/"], v1("/job", -1), None),
    "v1, nested": ("4:cpu,cpuacct:/a/b", ["1:/"], {**v1("/a", 100_000), **v1("/a/b", 300_000)}, 1.0),
    "v1, docker without a namespace": ("4:cpu,cpuacct:/docker/x", ["1:/docker/x"], v1("", 50_000), 0.5),
    "both, v1 bounds": ("4:cpu,cpuacct:/a\n0::/b", ["1:/", "/"], {**v1("/a", 100_000), **v2("/b", "max 100000")}, 1.0),
    "both, v2 bounds": ("4:cpu,cpuacct:/a\n0::/b", ["1:/", "/"], {**v1("/a", -1), **v2("/b", "200000 100000")}, 2.0),
    "another controller only": ("5:memory:/a", ["1:/"], v1("/a", 100_000), None),
    "hybrid, v2 without controllers": ("3:cpu,cpuacct:/a\n2:cpuset:/a\n0::/x", ["1:/", "/"], v1("/a", 50_000), 0.5),
    "v2, a part of a core below max": (
        "0::/a/b/c",
        ["/"],
        {**v2("", "max 100000"), **v2("/a", "30000 100000"), **v2("/a/b", "max 100000")},
        0.3,
    ),
    "v2, one number": ("0::/a", ["/"], {**v2("/a", "150000")}, 1.5),
    "v2, nothing allowed": ("0::/a", ["/"], {**v2("/a", "0 100000")}, None),
    "v2, no whole number": ("0::/a", ["/"], {**v2("/a", "nan 100000")}, None),
    "v2, a group that was removed": ("0::/a/b (deleted)", ["/"], {**v2("/a", "150000 100000")}, 1.5),
    "v2, a colon and a blank in the name": ("0::/a:b c", ["/"], {**v2("/a:b c", "150000 100000")}, 1.5),
    "v2, mounted twice": ("0::/a", ["/x", "/"], {**v2("/a", "150000 100000")}, 1.5),
    "v1, no period": ("4:cpu,cpuacct:/a", ["1:/"], {"sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "50000"}, 0.5),
    "nothing mounted": ("0::/a", [], {**v2("/a", "100000 100000")}, None),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_strictest_quota_above_the_process_counts(tmp_path: Path, case: str) -> None:
    cgroup, mounted, files, expected = CASES[case]
    mounts = [
        V1_MOUNT.format(root=where[2:]) if where.startswith("1:") else V2_MOUNT.format(root=where) for where in mounted
    ]
    assert cores.quota(tree(tmp_path, cgroup, mounts, files)) == expected


def test_without_proc_there_is_no_quota(tmp_path: Path) -> None:
    assert cores.quota(tmp_path) is None


@pytest.mark.parametrize(
    ("have", "limit", "free", "shared"),
    [
        (Cores(8), 8, 8, False),
        (Cores(8, quota=3.0), 3, 3, True),
        (Cores(8, quota=2.9), 2, 2, True),
        (Cores(2, quota=0.5), 1, 1, True),
        (Cores(8, allocated=2), 2, 2, True),
        (Cores(4, allocated=16), 4, 4, False),
        (Cores(8, busy=3.1), 8, 5, True),
        (Cores(2, busy=2.0), 2, 1, True),
        (Cores(2, busy=0.1), 2, 2, False),
        # Others fit beside what the quota leaves.
        (Cores(16, quota=4.0, busy=10.0), 4, 4, True),
    ],
)
def test_what_can_be_had(have: Cores, limit: int, free: int, shared: bool) -> None:
    assert (have.limit, have.free, have.shared) == (limit, free, shared)


@pytest.mark.parametrize(
    ("asked", "environ", "processes", "most", "now", "why"),
    [
        (None, {}, 1, 8, 6, ""),
        (None, {}, 2, 4, 3, ""),
        (None, {}, 3, 2, 2, ""),
        (None, {}, 16, 1, 1, ""),
        (None, {"OMP_NUM_THREADS": "5"}, 2, 5, 5, "OMP_NUM_THREADS"),
        (None, {"OMP_NUM_THREADS": "3,2"}, 1, 3, 3, "OMP_NUM_THREADS"),
        (None, {"OMP_NUM_THREADS": "many"}, 1, 8, 6, ""),
        (7, {"OMP_NUM_THREADS": "5"}, 2, 7, 7, "--threads"),
        # torchrun's own 1 is nobody's wish; one that was typed before torchrun started is.
        (None, {"OMP_NUM_THREADS": "1", "TORCHELASTIC_RUN_ID": "x"}, 2, 4, 3, ""),
        (None, {"OMP_NUM_THREADS": "1", "TORCHELASTIC_RUN_ID": "x", OMP_TYPED: ""}, 2, 4, 3, ""),
        (None, {"OMP_NUM_THREADS": "1", "TORCHELASTIC_RUN_ID": "x", OMP_TYPED: "1"}, 2, 1, 1, "OMP_NUM_THREADS"),
    ],
)
def test_threads_of_a_process(asked: int | None, environ: dict, processes: int, most: int, now: int, why: str) -> None:
    found = cores.threads(asked, environ, processes, Cores(8, busy=2.0))
    assert (found.most, found.now, found.why) == (most, now, why)


def test_processes_on_one_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchrun sets one thread each, whatever there is."""
    monkeypatch.setattr(cores, "here", lambda **_: Cores(8))
    environ = {"LOCAL_WORLD_SIZE": "2", "OMP_NUM_THREADS": "1", "TORCHELASTIC_RUN_ID": "x"}
    assert cores.settle(None, environ).now == 4 and "OMP_WAIT_POLICY" not in environ
    crowded = {**environ, "LOCAL_WORLD_SIZE": "16"}
    assert cores.settle(None, crowded).now == 1 and crowded["OMP_WAIT_POLICY"] == "PASSIVE"


def test_a_launcher_inside_a_job_passes_on_what_was_typed_first() -> None:
    def kept(**environ: str) -> str:
        return trainer_protocol.environment(environ, one_machine=True)[OMP_TYPED]

    assert kept(OMP_NUM_THREADS="4") == "4"
    assert kept() == ""
    assert kept(**{"OMP_NUM_THREADS": "1", OMP_TYPED: ""}) == ""


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"SLURM_CPUS_PER_TASK": "4"}, None),
        ({"SLURM_JOB_ID": "1", "SLURM_CPUS_PER_TASK": "4", "SLURM_CPUS_ON_NODE": "8"}, 4),
        ({"SLURM_JOB_ID": "1", "SLURM_CPUS_ON_NODE": "8"}, 8),
        ({"SLURM_JOB_ID": "1", "SLURM_CPUS_PER_TASK": "some"}, None),
    ],
)
def test_what_slurm_allocated(environ: dict, expected: int | None) -> None:
    assert cores.allocated(environ) == expected


def test_affinity_is_respected() -> None:
    one = str(min(os.sched_getaffinity(0)))
    code = "from ganhpc.runs import cores; print(cores.here(seconds=0).affinity, cores.settle(None, {}).now)"
    done = subprocess.run(["taskset", "-c", one, sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == ["1", "1"], done.stderr


def test_the_load_of_others_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stat(user: int, other: int) -> str:
        return f"cpu  9 9 9 9\ncpu0 {user} 0 0 500 40 0 0 7 0 0\ncpu1 {other} 0 0 500 40 0 0 0 0 0\ncpu2 9999 0 0 0 0 0 0 0 0 0\n"

    (tmp_path / "proc").mkdir()
    path = tmp_path / "proc/stat"
    path.write_text(stat(100, 100))
    now = iter([10.0, 10.5, 20.0, 20.0])
    clock = SimpleNamespace(monotonic=lambda: next(now), sleep=lambda _: path.write_text(stat(150, 105)))
    monkeypatch.setattr(cores, "time", clock)
    # Half a second: 50 of 50 ticks on the first core, 5 on the second.
    assert cores.busy([0, 1], tmp_path, 0.5) == pytest.approx(1.1)
    assert cores.busy([0, 1], tmp_path / "nothing", 0.0) == 0.0


@pytest.mark.parametrize(
    ("looks", "busy", "seen"),
    [([1.0, 0.6, 0.1, 1.0], 0.1, 3), ([0.0, 1.0], 0.0, 1), ([1.2, 0.9, 1.1, 0.8, 1.0, 0.0], 0.8, 5)],
)
def test_what_is_busy_for_a_moment_shares_no_cores(
    monkeypatch: pytest.MonkeyPatch, looks: list[float], busy: float, seen: int
) -> None:
    """One look took the launcher's own last work for a neighbour: threads then slept while they waited, and 2 of them took 5.8 times as long as 1."""
    left = list(looks)
    monkeypatch.setattr(cores, "busy", lambda *_: left.pop(0))
    assert cores.here().busy == busy and len(looks) - len(left) == seen


def test_a_real_busy_process_is_seen() -> None:
    core = min(os.sched_getaffinity(0))
    hog = subprocess.Popen(["taskset", "-c", str(core), sys.executable, "-c", "while True: pass"])
    try:
        limit = time.monotonic() + 60  # until it has begun, and where the machine itself pauses for a moment
        while cores.busy([core], seconds=0.5) <= 0.6:
            assert time.monotonic() < limit
    finally:
        hog.kill()
        hog.wait()


@pytest.mark.parametrize(
    ("have", "processes", "environ", "changed"),
    [
        (Cores(2), 1, {}, False),
        (Cores(2, busy=1.0), 1, {}, True),
        (Cores(2, quota=1.0), 1, {}, True),
        (Cores(2), 4, {}, True),
        (Cores(2, busy=1.0), 1, {"OMP_WAIT_POLICY": "ACTIVE"}, False),
        (Cores(2, busy=1.0), 1, {"KMP_BLOCKTIME": "200"}, False),
    ],
)
def test_threads_do_not_spin_where_cores_are_shared(have: Cores, processes: int, environ: dict, changed: bool) -> None:
    given = dict(environ)
    assert cores.wait_without_spinning(have, processes, environ) is changed
    assert environ == ({**given, **cores.PASSIVE} if changed else given)


@pytest.fixture
def group() -> Iterator[Path]:
    """A real control group of version 1 with a quota of half a core, where this user may make one."""
    folder = Path("/sys/fs/cgroup/cpu") / f"ganhpc-test-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error.strerror}")
    yield folder
    folder.rmdir()


def test_a_real_quota_is_read_by_a_process_inside_it(group: Path) -> None:
    (group / "cpu.cfs_quota_us").write_text("50000")
    inner = group / "inner"
    inner.mkdir()
    code = "from ganhpc.runs import cores; c = cores.here(seconds=0); print(c.quota, c.limit, c.shared)"
    command = f"echo $$ > {inner}/cgroup.procs && exec {sys.executable} -c '{code}'"
    try:
        done = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True)
        assert done.stdout.split() == ["0.5", "1", "True"], done.stderr
    finally:
        for _ in range(1500):
            if not (inner / "cgroup.procs").read_text().strip():
                break
            time.sleep(0.02)
        inner.rmdir()


def test_the_flag_takes_a_number_or_auto_and_is_no_part_of_the_signature() -> None:
    (option,) = [o for o in options(Cifar) if o.name == "threads"]
    assert (option.parse("auto"), option.parse("4"), option.show(None)) == (None, 4, "auto")
    with pytest.raises(UserError, match=r"--threads takes auto, or a whole number from 1 to 4096, not 'none'"):
        option.parse("none")
    assert Cifar().replace(threads=3).signature == Cifar().signature
