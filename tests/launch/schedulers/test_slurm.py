"""Slurm's words as ours, from lines recorded on a real 22.05, and its commands missing, hanging or down."""

from __future__ import annotations

import datetime as dt
import os
import re
from pathlib import Path

import pytest

from ganhpc.core.errors import UserError
from ganhpc.core.settings import Settings
from ganhpc.launch.policy.policy import Policy
from ganhpc.launch.schedulers import slurm, slurm_options
from ganhpc.launch.schedulers.base import JobRequest, JobState, Refused
from ganhpc.launch.schedulers.slurm import Slurm
from ganhpc.launch.schedulers.slurm_output import SEPARATOR
from ganhpc.launch.submission import granted
from ganhpc.launch.submission.granted import Asked
from ganhpc.launch.submission.submit import write_script
from tests.launch.schedulers.shell_commands import program

LINES = [
    "7 RUNNING 1795259382 1795259922 9:00 (null) None ganhpc ganhpc:b56ea392-1-17a3",
    "8 PENDING N/A N/A 9:00 singleton(unfulfilled),afterany:7(unfulfilled) Dependency ganhpc ganhpc:4077ada1-1-57f3",
    "9 PENDING 1795280000 N/A 2-01:00:00 (null) BeginTime wrap (null)",
    "10_[0-3%1] PENDING N/A N/A UNLIMITED (null) Priority wrap (null)",
]
NOW = dt.datetime(2026, 11, 21, 11, 0, tzinfo=dt.UTC)


@pytest.fixture
def bin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, first on the path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def squeue(bin: Path, lines: list[str], before: str = "") -> None:
    said = "\n".join(line.replace(" ", SEPARATOR) for line in lines)
    (bin / "lines").write_text(f"{before}{said}\n")
    program(bin / "squeue", f"cat {bin / 'lines'}")


def request(tmp_path: Path, **values: object) -> JobRequest:
    base = {"tag": "cafe-1-00", "run": tmp_path / "a run", "segment": 1, "seconds": 600, "kind": "now", "start": NOW}
    return JobRequest(**{**base, **values})  # type: ignore[arg-type]


def send(scheduler: Slurm, asked: JobRequest) -> str:
    prepared = scheduler.prepare(asked)
    write_script(prepared)
    return scheduler.submit(prepared)


def test_the_queue_with_expected_times(bin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm.time, "time", lambda: 1795259400.0)
    squeue(bin, LINES, before="*** maintenance on Thursday ***\n")
    jobs = {job.id: job for job in Slurm(Settings()).queue()}
    assert jobs["7"].state is JobState.RUNNING
    assert (jobs["7"].tag, jobs["7"].end) == ("b56ea392-1-17a3", 1795259922)
    assert (jobs["8"].after, jobs["8"].start, jobs["8"].end) == (("7",), 1795259922, 1795259922 + 540)
    assert (jobs["9"].start, jobs["9"].end, jobs["9"].tag) == (1795280000, 1795280000 + 49 * 3600, "")
    assert jobs["10"].end is None, "a job without a limit has no known end"


def test_a_job_whose_comment_somebody_changed_is_known_by_its_script(bin: Path) -> None:
    script = "/runs/a/jobs/4077ada1-1-57f3.sh"
    squeue(bin, [f"8 RUNNING 1795259382 1795259922 9:00 (null) None mine hello {script}", f"{LINES[0]} /runs/x.sh"])
    assert [job.tag for job in Slurm(Settings()).queue()] == ["4077ada1-1-57f3", "b56ea392-1-17a3"]


def test_without_accounting_an_old_job_is_unknown(bin: Path) -> None:
    squeue(bin, [])
    program(bin / "sacct", "echo 'Slurm accounting storage is disabled' >&2; exit 1")
    assert Slurm(Settings()).jobs(["3"])["3"].state is JobState.UNKNOWN


@pytest.mark.parametrize(
    ("native", "state"),
    [
        ("COMPLETED", JobState.ENDED),
        ("FAILED", JobState.FAILED),
        ("TIMEOUT", JobState.TIMEOUT),
        ("DEADLINE", JobState.TIMEOUT),
        ("CANCELLED by 1000", JobState.CANCELLED),
        ("OUT_OF_MEMORY", JobState.FAILED),
        ("NODE_FAIL", JobState.FAILED),
        ("NEW_WORD", JobState.UNKNOWN),
    ],
)
def test_what_accounting_says_of_an_ended_job(bin: Path, native: str, state: JobState) -> None:
    squeue(bin, [])
    program(bin / "sacct", f"echo '3|{native}|3:0|1795259382|1795259922'")
    job = Slurm(Settings()).jobs(["3"])["3"]
    assert (job.state, job.exit_code, job.end) == (state, 3, 1795259922)


def test_the_id_is_read_past_a_sites_greeting(bin: Path, tmp_path: Path) -> None:
    program(bin / "sbatch", "echo 'Dear user, job 1 of today is free.'\necho 'Submitted batch job 42'")
    assert send(Slurm(Settings()), request(tmp_path)) == "42"


def test_a_refusal_is_slurms_own_sentence(bin: Path, tmp_path: Path) -> None:
    said = "sbatch: error: Batch job submission failed: Requested time limit is invalid (missing or exceeds some limit)"
    program(bin / "sbatch", f"echo '{said}' >&2; exit 1")
    with pytest.raises(Refused, match=r"^Batch job submission failed: Requested time limit is invalid") as refused:
        send(Slurm(Settings()), request(tmp_path))
    assert not refused.value.unsure


@pytest.mark.parametrize(
    ("said", "unsure"),
    [
        ("Socket timed out on send/recv operation", True),
        ("Zero Bytes were transmitted or received", True),
        ("Unable to contact slurm controller (receive failure)", True),
        ("Unable to contact slurm controller (shutdown failure)", True),
        ("Message receive failure", True),
        ("Insane message length", True),
        ("Header lengths are longer than data received", True),
        ("Unable to contact slurm controller (send failure)", False),
        ("Unable to contact slurm controller (connect failure)", False),
    ],
)
def test_a_connection_that_broke_behind_the_request_leaves_it_open(
    bin: Path, tmp_path: Path, said: str, unsure: bool
) -> None:
    """A busy server takes the job and answers too late: it was said that nothing is submitted."""
    program(bin / "sbatch", f"echo 'sbatch: error: Batch job submission failed: {said}' >&2; exit 1")
    with pytest.raises(Refused, match=r"^Batch job submission failed: ") as refused:
        send(Slurm(Settings()), request(tmp_path))
    assert refused.value.unsure == unsure


def test_a_wrapper_that_fails_behind_sbatch_leaves_a_job(bin: Path, tmp_path: Path) -> None:
    """A site's wrapper that could not write its own log ended with 1: it was said that nothing is submitted."""
    program(bin / "sbatch", "echo 'Submitted batch job 42'; echo 'usage.log: disk full' >&2; exit 1")
    with pytest.raises(Refused, match=r"^Submitted batch job 42, and then usage.log: disk full$") as refused:
        send(Slurm(Settings()), request(tmp_path))
    assert refused.value.unsure


def test_an_answer_without_a_job_leaves_it_open(bin: Path, tmp_path: Path) -> None:
    program(bin / "sbatch", "echo all right")
    with pytest.raises(Refused, match=r"its answer makes no sense \(all right\)") as refused:
        send(Slurm(Settings()), request(tmp_path))
    assert refused.value.unsure


@pytest.mark.slow  # 2 s in all
def test_hanging_commands(bin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm, "SECONDS", 0.5)
    for name in ("sbatch", "squeue", "scancel"):
        program(bin / name, "sleep 60")
    scheduler = Slurm(Settings())
    with pytest.raises(UserError, match="Slurm's queue can't be read"):
        scheduler.queue()
    with pytest.raises(UserError, match=r"job 3 can't be cancelled .*try `scancel 3`"):
        scheduler.cancel("3")
    with pytest.raises(Refused, match="no answer") as refused:
        send(scheduler, request(tmp_path))
    assert refused.value.unsure


def test_whether_it_is_here(bin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(bin / "sbatch", "exit 0")
    program(bin / "scontrol", "echo 'Slurmctld(primary) at node is DOWN'")
    assert "server is down" in Slurm(Settings()).find().why
    program(bin / "scontrol", "echo 'Slurmctld(primary) at node is UP'")
    assert Slurm(Settings()).find().here
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Slurm(Settings()).find().why == "sbatch is not on the PATH"


@pytest.mark.parametrize(
    ("seconds", "limit"), [(60, "0:01:00"), (3599, "0:59:00"), (3600, "1:00:00"), (90_000, "25:00:00")]
)
def test_minutes_are_rounded_down_for_slurm_rounds_up(tmp_path: Path, seconds: int, limit: str) -> None:
    assert f"#SBATCH --time={limit}\n" in Slurm(Settings()).prepare(request(tmp_path, seconds=seconds)).script


def test_one_at_a_time_is_a_singleton_of_one_name(tmp_path: Path) -> None:
    alone = Slurm(Settings()).prepare(request(tmp_path, alone=True, after=("5",))).script
    assert "#SBATCH --job-name=ganhpc\n" in alone
    assert "#SBATCH --dependency=singleton,afterany:5\n" in alone
    assert "--dependency" not in Slurm(Settings()).prepare(request(tmp_path, alone=False)).script


def test_the_end_of_the_job_on_the_node(bin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    program(bin / "squeue", "echo 1795259922")
    assert slurm.job_end() == 1795259922
    program(bin / "squeue", "exit 1")
    monkeypatch.setenv("SLURM_JOB_END_TIME", "1795250000")
    assert slurm.job_end() == 1795250000
    monkeypatch.delenv("SLURM_JOB_END_TIME")
    assert slurm.job_end() is None


def test_an_unknown_job_is_cancelled_already_and_a_refusal_is_a_sentence(bin: Path) -> None:
    program(bin / "scancel", "echo 'scancel: error: Kill job error on job id 3: Invalid job id specified' >&2; exit 1")
    Slurm(Settings()).cancel("3")
    program(bin / "scancel", "echo 'scancel: error: Kill job error on job id 3: Access/permission denied' >&2; exit 1")
    with pytest.raises(UserError, match=r"job 3 can't be cancelled .*permission denied.*try `scancel 3` yourself"):
        Slurm(Settings()).cancel("3")


def test_a_queue_that_is_refused_or_all_noise_is_told_from_an_empty_one(bin: Path) -> None:
    program(bin / "squeue", "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(UserError, match=r"Slurm's queue can't be read \(slurm_load_jobs error: Unable to contact"):
        Slurm(Settings()).queue()
    program(bin / "squeue", "echo '*** maintenance on Thursday ***'")
    assert Slurm(Settings()).queue() == []
    program(bin / "squeue", "echo 'ERROR: ld.so: object x cannot be preloaded: ignored.' >&2")
    assert Slurm(Settings()).queue() == []
    # Both end with 0: an empty queue in their place would have the run submitted twice.
    program(bin / "squeue", "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2")
    with pytest.raises(UserError, match=r"Slurm's queue can't be read \(slurm_load_jobs error: Unable to contact"):
        Slurm(Settings()).queue()
    program(bin / "squeue", "printf '44\\037PEND'")
    with pytest.raises(UserError, match=r"Slurm's queue can't be read \(its answer is cut short\)"):
        Slurm(Settings()).queue()


@pytest.mark.parametrize(
    ("id", "rounds", "count"),
    [
        ("7", 1, 1), ("7_2", 1, 1), ("7_[0-3%1]", 4, 4), ("7_[0-3%2]", 2, 4), ("7_[1,3,5-9:2]", 5, 5), ("7_[0-4%3]", 2, 5),
        ("7_[0-9%10]", 1, 10), ("7_[0,1,...]", 2, 2),
    ],
)  # fmt: skip
def test_an_array_of_the_users_own_lasts_for_all_of_its_tasks(
    bin: Path, monkeypatch: pytest.MonkeyPatch, id: str, rounds: int, count: int
) -> None:
    monkeypatch.setattr(slurm.time, "time", lambda: 1795259400.0)
    squeue(
        bin,
        [
            f"{id} PENDING N/A N/A 10:00 (null) Priority wrap (null)",
            "8 PENDING N/A N/A 9:00 afterany:7_*(unfulfilled) Dependency x (null)",
        ],
    )
    first, behind = Slurm(Settings()).queue()
    assert first.walltime == rounds * 600 and first.end == 1795259400 + rounds * 600
    assert first.id == id.partition("_[")[0], "the number that a dependency takes"
    assert (first.count, behind.count) == (count, 1)
    if first.id == "7":
        assert behind.start == first.end


def test_a_task_of_an_array_is_waited_for_by_its_own_number(bin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own job behind one task of an array was taken back: `7` of `afterany:7_3` was not the `7_3` that had been asked for."""
    monkeypatch.setattr(granted, "PAUSE_SECONDS", 0.0)
    behind = "singleton(unfulfilled),afterany:7_3(unfulfilled),afterany:7_*(unfulfilled)"
    lines = [
        "7_3 RUNNING 1795259382 1795259922 9:00 (null) None wrap (null) /x",
        "7_4 RUNNING 1795259382 1795263522 69:00 (null) None wrap (null) /x",
        "7_[5-6%1] PENDING N/A N/A 10:00 (null) JobArrayTaskLimit wrap (null) /x",
        f"8 PENDING N/A N/A 10:00 {behind} Dependency ganhpc ganhpc:cafe-1-00 /x",
    ]
    squeue(bin, lines)
    scheduler = Slurm(Settings())
    asked = Asked("cafe-1-00", 600, after=("7_3", "7"))
    assert granted.check(scheduler, "8", asked, Policy("one", max_job=3600, max_jobs=1)) == ""
    jobs = {job.id: job for job in scheduler.queue()}
    assert jobs["8"].after == ("7_3", "7")
    assert jobs["8"].start is not None and jobs["8"].start >= 1795263522, "behind every task of the array"
    squeue(bin, [*lines[:3], lines[3].replace(behind, "(null)")])
    program(bin / "scancel", "exit 0")
    with pytest.raises(Refused, match="it does not wait for job 7_3"):
        granted.check(scheduler, "8", asked, Policy("one", max_job=3600, max_jobs=1))


def test_a_heterogeneous_job_of_the_users_own_is_one_that_can_be_waited_for(bin: Path, tmp_path: Path) -> None:
    """sbatch refuses `afterany:12+0`, so that nothing could be submitted while such a job was there."""
    squeue(
        bin,
        [
            "12+0 RUNNING 1795259382 1795259922 9:00 (null) None wrap (null) /x",
            "12+1 RUNNING 1795259382 1795263522 69:00 (null) None wrap (null) /x",
        ],
    )
    (job,) = Slurm(Settings()).queue()
    assert (job.id, job.end, job.walltime, job.count) == ("12", 1795263522, 69 * 60, 2)
    assert "--dependency=singleton,afterany:12" in Slurm(Settings()).prepare(request(tmp_path, after=(job.id,))).argv


def test_of_a_federations_two_lines_the_living_job_counts(bin: Path) -> None:
    revoked = "9 REVOKED 1795259382 1795259382 9:00 (null) None ganhpc ganhpc:cafe-1-00 /x"
    lives = "9 RUNNING 1795259382 1795259922 9:00 (null) None ganhpc ganhpc:cafe-1-00 /x"
    for lines in ([revoked, lives], [lives, revoked]):
        squeue(bin, lines)
        assert Slurm(Settings()).jobs(["9"])["9"].state is JobState.RUNNING
        assert [(job.state, job.count) for job in Slurm(Settings()).queue()] == [(JobState.RUNNING, 1)]


@pytest.mark.parametrize("native", ["EXPEDITING", "REQUEUED_BY_A_LATER_VERSION"])
def test_a_job_in_a_state_without_a_name_here_is_still_there(bin: Path, native: str) -> None:
    """It was no job of the queue, so that its run was submitted a second time."""
    squeue(bin, [f"9 {native} N/A N/A 9:00 (null) None ganhpc ganhpc:cafe-1-00 /x"])
    (job,) = Slurm(Settings()).queue()
    assert (job.id, job.tag, job.state) == ("9", "cafe-1-00", JobState.WAITING)


@pytest.mark.parametrize("native", ["COMPLETING", "STAGE_OUT"])
def test_a_job_that_is_only_cleaned_up_keeps_nobody_from_starting(
    bin: Path, monkeypatch: pytest.MonkeyPatch, native: str
) -> None:
    """A node that is gone leaves its job completing for hours, in which its run was said to be submitted already."""
    monkeypatch.setattr(slurm.time, "time", lambda: 1795260000.0)
    program(bin / "sacct", "exit 0")
    for end, there in ((1795259990, True), (1795259400, False)):
        squeue(bin, [f"9 {native} 1795259000 {end} 20:00 (null) None ganhpc ganhpc:cafe-1-00 /x"])
        assert bool(Slurm(Settings()).queue()) == there
        assert bool(Slurm(Settings()).ended_since(1795250000.0)) != there, "a day's quota counts it all the same"
    squeue(bin, ["9 RUNNING 1795259000 1795259400 20:00 (null) None ganhpc ganhpc:cafe-1-00 /x"])
    assert Slurm(Settings()).queue(), "over its time, and running all the same"


@pytest.mark.parametrize(("start", "kept"), [("1795280000", True), ("N/A", False)])
def test_a_plugin_that_takes_the_begin_time_out_of_a_job_behind_others_gets_it_back(
    bin: Path, monkeypatch: pytest.MonkeyPatch, start: str, kept: bool
) -> None:
    """The job before it was expected to end later than that, and may end at any time: the job would cross the evening's edge."""
    monkeypatch.setattr(slurm.time, "time", lambda: 1795270000.0)
    program(bin / "scancel", "exit 0")
    program(bin / "scontrol", "exit 0")
    before = "7 RUNNING 1795259382 1795285000 9:00:00 (null) None other other /x"
    squeue(
        bin, [before, f"8 PENDING {start} N/A 1:00:00 afterany:7(unfulfilled) Dependency ganhpc ganhpc:cafe-1-00 /x"]
    )
    asked = Asked("cafe-1-00", 3600, dt.datetime.fromtimestamp(1795280000, dt.UTC), ("7",))
    policy = Policy("one", max_job=3600, max_jobs=1, edges=(dt.time(19),))
    if kept:
        assert granted.check(Slurm(Settings()), "8", asked, policy) == ""
        return
    with pytest.raises(Refused, match=r"it starts the job before .*, by a rule of the site; job 8 is taken back"):
        granted.check(Slurm(Settings()), "8", asked, policy)


def test_a_user_whose_name_is_a_number_sees_his_jobs(bin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A student's number was taken for the number of a user without a name, who has no jobs: everything was submitted twice."""
    monkeypatch.setattr(slurm, "user_name", lambda: "22001234")
    line = "9 RUNNING 1795259382 1795259922 9:00 (null) None ganhpc ganhpc:cafe-1-00 /x".replace(" ", SEPARATOR)
    (bin / "lines").write_text(f"{line}\n")
    program(
        bin / "squeue", f'case "$*" in *"-u 22001234"*) cat {bin / "lines"};; *"%U %A"*) echo "{os.getuid()} 9";; esac'
    )
    assert [job.id for job in Slurm(Settings()).queue()] == ["9"]


def test_jobs_in_hidden_partitions_are_asked_for(bin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain squeue leaves them out: the run would be submitted again, and its job taken for one that ended."""
    line = "9 RUNNING 1795259382 1795259922 9:00 (null) None ganhpc ganhpc:cafe-1-00 /x".replace(" ", SEPARATOR)
    (bin / "lines").write_text(f"{line}\n")
    shown = f'*" -o %T") echo RUNNING;; *" -o %e") echo 1795259922;; *) cat {bin / "lines"};;'
    program(bin / "squeue", f'case " $* " in *" -a "*) ;; *) exit 0;; esac; case "$*" in {shown} esac')
    assert [job.id for job in Slurm(Settings()).queue()] == ["9"]
    assert Slurm(Settings()).jobs(["9"])["9"].state is JobState.RUNNING
    monkeypatch.setenv("SLURM_JOB_ID", "9")
    monkeypatch.delenv("SLURM_JOB_END_TIME", raising=False)
    assert slurm.job_end() == 1795259922 and slurm.lives("9") is True


def test_a_number_that_another_job_has_by_now_is_no_living_job_of_ours(bin: Path) -> None:
    """A cluster that was installed anew counts from 1 again, and a job that was killed has left its claim on the run."""
    squeue(bin, ["9 RUNNING 1795259382 1795259922 9:00 (null) None ganhpc ganhpc:cafe-1-00 /x"])
    assert slurm.lives("9", "cafe-1-00") is True and slurm.lives("9", "beef-1-00") is False
    squeue(bin, ["9 RUNNING 1795259382 1795259922 9:00 (null) None bash (null) bash"])
    assert slurm.lives("9") is True and slurm.lives("9", "cafe-1-00") is None, "it tells no tag"
    squeue(bin, ["9 COMPLETING 1795259382 1795259922 9:00 (null) None ganhpc ganhpc:cafe-1-00 /x"])
    assert slurm.lives("9", "cafe-1-00") is None


@pytest.mark.parametrize(
    ("reason", "partition", "said"),
    [
        (
            "Dependency",
            "half",
            "does not start it: partition half allows jobs of 30m, and it asks for 1h: cancel it.*--queue",
        ),
        ("BeginTime", "half", "partition half allows jobs of 30m"),
        ("Dependency", "half,days", ""),
        ("Dependency", "free", ""),
        ("Dependency", "unknown", ""),
        ("Resources", "half", ""),
    ],
)
def test_a_job_behind_others_that_its_partition_never_starts_is_told_of_at_once(
    bin: Path, reason: str, partition: str, said: str
) -> None:
    """As long as it waits for other jobs, Slurm says no more of it than that."""
    limits = "PartitionName=half MaxTime=00:30:00 State=UP\\nPartitionName=days\\n   MaxTime=1-00:00:00\\nPartitionName=free\\n MaxTime=UNLIMITED"
    program(bin / "scontrol", f"printf '{limits}\\n'")
    line = f"8 PENDING N/A N/A 1:00:00 afterany:7(unfulfilled) {reason} ganhpc ganhpc:cafe-1-00 /x"
    (bin / "line").write_text(line.replace(" ", SEPARATOR) + "\n")
    program(bin / "squeue", f'case "$*" in *" -o %P") echo {partition};; *) cat {bin / "line"};; esac')
    told = granted.check(Slurm(Settings()), "8", Asked("cafe-1-00", 3600), Policy("one", max_job=3600, max_jobs=1))
    assert bool(told) == bool(said) and re.search(said, told), told


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("PartitionTimeLimit", "asks for more time than its partition allows: cancel it.*Slurm: PartitionTimeLimit"),
        ("QOSMaxWallDurationPerJobLimit", "more time than its quality of service"),
        ("PartitionConfig", "asks for more than its partition has or allows: cancel it"),
        ("Resources", ""),
        ("None", ""),
    ],
)
def test_a_job_that_slurm_takes_and_never_starts_is_told_of_at_once(bin: Path, reason: str, said: str) -> None:
    """A partition of half an hour takes a job of an hour, where the site has not set EnforcePartLimits."""
    squeue(bin, [f"8 PENDING N/A N/A 10:00 singleton(unfulfilled) {reason} ganhpc ganhpc:cafe-1-00 /x"])
    asked, policy = Asked("cafe-1-00", 600), Policy("one", max_job=3600, max_jobs=1)
    told = granted.check(Slurm(Settings()), "8", asked, policy)
    assert bool(told) == bool(said) and re.search(said, told), told


def test_line_breaks_and_separators_in_names_hide_no_job(bin: Path) -> None:
    fields = ("7", "RUNNING", "1795259322", "1795259922", "10:00", "(null)", "None")
    odd = ("a\nb", f"x{SEPARATOR}{SEPARATOR}\ny", "8\nRUNNING", "\x1e\x85\u2028")
    said = [SEPARATOR.join((*fields, name, name, "/bin/sh")) for name in odd]
    said = [f"{number}{record[1:]}" for number, record in enumerate(said, start=1)]
    (bin / "lines").write_text("a banner\n" + "\n".join(said) + "\n")
    program(bin / "squeue", f"cat {bin / 'lines'}")
    jobs = Slurm(Settings()).queue()
    assert [job.id for job in jobs] == ["1", "2", "3", "4"] and {job.walltime for job in jobs} == {600.0}


DEFAULTS = {
    "*:array=0-2": "array", "sbatch:here:begin=now": "begin", "sbatch:dependency=singleton": "dependency", "hold=1": "hold", "error=/x": "error",
    "here:begin=now": "begin", "SBATCH:*:array=0-2": "array", "SRun:*:begin=now": "", "elsewhere:array=2": "", "sbatch:elsewhere:array=2": "",
    "time=9:00:00": "", "salloc:array=2": "", "#array=2": "", "nice=5": "", "mem = 1G": "", "hold=0": "", "nonsense": "",
}  # fmt: skip


@pytest.mark.parametrize("line", DEFAULTS)
def test_the_users_own_defaults_of_sbatch_ask_for_nothing_that_the_plan_decides(
    bin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    program(bin / "scontrol", "echo 'ClusterName = here'")
    (tmp_path / ".slurm").mkdir()
    (tmp_path / ".slurm" / "defaults").write_text(f"{line}\n")
    if DEFAULTS[line]:
        with pytest.raises(UserError, match=f"sets --{DEFAULTS[line]} of sbatch.*take it out of {tmp_path}"):
            Slurm(Settings()).prepare(request(tmp_path))
    else:
        Slurm(Settings()).prepare(request(tmp_path))


def test_the_users_own_defaults_lie_where_the_system_has_the_home(
    bin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the plugin looks for them: with another HOME, those of the real one were not seen."""
    del bin
    (tmp_path / "other").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "other"))
    monkeypatch.setattr(slurm_options, "system_home", lambda: tmp_path)
    (tmp_path / ".slurm").mkdir()
    (tmp_path / ".slurm" / "defaults").write_text("array=0-2\n")
    with pytest.raises(UserError, match="sets --array of sbatch"):
        Slurm(Settings()).prepare(request(tmp_path))
