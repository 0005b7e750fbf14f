"""The fake OAR by itself: what only it can show quickly, since its clock is ours."""

from __future__ import annotations

import json
import os
import re
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.clusters.fake_oar import FakeOar

NOW = datetime(2026, 11, 23, 17, 30)
CORE = ("-l", "core=1,walltime=1:00:00")


@pytest.fixture
def fake(tmp_path: Path) -> FakeOar:
    return FakeOar(tmp_path / "oar", now=NOW)


def submit(fake: FakeOar, *words: str) -> int:
    return int(re.findall(r"OAR_JOB_ID=(\d+)", fake.run(["oarsub", *words], cwd=fake.folder).stdout)[-1])


def facts(fake: FakeOar, job: int) -> dict[str, Any]:
    return dict(json.loads(fake.run(["oarstat", "-J", "-f", "-j", str(job)]).stdout)[str(job)])


def kinds(fake: FakeOar, job: int) -> list[str]:
    return [event["type"] for event in facts(fake, job)["events"]]


def test_a_job_runs_when_told_and_keeps_its_files_and_exit_code(fake: FakeOar) -> None:
    job = submit(fake, *CORE, "-n", "one", "echo $OAR_JOB_ID $OAR_JOB_WALLTIME_SECONDS $(cat $OAR_NODEFILE); exit 5")
    assert facts(fake, job)["state"] == "Waiting"
    fake.advance(1)
    assert facts(fake, job)["state"] == "Running"
    assert fake.run_job(job) == 5
    assert facts(fake, job)["exit_code"] == 5 << 8
    assert (fake.folder / f"OAR.one.{job}.stdout").read_text() == f"{job} 3600 oar1\n"


@pytest.mark.slow  # a second of processor time: processes of its own
def test_a_job_that_nobody_ends_is_warned_again_and_again_and_killed_at_its_walltime(fake: FakeOar) -> None:
    job = submit(fake, *CORE, "--checkpoint", "120", "train")
    fake.advance(3600 - 130)
    assert fake.job(job)["signals"] == []
    fake.advance(60)
    assert len(fake.job(job)["signals"]) >= 5
    assert set(fake.job(job)["signals"]) == {12}
    fake.advance(100)
    assert (facts(fake, job)["state"], facts(fake, job)["exit_code"]) == ("Error", None)
    assert {"CHECKPOINT", "CHECKPOINT_SUCCESSFULL", "WALLTIME"} <= set(kinds(fake, job))
    assert facts(fake, job)["stopTime"] - facts(fake, job)["startTime"] <= 3620


@pytest.mark.slow  # a second of processor time: processes of its own
def test_a_late_reservation_keeps_its_end(tmp_path: Path) -> None:
    fake = FakeOar(tmp_path, now=NOW, late=45)
    job = submit(fake, *CORE, "-r", "2026-11-23 19:01:00", "train")
    fake.set_clock(datetime(2026, 11, 23, 19, 1, 30))
    assert facts(fake, job)["state"] == "Waiting"
    fake.set_clock(datetime(2026, 11, 23, 19, 1, 45))
    assert (facts(fake, job)["state"], facts(fake, job)["walltime"]) == ("Running", 3555)
    assert kinds(fake, job) == ["REDUCE_RESERVATION_WALLTIME"]


def test_a_reservation_slept_through_is_in_error(tmp_path: Path) -> None:
    fake = FakeOar(tmp_path, now=NOW, late=7200)
    job = submit(fake, *CORE, "-r", "2026-11-23 19:01:00", "train")
    fake.set_clock(datetime(2026, 11, 23, 22, 0))
    assert facts(fake, job)["state"] == "Error"
    assert facts(fake, job)["message"] == "Reservation expired and couldn't be started."


@pytest.mark.slow  # a second of processor time: processes of its own
def test_jobs_wait_for_resources_and_leave_a_reservation_its_minute(fake: FakeOar) -> None:
    submit(fake, "-l", "nodes=2,walltime=1:00:00", "-r", "2026-11-23 18:31:05", "night")
    fits = submit(fake, "-l", "nodes=2,walltime=1:00:00", "a")
    fake.advance(1)
    late = submit(fake, "-l", "nodes=2,walltime=1:00:00", "b")
    fake.advance(1)
    assert facts(fake, fits)["state"] == "Running"
    fake.finish(fits, took=10)
    fake.advance(10)
    assert facts(fake, late)["state"] == "Waiting", "its end and a minute would reach into the reservation"
    fake.set_clock(datetime(2026, 11, 23, 19, 32))
    fake.advance(60)
    assert facts(fake, late)["state"] == "Running"


@pytest.mark.slow  # 3 s of processor time for its 4 cases
@pytest.mark.parametrize(("code", "took", "types", "again"), [
    (99, 61, ["-t", "idempotent"], True), (99, 60, ["-t", "idempotent"], False), (99, 61, [], False),
    (98, 61, ["-t", "idempotent"], False),
])  # fmt: skip
def test_exit_99_of_an_idempotent_job_submits_it_again(
    fake: FakeOar, code: int, took: int, types: list[str], again: bool
) -> None:
    job = submit(fake, *CORE, *types, "train")
    fake.advance(1)
    fake.finish(job, exit_code=code, took=took)
    assert ("RESUBMIT_JOB_AUTOMATICALLY" in kinds(fake, job)) is again
    assert bool(fake.run(["oarstat", "-J", "-j", str(job + 1)]).stdout) is again
    if again:
        assert facts(fake, job + 1)["resubmit_job_id"] == job


@pytest.mark.slow  # a second of processor time: processes of its own
def test_deadline_and_postpone(fake: FakeOar) -> None:
    short = submit(fake, *CORE, "-t", "deadline=2026-11-23 18:31:00", "train")
    postponed = submit(fake, *CORE, "-t", "postpone=2026-11-23 19:01:00", "train")
    fake.advance(600)
    assert facts(fake, short)["state"] == facts(fake, postponed)["state"] == "Waiting"
    fake.set_clock(datetime(2026, 11, 23, 19, 0, 59))
    assert facts(fake, short)["message"].startswith("Job will never run (deadline=")
    fake.advance(1)
    assert facts(fake, postponed)["startTime"] == datetime(2026, 11, 23, 19, 1).timestamp()


def test_oar_3_has_other_keys_and_neither_postpone_nor_deadline(tmp_path: Path) -> None:
    fake = FakeOar(tmp_path, now=NOW, dialect=3)
    job = submit(fake, *CORE, "train")
    assert {"id", "start_time"} <= set(facts(fake, job))
    assert not {"Job_Id", "startTime"} & set(facts(fake, job))
    done = fake.run(["oarsub", *CORE, "-t", "postpone=2026-11-23 19:01:00", "train"])
    assert (done.returncode, "unknown job type" in done.stderr) == (254, True)


@pytest.mark.slow  # a second of processor time: processes of its own
def test_root_is_refused_and_trouble_is_played(tmp_path: Path) -> None:
    assert FakeOar(tmp_path, user="root").run(["oarsub", *CORE, "train"]).returncode == 254
    fake = FakeOar(tmp_path, now=NOW)
    fake.trouble("oarsub", "noise")
    assert fake.run(["oarsub", *CORE, "train"]).stdout.startswith("*** maintenance")
    fake.trouble("oarstat", "could not connect to server")
    done = fake.run(["oarstat", "-J"])
    assert (done.returncode, "could not connect" in done.stderr) == (1, True)
    fake.trouble("oarstat", "hang")
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(["oarstat"], env=os.environ | fake.env, timeout=1)
    fake.trouble("oarstat", "")
    assert "train" in fake.run(["oarstat", "-J"]).stdout


@pytest.mark.slow  # 2 s in all
@pytest.mark.parametrize("words", [
    ["-I"], ["--array", "2", "x"], ["-t", "container", "x"], ["-l", "{gpu=1}/core=1", "x"], ["-l", "a=1+b=1", "x"],
], ids=" ".join)  # fmt: skip
def test_what_is_not_imitated_is_refused_aloud(fake: FakeOar, words: list[str]) -> None:
    done = fake.run(["oarsub", *words])
    assert (done.returncode, "does not imitate" in done.stderr) == (99, True)
    assert not fake.run(["oarstat", "-J"]).stdout
