"""The queue of this machine, with real processes."""

from __future__ import annotations

import datetime as dt
import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ganhpc.core import locks
from ganhpc.core.errors import StorageFault, UserError
from ganhpc.core.files import read_json, write_json
from ganhpc.core.process_numbers import born
from ganhpc.core.settings import Settings
from ganhpc.core.storage_errors import fault
from ganhpc.launch.schedulers import local, local_queue_jobs, local_queue_worker
from ganhpc.launch.schedulers.base import JobRequest, JobState, PreparedJob
from ganhpc.launch.schedulers.local import Local
from ganhpc.runs import file_owner


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


def send(
    folder: Path, tag: str, lines: str, seconds: int = 60, start: dt.datetime | None = None, **values: object
) -> str:
    """Submit a job of these shell lines; returns its id."""
    script = folder / f"{tag}.sh"
    script.write_text(f"exec >>{folder}/out.txt\n{lines}\n")
    request = JobRequest(tag=tag, run=folder, segment=1, seconds=seconds, kind="queue", start=start, **values)  # type: ignore[arg-type]
    return Local(Settings()).submit(PreparedJob(request, "", ("bash", str(script)), script))


def until(happened: Callable[[], object], seconds: float = 120) -> None:
    """Wait for it: a busy machine takes its time."""
    limit = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < limit
        time.sleep(0.02)


def ended(id: str) -> JobState:
    """The state in which the job ended."""
    until(lambda: not Local(Settings()).jobs([id])[id].state.alive)
    return Local(Settings()).jobs([id])[id].state


def said(folder: Path) -> str:
    """All that jobs have written."""
    path = folder / "out.txt"
    return path.read_text() if path.exists() else ""


def test_a_queue_on_a_node_of_a_cluster_knows_the_end_of_the_job_that_it_is_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--on local` in an interactive job: its trainings were killed at that job's end, since the last checkpoint lost."""
    end = int(time.time()) + 600
    (tmp_path / "squeue").write_text(f"#!/bin/sh\necho {end}\n")
    (tmp_path / "squeue").chmod(0o755)
    for name, value in {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "SLURM_JOB_ID": "12",
        "SLURMD_NODENAME": "n",
    }.items():
        monkeypatch.setenv(name, value)
    outer = dt.datetime.fromtimestamp(end).astimezone()
    for until, bound in (
        (None, outer),
        (outer - dt.timedelta(60), outer - dt.timedelta(60)),
        (outer + dt.timedelta(60), outer),
    ):
        request = JobRequest("t", tmp_path, 1, 3600, "queue", until=until)
        prepared = Local(Settings()).prepare(request)
        assert f"--until={bound.isoformat()}" in prepared.script
        assert prepared.request == request, (
            "else a launcher would take back an hour's job as one that can't end in time"
        )
    monkeypatch.delenv("SLURMD_NODENAME")
    assert "--until" not in Local(Settings()).prepare(JobRequest("t", tmp_path, 1, 3600, "queue")).script


def test_jobs_run_one_after_another_in_their_order(state: Path) -> None:
    first = send(state, "one", f"echo one begins; until [ -e {state}/go ]; do sleep 0.05; done; echo one ends")
    second = send(state, "two", "echo two; exit 3")
    waiting = {job.id: job for job in Local(Settings()).queue()}
    (state / "go").touch()
    assert waiting[second].after == (first,)
    assert waiting[second].tag == "two"
    assert (ended(first), ended(second)) == (JobState.ENDED, JobState.FAILED)
    assert (state / "out.txt").read_text().split("\n")[:3] == ["one begins", "one ends", "two"]
    assert Local(Settings()).queue() == []


@pytest.mark.slow  # 2 s in all
def test_a_job_waits_for_its_time_and_is_given_up_after_it(state: Path) -> None:
    now = dt.datetime.now().astimezone()
    late = send(state, "late", "echo late", start=now - dt.timedelta(hours=2), deadline=now - dt.timedelta(hours=1))
    assert ended(late) is JobState.TIMEOUT
    soon = send(state, "soon", "echo soon", start=now + dt.timedelta(seconds=2))
    assert ended(soon) is JobState.ENDED
    tree = read_json(local.queue_folder() / f"{soon}.json") or {}
    assert tree["started"] >= (now + dt.timedelta(seconds=2)).timestamp()
    assert not (state / "out.txt").read_text().count("late")


@pytest.mark.usefixtures("state")
def test_machines_of_one_name_that_share_a_home_have_queues_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs of the other one, whose processes nobody sees here, were said to have failed."""
    monkeypatch.setattr(file_owner, "machine", lambda: "")
    shared, plain = local.queue_folder(), Local(Settings()).origin
    for machine in ("aaaa", "bbbb"):
        monkeypatch.setattr(file_owner, "machine", lambda machine=machine: machine)
        assert local.queue_folder() == shared.with_name(f"{shared.name}-{machine}")
    there = plain._replace(servers=(f"{os.uname().nodename}/aaaa",))
    assert Local(Settings()).origin.may_ask(plain.to_entry()) and not Local(Settings()).origin.may_ask(there.to_entry())
    number = local_queue_jobs.add(shared, {"script": "/x", "tag": "t", "seconds": 60})
    assert local.queue_folder() == shared, "of an older version, until it is empty"
    local_queue_jobs.change(local_queue_jobs.jobs(shared)[number], JobState.WAITING, state=JobState.CANCELLED.value)
    assert local.queue_folder() != shared
    assert Local(Settings()).jobs([str(number)])[str(number)].state is JobState.CANCELLED, "what became of it is told"


@pytest.mark.usefixtures("state")
def test_a_job_in_the_queue_of_an_older_version_is_ended_by_a_runner_of_that_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once it is noted as cancelled, that queue is empty: the runner was started in the new one, and the job ran on."""
    monkeypatch.setattr(file_owner, "machine", lambda: "")
    shared = local.queue_folder()
    monkeypatch.setattr(file_owner, "machine", lambda: "aaaa")
    number = local_queue_jobs.add(shared, {"script": "/x", "tag": "t", "seconds": 60})
    local_queue_jobs.begin(local_queue_jobs.jobs(shared)[number])
    started: list[Path] = []
    monkeypatch.setattr(local, "_start_runner", started.append)
    Local(Settings()).cancel(str(number))
    assert local_queue_jobs.jobs(shared)[number].state is JobState.CANCELLED
    assert started == [shared]


def test_the_end_of_its_time_is_a_polite_signal_first(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time is over once the job hears the signal, however long it took to begin."""
    job = waiting_job(state, "trap 'echo asked; exit 0' TERM; echo hears; while true; do sleep 0.05; done")
    real = local_queue_jobs.clock
    monkeypatch.setattr(local_queue_jobs, "clock", lambda: real() + (3600 if said(state) else 0))
    runner()
    assert local_queue_jobs.jobs(local.queue_folder())[job.number].state is JobState.TIMEOUT
    assert said(state) == "hears\nasked\n"


def test_cancelled_while_it_waits_and_while_it_runs(state: Path) -> None:
    running = send(state, "running", "echo runs; sleep 60")
    waiting = send(state, "waiting", "echo never")
    until(lambda: said(state))
    scheduler = Local(Settings())
    scheduler.cancel(waiting)
    scheduler.cancel(running)
    assert (ended(running), ended(waiting)) == (JobState.CANCELLED, JobState.CANCELLED)
    assert (state / "out.txt").read_text() == "runs\n"


def test_a_machine_that_went_down_leaves_a_failed_job_and_the_next_submission_goes_on(state: Path) -> None:
    folder = local.queue_folder()
    folder.mkdir(parents=True)
    lost = {
        "script": "x",
        "tag": "lost",
        "seconds": 60,
        "state": "running",
        "started": time.time(),
        "pid": 1,
        "born": "0",
    }
    write_json(folder / "1.json", lost)
    assert Local(Settings()).jobs(["1"])["1"].state is JobState.FAILED
    assert ended(send(state, "next", "echo next")) is JobState.ENDED


def test_a_job_that_ends_while_it_is_read_has_not_failed(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file was read while it ran; then its runner notes its end, and ends as well."""
    noted = local_queue_jobs.begin(waiting_job(state, "echo once"))
    assert noted is not None

    def ends(folder: Path) -> bool:
        assert folder == local.queue_folder()
        local_queue_jobs.change(noted, JobState.RUNNING, state=JobState.ENDED.value, ended=time.time(), exit_code=0)
        return False

    monkeypatch.setattr(local, "_runner_lives", ends)
    job = Local(Settings()).jobs([str(noted.number)])[str(noted.number)]
    assert (job.state, job.exit_code) == (JobState.ENDED, 0)


def test_a_runner_that_is_killed_is_followed_by_another(state: Path) -> None:
    first = send(state, "first", "sleep 60")
    note = local.queue_folder() / f"{first}.json"
    until(lambda: (read_json(note) or {}).get("pid"))
    pid = (read_json(note) or {})["pid"]
    runner = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(runner, signal.SIGKILL)
    os.killpg(pid, signal.SIGKILL)
    until(lambda: born(runner) is None)  # it holds the queue for as long as it has not died
    assert ended(send(state, "second", "echo second")) is JobState.ENDED
    assert Local(Settings()).jobs([first])[first].state is JobState.FAILED


FOREIGN = {
    "notes.json": "{}", "1.json": "{", "2.json": '{"state": "weird"}', "3.json": '{"state": "running", "seconds": 5}', "4.json": "[1]",
    "5.json": '{"script": 1, "tag": [], "seconds": "x", "state": "waiting"}', "-6.json": "{}", "\u0667.json": "{}", "8.json": "9" * 5000,
    "9.json": '{"script": "x", "tag": "t", "seconds": 1e999, "state": "waiting"}', "x.txt": "", "9999999999999999999.json": "{}",
}  # fmt: skip


def test_foreign_files_in_the_queue_are_no_jobs_and_stop_none(state: Path) -> None:
    folder = local.queue_folder()
    folder.mkdir(parents=True)
    for name, text in FOREIGN.items():
        (folder / name).write_text(text)
    os.mkfifo(folder / "10.json")
    (folder / "11.json").mkdir()
    assert Local(Settings()).queue() == []
    id = send(state, "mine", "echo mine")
    assert id == "12", "a number that a foreign file has is not taken from it"
    assert ended(id) is JobState.ENDED
    assert Local(Settings()).jobs(["2", id])["2"].state is JobState.UNKNOWN
    assert set(FOREIGN) <= set(os.listdir(folder)), "they are left where they are"


def test_a_foreign_file_with_the_last_number_takes_no_job(state: Path) -> None:
    folder = local.queue_folder()
    folder.mkdir(parents=True)
    (folder / "999999999.json").write_text("{}")
    (folder / "2.json").mkdir()
    ids = [send(state, tag, f"echo {tag}") for tag in ("one", "two")]
    assert ids == ["1", "3"]
    assert [ended(id) for id in ids] == [JobState.ENDED] * 2
    write_json(folder / "999999999.json", {"state": "ended", "script": "x", "tag": "last", "seconds": 1})
    with pytest.raises(UserError, match="the last number that there is, 999999999"):
        send(state, "three", "echo three")


STARTED = {"state": "running", "started": 5.0}


@pytest.mark.parametrize(
    "values",
    [
        {"script": "a\0b"},
        {"script": "/x/\ud800.sh"},
        {**STARTED, "attempt": "../../x"},
        {**STARTED, "attempt": "a\0b"},
        {**STARTED, "attempt": "a" * 300},
        {**STARTED, "attempt": "\ud800"},
        {**STARTED, "attempt": "", "pid": 1, "born": "0"},
        {**STARTED, "state": "cancelled", "attempt": "a/b"},
    ],
)
def test_a_file_whose_words_no_system_takes_stops_no_other_job(state: Path, values: dict[str, Any]) -> None:
    folder = local.queue_folder()
    folder.mkdir(parents=True)
    write_json(folder / "1.json", {"state": "waiting", "script": "/x", "tag": "t", "seconds": 5, **values})
    id = send(state, "mine", "echo mine")
    assert id == "2" and ended(id) is JobState.ENDED
    until(lambda: not Local(Settings()).queue())  # one that was running counts until its runner has gone
    Local(Settings()).cancel("1")


@pytest.mark.parametrize("noted", ["running", "cancelled"])
def test_a_job_of_before_the_machines_restart_has_no_process_though_its_number_and_birth_come_again(
    state: Path, noted: str
) -> None:
    job = local_queue_jobs.begin(waiting_job(state, "echo never"))
    assert job is not None
    other = subprocess.Popen(["sleep", "60"], start_new_session=True)
    who = {"pid": other.pid, "born": born(other.pid)}
    local_queue_jobs.change(job, JobState.RUNNING, **who, boot="another", state=noted)
    kept = local_queue_jobs.jobs(local.queue_folder())[job.number]
    assert not kept.alive and not Local(Settings()).queue()
    runner()
    assert other.poll() is None, "a process that has nothing to do with the queue gets no signal"
    assert local_queue_jobs.jobs(local.queue_folder())[job.number].state is not JobState.RUNNING
    other.kill()
    other.wait()


@pytest.mark.parametrize("place", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to(path.name)])
def test_a_foreign_note_of_a_start_stops_no_other_job(state: Path, place: Callable[[Path], object]) -> None:
    """A foreign file where the process of an attempt notes that it begins keeps anybody from beginning that attempt."""
    job = local_queue_jobs.begin(waiting_job(state, "echo once"))
    assert job is not None
    place(job.claim)
    waiting_job(state, "echo once")
    runner()
    assert [j.state for j in local_queue_jobs.jobs(local.queue_folder()).values()] == [JobState.ENDED] * 2
    assert (state / "out.txt").read_text().split() == ["once", "once"]


@pytest.fixture
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganhpc.core.storage_errors.PAUSES", (0.01, 0.01))


@pytest.mark.slow  # 4 s in all
@pytest.mark.usefixtures("quick_pauses")
@pytest.mark.parametrize("at", range(1, 8))
def test_a_full_disk_loses_no_job_of_the_queue(state: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Three notes in a row fail, from the k-th on: both jobs run, once each, and are noted as ended."""
    for _ in range(2):
        waiting_job(state, "echo once; sleep 0.2")
    count = iter(range(1, 1000))

    def write(path: Path, tree: object) -> None:
        if at <= next(count) < at + 3:
            raise fault(OSError(errno.EDQUOT, "Disk quota exceeded"), path)
        write_json(path, tree)

    monkeypatch.setattr(local_queue_jobs, "write_json", write)
    runner()
    assert (state / "out.txt").read_text().split() == ["once", "once"]
    assert [j.state for j in local_queue_jobs.jobs(local.queue_folder()).values()] == [JobState.ENDED] * 2


@pytest.mark.usefixtures("quick_pauses")
def test_a_job_that_cannot_note_its_start_for_a_moment_begins_later(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting_job(state, "echo once")
    full = f'[ -e {state}/room ] || {{ touch {state}/room; : > "$0"; exit 97; }}; '
    monkeypatch.setattr(local_queue_jobs, "WRAPPER", full + local_queue_jobs.WRAPPER)
    real, failed = subprocess.Popen, []

    def start(*words: Any, **how: Any) -> Any:
        if not failed:
            failed.append(1)
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        return real(*words, **how)

    monkeypatch.setattr(local_queue_worker.subprocess, "Popen", start)
    runner()
    assert (state / "out.txt").read_text().split() == ["once"]
    assert [j.state for j in local_queue_jobs.jobs(local.queue_folder()).values()] == [JobState.ENDED]


@pytest.mark.usefixtures("quick_pauses")
def test_a_fault_that_does_not_pass_ends_the_runner(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting_job(state, "echo never")

    def fails(number: int) -> None:
        def write(path: Path, tree: object) -> None:
            del tree
            raise fault(OSError(number, os.strerror(number)), path)

        monkeypatch.setattr(local_queue_jobs, "write_json", write)
        with pytest.raises(StorageFault):
            runner()

    fails(errno.EACCES)
    monkeypatch.setattr(local_queue_worker, "PATIENCE_SECONDS", 0.05)
    fails(errno.ENOSPC)


def test_a_script_may_end_with_the_code_of_a_start_that_failed(state: Path) -> None:
    assert ended(send(state, "odd", "exit 97")) is JobState.FAILED


def test_two_at_once_take_two_numbers(state: Path) -> None:
    code = "import sys; from ganhpc.launch.schedulers import local_queue_jobs as queue_jobs; from pathlib import Path; [queue_jobs.add(Path(sys.argv[1]), {}) for _ in range(20)]"
    folder = state / "q"
    both = [subprocess.Popen([sys.executable, "-c", code, str(folder)]) for _ in range(2)]
    assert [child.wait(60) for child in both] == [0, 0]
    assert len(local_queue_jobs.files(folder)) == 40


def waiting_job(state: Path, lines: str, **values: object) -> local_queue_jobs.QueuedJob:
    """A job in a queue that nobody runs yet."""
    script = state / "job.sh"
    script.write_text(f"exec >>{state}/out.txt\n{lines}\n")
    number = local_queue_jobs.add(local.queue_folder(), {"script": str(script), "tag": "t", "seconds": 60, **values})
    return local_queue_jobs.jobs(local.queue_folder())[number]


def runner() -> None:
    """Run the queue to its end."""
    assert local_queue_worker.main(local.queue_folder()) == 0


def test_a_reader_that_pauses_while_it_asks_leaves_no_job_without_a_runner(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting_job(state, "echo done")
    lock = local.queue_folder() / local.RUNNER_LOCK
    lock.touch()
    asking = os.open(lock, os.O_RDONLY)
    fcntl.flock(asking, fcntl.LOCK_SH)
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 40:
            os.close(asking)

    monkeypatch.setattr(locks, "time", SimpleNamespace(sleep=pause))
    runner()
    assert said(state) == "done\n" and len(pauses) == 40


def test_a_runner_killed_between_the_note_and_the_start_loses_no_job(state: Path) -> None:
    job = waiting_job(state, "echo once")
    assert local_queue_jobs.begin(job) is not None  # and here it is killed
    waiting_job(state, "echo next")
    runner()
    assert (state / "out.txt").read_text().split() == ["next", "next"], "both share the script that was written last"
    assert [j.state for j in local_queue_jobs.jobs(local.queue_folder()).values()] == [JobState.ENDED] * 2


@pytest.mark.slow  # 2 s in all
def test_a_runner_killed_between_the_start_and_its_note_starts_no_job_twice(state: Path) -> None:
    job = waiting_job(state, "echo begins; sleep 2; echo ends")
    noted = local_queue_jobs.begin(job)
    assert noted is not None
    child = subprocess.Popen(
        ["bash", "-c", local_queue_jobs.WRAPPER, str(noted.claim), noted.script], start_new_session=True
    )
    until(lambda: said(state))
    waiting_job(state, "echo next").path  # noqa: B018 (so that a runner has something to do)
    (state / "job.sh").write_text(f"exec >>{state}/out.txt\necho next\n")
    reaper = threading.Thread(target=child.wait)  # as init does for a process whose parent is gone
    reaper.start()
    runner()
    reaper.join()
    assert (state / "out.txt").read_text().split() == ["begins", "ends", "next"], "waited for, and not begun again"


@pytest.mark.parametrize("noted", [False, True])
def test_a_cancelled_job_ends_whose_runner_was_killed(state: Path, noted: bool) -> None:
    """Whether its process was noted or not, and though nothing else waits."""
    job = local_queue_jobs.begin(waiting_job(state, "echo begins; sleep 60"))
    assert job is not None
    words = ["bash", "-c", local_queue_jobs.WRAPPER, str(job.claim), job.script]
    child = subprocess.Popen(words, start_new_session=True)
    if noted:
        local_queue_jobs.change(job, JobState.RUNNING, pid=child.pid, born=born(child.pid))
    until(lambda: said(state))
    Local(Settings()).cancel(str(job.number))
    assert child.wait(timeout=60) == -signal.SIGTERM
    assert Local(Settings()).jobs(["1"])["1"].state is JobState.CANCELLED


def test_a_job_that_was_left_behind_is_noted_as_ended_though_nothing_waits(state: Path) -> None:
    job = local_queue_jobs.begin(waiting_job(state, "echo once"))
    assert job is not None
    subprocess.run(["bash", "-c", local_queue_jobs.WRAPPER, str(job.claim), job.script], check=True)
    runner()
    assert [j.state for j in local_queue_jobs.jobs(local.queue_folder()).values()] == [JobState.FAILED]
    assert (state / "out.txt").read_text().split() == ["once"]


def test_a_start_that_comes_too_late_does_nothing(state: Path) -> None:
    noted = local_queue_jobs.begin(waiting_job(state, "echo late"))
    assert noted is not None
    assert local_queue_jobs.began(noted) is None, "the next runner has made sure that it has not begun"
    late = subprocess.run(
        ["bash", "-c", local_queue_jobs.WRAPPER, str(noted.claim), noted.script], capture_output=True, check=False
    )
    assert late.returncode == 97
    assert not (state / "out.txt").exists()


def test_a_clock_that_is_set_back_lengthens_no_job(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_queue_jobs, "clock", lambda: 1000.0)
    noted = local_queue_jobs.begin(waiting_job(state, "sleep 1"))
    assert noted is not None and noted.seconds_left == 60
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 3600)
    assert noted.seconds_left == 60
    listed = Local(Settings()).jobs([str(noted.number)])[str(noted.number)]
    assert listed.end is None or listed.end - time.time() <= 60
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    assert noted.seconds_left == 60, "nor does one set forward shorten it"


def test_an_edge_of_the_day_is_kept_by_the_clock_on_the_wall(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_queue_jobs, "clock", lambda: 1000.0)
    present = time.time()
    monkeypatch.setattr(time, "time", lambda: present)
    noted = local_queue_jobs.begin(waiting_job(state, "sleep 1", until=present + 30))
    assert noted is not None and noted.seconds_left == 30
    monkeypatch.setattr(time, "time", lambda: present + 60)
    assert noted.seconds_left == -30


def test_no_cancel_is_lost(state: Path) -> None:
    job = waiting_job(state, "echo never")
    Local(Settings()).cancel(str(job.number))
    assert local_queue_jobs.begin(job) is None, "the runner read the job before it was cancelled"
    noted = local_queue_jobs.begin(other := waiting_job(state, "echo runs"))
    assert noted is not None
    Local(Settings()).cancel(str(other.number))
    assert local_queue_jobs.change(noted, JobState.RUNNING, pid=123) is None
    assert local_queue_jobs.jobs(local.queue_folder())[other.number].state is JobState.CANCELLED


def test_an_unknown_job() -> None:
    assert Local(Settings()).jobs(["99"])["99"].state is JobState.UNKNOWN
