"""OAR as a job asks it: its end, the cluster's name, its hosts, and whether a job lives."""

from __future__ import annotations

import datetime as dt
import json
import os
from pathlib import Path

import pytest

from ganhpc.core.settings import Settings
from ganhpc.core.subprocesses import Answer
from ganhpc.launch.schedulers import oar
from ganhpc.launch.schedulers.oar import Oar
from ganhpc.runs import job_claim as claim
from tests.launch.schedulers.oar_requests import NOW, install, request, send


def test_the_cluster_is_the_same_whatever_oarconffile_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OAR's own commands, which are set-user-ID, overwrite the variable. A fifo or a device in it is never waited for."""
    own, other = tmp_path / "oar.conf", tmp_path / "other.conf"
    own.write_text('# x\nSERVER_HOSTNAME="frontend-7"\n')
    other.write_text("SERVER_HOSTNAME=elsewhere\n")
    os.mkfifo(tmp_path / "fifo")
    command = tmp_path / "bin" / "oarsub"
    command.parent.mkdir()
    command.write_text("#!/bin/sh\n")
    command.chmod(0o4755)
    monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(oar, "_SETTINGS", own)
    monkeypatch.setattr("socket.getfqdn", lambda: "localhost")
    names = []
    for value in (other, tmp_path / "fifo", "/dev/zero", tmp_path / "none", ""):
        monkeypatch.setenv("OARCONFFILE", str(value))
        names.append(Oar(Settings()).cluster())
    assert names == ["frontend-7"] * 5
    command.chmod(0o755)  # run as the user, it reads what the user's environment says
    for value, name in (
        (other, "elsewhere"),
        (tmp_path / "fifo", os.uname().nodename),
        ("/dev/zero", os.uname().nodename),
    ):
        monkeypatch.setenv("OARCONFFILE", str(value))
        assert Oar(Settings()).cluster() == name


def test_a_late_reservation_ends_when_it_was_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = install(tmp_path, monkeypatch, late=90)
    start = NOW + dt.timedelta(minutes=10)
    id = send(Oar(Settings()), request(tmp_path, "reservation", start=start))
    monkeypatch.setenv("OAR_JOB_ID", id)
    assert oar.job_end() == start.timestamp() + 600
    fake.advance(600 + 91)
    assert fake.job(int(id))["walltime"] == 600 - 90
    assert oar.job_end() == start.timestamp() + 600


@pytest.mark.usefixtures("fake")
def test_the_end_of_a_job_is_not_known_where_nobody_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OAR_JOB_ID", "77")
    assert oar.job_end() is None


@pytest.mark.parametrize(
    ("host", "site"),
    [("chifflot-1.lille.grid5000.fr", "lille.grid5000.fr"), ("node7", ""), ("localhost.localdomain", "")],
)
def test_a_job_of_another_site_with_the_same_number_is_another_job(
    monkeypatch: pytest.MonkeyPatch, host: str, site: str
) -> None:
    """In a folder that two sites see, job 7 of one was taken for job 7 of the other, which had claimed the run."""
    monkeypatch.setattr("socket.getfqdn", lambda: host)
    assert oar.cluster_name() == site
    claims = [
        claim.Job(f"oar job 7 ganhpc:{k}", "oar", name, "7", "n")
        for k, name in enumerate((oar.cluster_name(), "nancy.x"))
    ]
    assert not claims[0].is_same(claims[1])


def test_servers_of_one_domain_are_told_apart_where_their_settings_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.getfqdn", lambda host="f1": f"{host}.lab.fr")
    origins = []
    for name, text in (
        ("a", 'SERVER_HOSTNAME="oar1"\nSERVER_PORT="6667"\n'),
        ("b", "SERVER_HOSTNAME = 'oar2'\n"),
        ("c", ""),
    ):
        (tmp_path / name).write_text(text)
        monkeypatch.setattr(oar, "_settings", lambda name=name: tmp_path / name)
        origins.append(Oar(Settings()).origin)
    first, second, silent = origins
    assert (first.cluster, first.servers, second.servers) == ("lab.fr", ("oar1:6667",), ("oar2:6666",))
    assert not first.may_ask(second.to_entry()) and first.is_of(first.to_entry())
    assert silent.servers == () and first.may_ask(silent.to_entry()), "it can't be told"
    monkeypatch.setattr(oar, "_settings", lambda: tmp_path / "a")
    for answer in ("oar1", "localhost", "ctl.lab.fr"):
        monkeypatch.setattr(
            "socket.getfqdn", lambda host="f1", answer=answer: answer if host == "oar1" else f"{host}.lab.fr"
        )
        there = Oar(Settings()).origin
        assert first.may_ask(there.to_entry()) and there.may_ask(first.to_entry()), f"the name server says {answer}"
    monkeypatch.setattr(oar, "ask", lambda *_: Answer(0, "{}", ""))
    assert oar.lives("7") is None, "a server that does not know the number says nothing of its job"


@pytest.mark.parametrize(
    ("name", "command", "lives"),
    [("ganhpc:cafe-1-00", "/r/jobs/cafe-1-00.sh", True), ("ganhpc:beef-1-00", "/r/jobs/beef-1-00.sh", False), ("", "sleep 9", None)],
)  # fmt: skip
def test_a_number_that_another_job_has_by_now_is_no_living_job_of_ours(
    monkeypatch: pytest.MonkeyPatch, name: str, command: str, lives: bool | None
) -> None:
    """A database that was made anew counts from 1 again, and a job that was killed has left its claim on the run."""
    tree = {"7": {"Job_Id": 7, "state": "Running", "name": name, "command": command, "startTime": 1795259382}}
    monkeypatch.setattr(oar, "ask", lambda *_: Answer(0, json.dumps(tree), ""))
    assert oar.lives("7", "cafe-1-00") is lives and oar.lives("7") is True


def test_hosts_come_from_the_node_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nodes").write_text("oar1\noar1\noar2\noar2\n")
    monkeypatch.setenv("OAR_NODEFILE", str(tmp_path / "nodes"))
    assert oar.hosts() == ["oar1", "oar2"]
    monkeypatch.delenv("OAR_NODEFILE")
    assert oar.hosts() == []
