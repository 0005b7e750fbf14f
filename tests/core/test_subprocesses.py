"""Asking other programs: answers, time-outs, and programs that are not there."""

from __future__ import annotations

import os
import tempfile
import time
from typing import NoReturn

import pytest

from ganhpc.core.subprocesses import Answer, ask


@pytest.fixture(params=["pidfd", "without"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without the kernel's word on the end of a process."""

    def lacking(pid: int) -> int:
        raise OSError(f"no pidfd for {pid}")

    if request.param == "without":
        monkeypatch.setattr(os, "pidfd_open", lacking)


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (["sh", "-c", "echo out; echo err >&2; exit 3"], Answer(3, "out\n", "err\n")),
        (["sh", "-c", "kill -9 $$"], Answer(-9, "", "")),
        (["/no/such/program"], Answer(127, "", "/no/such/program: No such file or directory")),
    ],
)
def test_an_answer_is_one_of_these(command: list[str], answer: Answer) -> None:
    assert ask(command, 60.0) == answer


def test_no_room_for_temporary_files_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a node whose /tmp was full, the next question for the end of the job ended a training in its midst."""

    def full() -> NoReturn:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    assert ask(["echo", "here"], 60.0).out == "here\n"


@pytest.mark.slow  # 2 s in all
@pytest.mark.usefixtures("either")
def test_whoever_hangs_is_not_waited_for() -> None:
    for seconds in (1.0, 10.0, 100.0):  # in which a busy machine comes as far as the first word
        begun = time.monotonic()
        answer = ask(["sh", "-c", "echo begun; sleep 600"], seconds)
        assert time.monotonic() - begun < seconds + 60
        if answer.out:
            break
    assert answer == Answer(None, "begun\n", "")


def test_a_grandchild_that_outlives_its_parent_is_not_waited_for() -> None:
    begun = time.monotonic()
    assert ask(["sh", "-c", "sleep 60 & echo done"], 30) == Answer(0, "done\n", "")
    assert time.monotonic() - begun < 20
