"""The log of a job is opened by its script, whatever lies in its place by then; no scheduler opens a file of the run."""

from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ganhpc.core.settings import Settings
from ganhpc.launch.schedulers import base, job_script
from tests.golden.scripts_of import CLASSES, TWO


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        here = Path.cwd()
        os.chdir(path.parent)  # a socket's name is short
        made.bind(path.name)
        os.chdir(here)


IN_ITS_PLACE: dict[str, Callable[[Path], object]] = {
    "fifo": os.mkfifo,
    "socket": _socket,
    "folder": Path.mkdir,
    "device": lambda path: path.symlink_to("/dev/full"),
    "loop": lambda path: path.symlink_to(path.name),
    "link to a fifo": lambda path: (os.mkfifo(path.with_name("far")), path.symlink_to("far")),
    "link to a file": lambda path: (path.with_name("far").write_text("kept"), path.symlink_to("far")),
    "link to no file": lambda path: path.symlink_to("far"),
}


def _prepared(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> base.PreparedJob:
    """A job whose command writes a line; srun is a stub that runs it."""
    programs, python = tmp_path / "bin", tmp_path / "python"
    (tmp_path / "checkout").mkdir()
    programs.mkdir()
    (programs / "srun").write_text('#!/bin/bash\nwhile [ "${1#--}" != "$1" ]; do shift; done; exec "$@"\n')
    python.write_text("#!/bin/bash\necho trained; echo warned >&2\n")
    for path in (python, programs / "srun"):
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setattr(job_script, "ROOT", tmp_path / "checkout")
    run = tmp_path / "a run $x '1"
    run.mkdir()
    (tmp_path / "job.sh").touch()
    made = CLASSES[name](Settings(python=str(python))).prepare(dataclasses.replace(TWO, run=run, folder=tmp_path))
    (tmp_path / "job.sh").write_text(made.script)
    return made


def _ran(tmp_path: Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["bash", str(tmp_path / "job.sh")], capture_output=True, timeout=20, cwd="/", check=False)


@pytest.mark.parametrize("kind", IN_ITS_PLACE)
@pytest.mark.parametrize("name", CLASSES)
def test_what_has_taken_the_place_of_the_log_makes_way(
    name: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = _prepared(name, tmp_path, monkeypatch).request.log
    IN_ITS_PLACE[kind](log)
    done = _ran(tmp_path)
    assert done.returncode == 0
    assert log.read_text() == "trained\nwarned\n" and not log.is_symlink()
    (moved,) = log.parent.glob("log.txt.moved-*")
    assert moved.is_symlink() or not moved.is_file()
    far = log.with_name("far")
    assert not far.is_file() or far.read_text() == "kept"


@pytest.mark.parametrize("name", CLASSES)
def test_a_log_is_added_to_and_one_that_can_not_be_opened_costs_no_training(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = _prepared(name, tmp_path, monkeypatch).request.log
    log.write_text("before\n")
    assert _ran(tmp_path).returncode == 0
    assert log.read_text() == "before\ntrained\nwarned\n"
    log.unlink()
    log.symlink_to("/nowhere/at/all")  # it can't be made; a link that leads nowhere makes way
    assert _ran(tmp_path).returncode == 0
    assert log.read_text() == "trained\nwarned\n"
    log.unlink()
    os.mkfifo(log)
    (tmp_path / "bin" / "mv").write_text("#!/bin/bash\nexit 1\n")  # as in a folder that can't be written
    (tmp_path / "bin" / "mv").chmod(0o755)
    done = _ran(tmp_path)
    assert done.returncode == 0 and done.stdout == b"trained\n"


@pytest.mark.parametrize("name", CLASSES)
def test_no_scheduler_opens_a_file_of_the_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = _prepared(name, tmp_path, monkeypatch)
    words = [word.partition("=")[2] or word for word in made.argv[:-1]]  # the last is the script
    directives = [line.partition("=")[2] for line in made.script.splitlines() if line.startswith("#SBATCH")]
    opened = {word for word in (*words, *directives) if word.startswith(("/", "'/")) and word != "/"}
    assert opened == (set() if name == "local" else {"/dev/null"})
