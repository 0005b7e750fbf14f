"""Words for Slurm's commands where a user's own defaults, the clock or an array would give them another meaning; and Slurm's own for limits."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path

import pytest

from ganhpc.core.errors import UserError
from ganhpc.core.settings import ROOT, Settings
from ganhpc.launch.policy.policy import Policy
from ganhpc.launch.schedulers import slurm, slurm_options
from ganhpc.launch.schedulers.slurm import Slurm
from ganhpc.launch.submission import granted
from ganhpc.launch.submission.granted import Asked
from tests.launch.schedulers.shell_commands import program
from tests.launch.schedulers.test_slurm import bin, request, squeue

__all__ = ["bin"]

AT_SRUN = {
    "time=0:05:00": " --time=0", "srun:*:time = 5": " --time=0", "SRun:here:output=/x": " --output=all", "output=x": " --output=all",
    "srun:*:error=/x": " --error=all", "*:here:input=/x": " --input=all", "chdir=/elsewhere": f" --chdir={ROOT}", "srun:*:ntasks=4": " --ntasks=2",
    "sbatch:*:time=5": "", "salloc:*:time=5": "", "elsewhere:time=5": "", "#time=5": "", "mem=1G": "", "account=x": "",
}  # fmt: skip


@pytest.mark.parametrize("line", AT_SRUN)
def test_the_users_own_defaults_do_nothing_to_the_step_in_which_a_job_trains(
    bin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    """The plugin gives them to the job's own srun too: `time` ended the step, and `output` took its words out of the log."""
    monkeypatch.setattr(slurm_options, "system_home", lambda: tmp_path)
    program(bin / "scontrol", "echo 'ClusterName = here'")
    (tmp_path / ".slurm").mkdir()
    (tmp_path / ".slurm" / "defaults").write_text(f"{line}\n")
    script = Slurm(Settings()).prepare(request(tmp_path, nodes=2)).script
    assert f"--kill-on-bad-exit=1{AT_SRUN[line]} " in script.splitlines()[-1]
    assert script.count("--time=0 ") == (AT_SRUN[line] == " --time=0")


def test_a_time_that_comes_twice_is_told_to_slurm_in_seconds_since_1970(
    bin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the clock is set back: sbatch took the first of the two."""
    del bin
    monkeypatch.setenv("TZ", "Europe/Paris")
    time.tzset()
    try:
        first = dt.datetime(2026, 10, 25, 0, 30, tzinfo=dt.UTC)
        moments = [first + hour * dt.timedelta(hours=1) for hour in range(-1, 3)]
        argv = [Slurm(Settings()).prepare(request(tmp_path, kind="begin", start=moment)).argv for moment in moments]
    finally:
        monkeypatch.undo()
        time.tzset()
    begins = [next(word for word in words if word.startswith("--begin=")) for words in argv]
    seconds = int(first.timestamp())
    assert begins == ["--begin=2026-10-25T01:30:00", f"--begin=uts{seconds}", f"--begin=uts{seconds + 3600}", "--begin=2026-10-25T03:30:00"]  # fmt: skip


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("QOSMaxWallDurationPerJobLimit", "more time than its quality of service (QOS) allows"),
        ("QOSMaxGRESPerJob", "more than its quality of service (QOS) allows a job: cancel it"),
        ("QOSMaxCpuMinutesPerJobLimit", "more than its quality of service (QOS) allows a job: cancel it"),
        ("QOSMinGRES", "less than its quality of service (QOS) takes: cancel it"),
        ("AssocMaxWallDurationPerJobLimit", "more time than the user's account allows a job: cancel it"),
        ("AssocMaxCpuPerJobLimit", "more than the user's account allows a job: cancel it"),
        ("MaxMemPerLimit", "more memory than a job may have: cancel it"),
        ("QOSMaxJobsPerUserLimit", ""),
        ("QOSMaxGRESPerUser", ""),
        ("AssocGrpGRES", ""),
        ("AssocMaxJobsLimit", ""),
    ],
)
def test_a_limit_on_one_job_does_not_end_by_waiting(bin: Path, reason: str, said: str) -> None:
    """They were said to be reached for now, as limits on all jobs of a user are."""
    squeue(bin, [f"8 PENDING N/A N/A 10:00 singleton(unfulfilled) {reason} ganhpc ganhpc:cafe-1-00 /x"])
    told = granted.check(Slurm(Settings()), "8", Asked("cafe-1-00", 600), Policy("one", max_job=3600, max_jobs=1))
    assert f"does not start it: it asks for {said}" in told if said else not told, told


ENDS = {"12": "1795259900\nN/A\n1795259922", "12_3": "1795259922", "12_2": "1795259900", "13": "1795259800"}
"""By the number that squeue is asked for: a whole array, two of its tasks, another job."""


@pytest.mark.parametrize(
    ("job", "array", "end"),
    [
        ("12", ("12", "3"), 1795259922),
        ("12", None, 1795259900),
        ("13", ("12", "2"), 1795259800),
        ("13", None, 1795259800),
        ("14", ("14", "0"), None),
    ],
    ids=["last task of an array", "heterogeneous", "another task of it", "no array", "unknown"],
)
def test_inside_a_task_of_an_array_the_end_is_that_tasks(
    bin: Path, monkeypatch: pytest.MonkeyPatch, job: str, array: tuple[str, str] | None, end: float | None
) -> None:
    """squeue told of all tasks at once, which gave no end: a training typed in the last one was killed with it."""
    cases = "".join(f"*'-j {number} '*) echo '{said}';; " for number, said in ENDS.items())
    program(bin / "squeue", f'case "$*" in {cases}*) exit 1;; esac')
    monkeypatch.setenv("SLURM_JOB_ID", job)
    monkeypatch.delenv("SLURM_JOB_END_TIME", raising=False)
    for name, value in zip(("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"), array or ("", ""), strict=True):
        monkeypatch.setenv(name, value)
    assert slurm.job_end() == end


@pytest.mark.parametrize(
    "line",
    [
        "             12   debug   ganhpc    user PD       0:00      1 (Resources)",
        "  12_[0-3%1]   debug   wrap    user  R       0:10      1 node1",
        "12PENDINGN/AN/A9:00(null)Priorityganhpc",
    ],
)
def test_a_squeue_that_takes_no_notice_of_the_fields_is_no_empty_queue(bin: Path, line: str) -> None:
    """As a site's own does that keeps its answers: the run of a job in it was submitted once more."""
    (bin / "lines").write_text(f"{line}\n")
    program(bin / "squeue", f"cat {bin / 'lines'}")
    with pytest.raises(
        UserError, match=r"queue can't be read \(its answer has other fields than those that were asked for"
    ):
        Slurm(Settings()).queue()
    (bin / "lines").write_text("  *** 2 nodes are down ***\nJOBID PARTITION\n")
    assert Slurm(Settings()).queue() == []


def test_a_ping_without_a_word_is_a_sentence(bin: Path) -> None:
    program(bin / "sbatch", "exit 0")
    program(bin / "scontrol", "exit 0")
    assert Slurm(Settings()).find().why.endswith("Slurm's server is down (`scontrol ping` says nothing)")


@pytest.mark.parametrize("model", ["a100,h100", "a100:2", "a100=2", "A 100"])
def test_one_model_of_gpu_is_one_name(bin: Path, tmp_path: Path, model: str) -> None:
    """`--gpus-per-node=a100,h100:1` asks for two GPUs where one was meant."""
    del bin
    with pytest.raises(UserError, match="may mean several: write one name"):
        Slurm(Settings(gpu_model=model)).prepare(request(tmp_path, gpus_per_node=1))
