"""Requests to the fake OAR."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from ganhpc.launch.schedulers.base import JobRequest
from ganhpc.launch.schedulers.oar import Oar
from ganhpc.launch.submission.submit import write_script
from tests.clusters.fake_oar import FakeOar

NOW = dt.datetime(2037, 11, 23, 17, 30).astimezone()
"""A Monday evening that lies ahead of the machine's clock, by which jobs that the fake runs judge their deadlines."""


def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **settings: object) -> FakeOar:
    made = FakeOar(tmp_path / "oar", now=NOW.replace(tzinfo=None), **settings)
    for key, value in made.env.items():
        monkeypatch.setenv(key, value)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PWD", str(tmp_path))
    monkeypatch.setenv("LOGNAME", "student")
    return made


def request(tmp_path: Path, kind: str = "now", **values: object) -> JobRequest:
    run = tmp_path / "runs" / "cifar" / "a run"
    base = {"tag": "cafe-1-00", "run": run, "segment": 1, "seconds": 600, "kind": kind, "start": NOW, "launch": "cafe"}
    return JobRequest(**{**base, **values})  # type: ignore[arg-type]


def send(scheduler: Oar, asked: JobRequest) -> str:
    prepared = scheduler.prepare(asked)
    write_script(prepared)
    return scheduler.submit(prepared)
