"""A process that fails alone on another machine than rank 0: its sentence is the run's, and nobody's broken connection."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from torch.distributed import TCPStore

from ganhpc.runs.last_words import LastWords
from ganhpc.runs.run_folder import State
from ganhpc.train.runtime import failure_notice
from tests.helpers import ROOT, made

RANK = """
import sys
from ganhpc.core.errors import UserError
from ganhpc.train import __main__ as train
from ganhpc.train.loop import build

def prepare(run, experiment, group, begun):
    group.barrier()
    if group.rank == 1:
        raise {error}
    group.barrier()

build.prepare = prepare
sys.exit(train.main(sys.argv[1:]))
"""


def machines(store: TCPStore, rank: int) -> dict[str, str]:
    """torchrun's variables of one process on each of two machines, which have met at `store`."""
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "TORCHELASTIC_USE_AGENT_STORE": "True"}
    return {**where, "RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}


@pytest.fixture
def store() -> TCPStore:
    return TCPStore("127.0.0.1", 0, is_master=True, timeout=timedelta(seconds=30), wait_for_workers=False)


@pytest.mark.slow  # 10 s of processor time: torch twice
@pytest.mark.parametrize(
    ("error", "state", "sentence", "code"),
    [
        (
            "UserError('the second machine has no such folder.')",
            State.REFUSED,
            "the second machine has no such folder.",
            2,
        ),
        ("ZeroDivisionError('of the second')", State.CRASHED, "ZeroDivisionError: of the second", 1),
    ],
)
def test_the_one_that_fails_alone_is_the_cause(
    store: TCPStore, tmp_path: Path, error: str, state: State, sentence: str, code: int
) -> None:
    run = made(tmp_path, device="cpu")
    words = [sys.executable, "-c", RANK.format(error=error), str(run.folder)]
    environ = {key: value for key, value in os.environ.items() if key != "GANHPC_LAST_WORDS"}
    both = [
        subprocess.Popen(
            words,
            cwd=ROOT,
            env={**environ, **machines(store, rank)},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for rank in (0, 1)
    ]
    said = [child.communicate(timeout=120)[1] for child in both]
    status = json.loads(run.status_json.read_text())
    assert (status["state"], status["reason"]) == (state, sentence), said
    assert [child.returncode for child in both] == [code, code]
    assert "Traceback" not in said[0], "of the broken connection"
    assert f"Error: {sentence}" in said[0]


def test_the_first_to_tell_is_the_cause(store: TCPStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in machines(store, 0).items():
        monkeypatch.setenv(name, value)
    assert failure_notice.found() is None
    first = LastWords(1, State.REFUSED, "the set is small: été", 2)
    failure_notice.give(first)
    failure_notice.give(LastWords(0, State.CRASHED, "Connection closed by peer", 1))
    assert failure_notice.found() == first


def test_on_one_machine_nobody_is_asked(store: TCPStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (machines(store, 0) | {"LOCAL_WORLD_SIZE": "2"}).items():
        monkeypatch.setenv(name, value)
    failure_notice.give(LastWords(1, State.REFUSED, "x", 2))
    assert failure_notice.found() is None and not store.check(["ganhpc/failure"])


def test_a_store_that_is_gone_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failure_notice, "_ANSWER", timedelta(seconds=0.2))
    gone = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    for name, value in machines(gone, 0).items():
        monkeypatch.setenv(name, value)
    del gone
    failure_notice.give(LastWords(1, State.REFUSED, "x", 2))
    assert failure_notice.found() is None
