"""The script of a night that is run by hand, at whatever hour: a plan of the past submits nothing."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import pytest

from ganhpc.core.errors import UserError
from ganhpc.core.files import write_json
from ganhpc.core.settings import state_folder
from ganhpc.launch.schedulers.base import Job, JobState
from ganhpc.launch.schedulers.slurm import Slurm
from ganhpc.launch.submission import granted, night_script, place_left, planned_job
from ganhpc.runs import submission_record
from ganhpc.runs.job_origin import Origin
from ganhpc.runs.run_folder import Run
from jobs.cifar import Cifar
from tests.golden.scripts_of import CLASSES, PARIS, SITES, night


def made(folder: Path) -> Run:
    return Run.open(folder / "runs", Cifar.from_preset("course").replace(data="synthetic"))


MORNING = dt.datetime(2026, 11, 24, 8, 59, tzinfo=PARIS)
ANSWERS = {"oarsub": "echo OAR_JOB_ID=7", "sbatch": "echo Submitted batch job 7", "oarstat": "true", "squeue": "true", "sacct": "true"}  # fmt: skip


def by_hand(place: Path, scheduler: str, moment: dt.datetime, **second: object) -> tuple[int, int, str]:
    """(exit code, jobs submitted, what was said) of the script of two jobs when it is run at `moment`; `second` changes the second job."""
    usual = night(CLASSES[scheduler](SITES[scheduler]))
    made = usual.scheduler
    requests = [usual.jobs[0].request, dataclasses.replace(usual.jobs[1].request, **second)]  # type: ignore[arg-type]
    jobs = tuple(made.prepare(request) for request in requests)
    script = place / "night.sh"
    with mock.patch.object(night_script.sys, "executable", "true"):  # what the site made of the jobs is not asked
        script.write_text(night_script.text(dataclasses.replace(usual, jobs=jobs), moment.date()))
    commands = place / "bin"
    commands.mkdir()
    (place / "called").touch()
    for name, line in {**ANSWERS, "date": f"echo {int(moment.timestamp())}"}.items():
        (commands / name).write_text(f"#!/bin/bash\necho {name} >> {place}/called\n{line}\n")
        (commands / name).chmod(0o755)
    done = subprocess.run(
        ["bash", str(script)],
        env={**os.environ, "PATH": f"{commands}:{os.environ['PATH']}", "XDG_STATE_HOME": str(place / "state")},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    called = (place / "called").read_text().split()
    return done.returncode, called.count("oarsub") + called.count("sbatch"), done.stderr


@pytest.mark.parametrize("scheduler", ["oar", "slurm"])
@pytest.mark.parametrize(("late", "sent"), [(-1, 2), (0, 2), (1, 1), (3600, 1)])
def test_a_job_that_would_not_end_by_its_deadline_is_not_submitted(
    tmp_path: Path, scheduler: str, late: int, sent: int
) -> None:
    """An hour that must be over by 8:59 is submitted until 7:59, and never behind it."""
    moment = MORNING - dt.timedelta(hours=1) + dt.timedelta(seconds=late)
    code, submitted, said = by_hand(tmp_path, scheduler, moment, deadline=MORNING)
    assert (code == 0, submitted) == (sent == 2, sent)
    assert ("plan is of the past" in said and "python launch.py night" in said) == (sent == 1)


@pytest.mark.parametrize(("late", "sent"), [(0, 2), (1, 1)])
def test_a_reservation_of_the_past_is_not_submitted(tmp_path: Path, late: int, sent: int) -> None:
    start = dt.datetime(2026, 11, 23, 20, 1, tzinfo=PARIS)
    moment = start + dt.timedelta(seconds=late)
    assert by_hand(tmp_path, "oar", moment, kind="reservation", start=start)[:2] == (int(sent == 1), sent)


def test_a_job_that_nothing_bounds_may_be_submitted_at_any_time(tmp_path: Path) -> None:
    assert by_hand(tmp_path, "slurm", dt.datetime(2027, 3, 1, tzinfo=PARIS))[:2] == (0, 2)


@pytest.mark.parametrize(("zone", "line"), [("Asia/Tokyo", "export TZ=Asia/Tokyo"), (None, "unset TZ")])
def test_times_are_those_of_the_clock_of_the_plan(monkeypatch: pytest.MonkeyPatch, zone: str | None, line: str) -> None:
    if zone:
        monkeypatch.setenv("TZ", zone)
    else:
        monkeypatch.delenv("TZ", raising=False)
    text = night_script.text(night(CLASSES["slurm"](SITES["slurm"])), MORNING.date())
    assert line in text.splitlines()


@pytest.mark.parametrize("named", ["state", "~/state", "/", None])
def test_the_script_and_the_launcher_meet_in_one_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str | None
) -> None:
    """A path that is not whole counts for nothing, and ~ is the home in quotes too: the script took another lock than the launcher."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    if named:
        monkeypatch.setenv("XDG_STATE_HOME", f"{tmp_path}/x" if named == "/" else named)
    (tmp_path / "elsewhere").mkdir()
    text = night_script.text(night(CLASSES["slurm"](SITES["slurm"])), MORNING.date())
    head = text.partition("# Variables of a job")[0]
    subprocess.run(["bash", "-c", head], cwd=tmp_path / "elsewhere", check=True, timeout=60)
    locks = [path.parent for path in tmp_path.rglob("submit-slurm.lock")]
    assert locks == [state_folder()]
    assert (f"export XDG_STATE_HOME={tmp_path}" in head) == (named in ("state", "~/state"))


@pytest.mark.parametrize("scheduler", ["oar", "slurm"])
def test_each_job_is_read_back_with_the_jobs_before_it(scheduler: str) -> None:
    usual = night(CLASSES[scheduler](SITES[scheduler]))
    text = night_script.text(usual, MORNING.date())
    first, second = (line for line in text.splitlines() if "=$(submit" in line)
    assert ' 0 "" ' in first and ' 0 "$job1" ' in second
    assert '"$run" "$tag" "$id" "by=$latest" $behind' in text


class _Taken(Slurm):
    """Has taken every job as asked, and ends none of them by itself."""

    origin = Origin("slurm", "here", os.getuid(), "me")

    def granted(self, job: str, tag: str) -> list[Job]:
        return [Job(job, JobState.WAITING, tag=tag, walltime=3600)]

    def cancel(self, job: str) -> None:
        CANCELLED.append(job)


CANCELLED: list[str] = []


@pytest.mark.parametrize(
    ("kind", "late", "taken"),
    [
        ("begin", 1, False),
        ("chain", 3600, False),
        ("begin", -60, True),
        ("reservation", 3600, True),
        ("chain", None, True),
        ("chain", 0, True),
    ],
)
def test_a_job_that_the_scheduler_took_too_late_is_taken_back(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    late: int | None,
    taken: bool,
) -> None:
    """`late`: seconds behind the last one at which it may be taken; None: a script of before such words; 0: nothing bounds it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    CANCELLED.clear()
    run = made(tmp_path)
    entry = {
        "tag": "beefcafe-1-00ff",
        "kind": kind,
        "start": MORNING.isoformat(),
        "end": MORNING.isoformat(),
        "seconds": 3600,
    }
    submission_record.note_intent(run, [entry], {"scheduler": "slurm", "policy": "none"}, about_to=False)  # type: ignore[list-item, typeddict-item]
    monkeypatch.setattr(planned_job.registry, "named", lambda _, site: _Taken(site))
    by = [] if late is None else ["by=0"] if late == 0 else [f"by={int(time.time()) - late}"]
    words = [str(run.folder), "beefcafe-1-00ff", "7", *by, "6"]
    monkeypatch.setattr(granted, "_let_go", lambda *_: "")
    if taken:
        granted.main(words)
        assert submission_record.read(run)["jobs"][0]["job_id"] == "7" and CANCELLED == []
    else:
        with pytest.raises(SystemExit):
            granted.main(words)
        assert (
            CANCELLED == ["7"]
            and "job 7 could not end in time any more, and it is taken back" in capsys.readouterr().err
        )


def test_the_start_of_python_makes_no_job_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy frontend it takes seconds, and a job that was taken in time was taken back."""
    begun = float(subprocess.run(
        ["bash", "-c", '(exec "$0" -c "import time; time.sleep(0.3); from ganhpc.runs import file_owner; print(time.time() - file_owner.began())")', sys.executable],
        capture_output=True, text=True, timeout=60, check=True,
    ).stdout)  # fmt: skip
    assert begun >= 0.3
    run, said = made(tmp_path), []
    monkeypatch.setattr(granted, "_by_hand", lambda *words: said.append(words[-1]) or "")
    for taken in (time.time() - 100, time.time()):
        granted.main([str(run.folder), "t", "7", f"by={int(time.time()) - 50}"], taken)
    assert said == [False, True]


@pytest.mark.parametrize(
    "change",
    [
        {"start": None},
        {"end": None},
        {"start": "2026-11-24T08:00:00"},
        {"start": "2026-11-24"},
        {"end": "2026-11-24T09:00"},
    ],
)
def test_a_damaged_record_of_a_night_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, str | None]
) -> None:
    run = made(tmp_path)
    entry = {
        "tag": "beefcafe-1-00ff",
        "kind": "begin",
        "start": MORNING.isoformat(),
        "end": MORNING.isoformat(),
        "seconds": 3600,
    }
    write_json(run.request_json, {"scheduler": "slurm", "policy": "student", "jobs": [{**entry, **change}]})
    for check, words in ((granted.main, ["7"]), (place_left.main, [str(int(MORNING.timestamp()))])):
        with pytest.raises(SystemExit) as ended:
            check([str(run.folder), "beefcafe-1-00ff", *words])
        assert ended.value.code == 2 and "without its start in its record, which is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("scheduler", ["oar", "slurm"])
def test_without_its_lock_a_night_submits_nothing(tmp_path: Path, scheduler: str) -> None:
    (tmp_path / "state").write_text("a file is in the way")
    code, submitted, said = by_hand(tmp_path, scheduler, MORNING - dt.timedelta(hours=3), deadline=MORNING)
    assert (code, submitted) == (1, 0) and "export XDG_STATE_HOME" in said


@pytest.mark.parametrize(
    ("scheduler", "waits"),
    [("oar", '-a "$job1" -a "$job2"'), ("slurm", '--dependency=singleton,afterany:"$job1":"$job2"')],
)
def test_each_job_of_a_night_waits_for_all_before_it(scheduler: str, waits: str) -> None:
    """One of them alone, deleted by hand, would free it beside one that runs."""
    usual = night(CLASSES[scheduler](SITES[scheduler]))
    plan = dataclasses.replace(usual.plan, slots=(*usual.plan.slots, usual.plan.slots[1]))
    three = dataclasses.replace(usual, plan=plan, jobs=(*usual.jobs, usual.jobs[1]))
    (last,) = [line for line in night_script.text(three, MORNING.date()).splitlines() if line.startswith("job3=")]
    assert waits in last and '"$job1 $job2"' in last


def test_a_folder_that_takes_no_script_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script lies where the command is typed: another --runs, which was advised, helps nothing."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(UserError, match=r"permission is denied: `cd` into a folder of yours, then") as refused:
        night_script.write(night(Slurm(SITES["slurm"])), [], tmp_path, "student")
    assert str(tmp_path) in str(refused.value) and not list(tmp_path.iterdir())
