"""What `status` says of a job's times: by the clock of the plan, whatever this machine's is."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from ganhpc.cli.commands.status import clock, when
from ganhpc.launch.schedulers.base import Job, JobState
from ganhpc.launch.submission.job_status import KnownJob

START = "2026-11-23T19:01:00+01:00"
KNOWN = KnownJob({"start": START}, Job("7", JobState.WAITING))


def test_times_are_on_the_sites_clock_else_the_plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tmp_path / "ganhpc.toml"
    settings.write_text("")
    monkeypatch.setenv("GANHPC_CONFIG", str(settings))
    moment = dt.datetime.fromisoformat(START).timestamp()
    assert when(moment, clock(KNOWN)) == "Mon 23 Nov 19:01:00"
    settings.write_text('time_zone = "Asia/Tokyo"\n')
    assert when(moment, clock(KNOWN)) == "Tue 24 Nov 03:01:00"
    for _ in range(2):  # midnight may come between the two looks at the clock, once
        today = dt.datetime.now(dt.UTC).replace(microsecond=0)
        said = when(today.timestamp(), dt.UTC)
        if dt.datetime.now(dt.UTC).date() == today.date():
            break
    assert said == f"{today:%H:%M:%S}"
