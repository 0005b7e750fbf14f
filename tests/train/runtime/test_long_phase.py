"""Lines on long phases."""

from __future__ import annotations

import threading

import pytest

from ganhpc.train.runtime import long_phase
from ganhpc.train.runtime.long_phase import shown_while_long


def test_a_long_phase_is_shown_and_a_short_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    threads = set(threading.enumerate())
    with shown_while_long("measures", lines.append):
        pass
    assert lines == []
    told = threading.Event()
    monkeypatch.setattr(long_phase, "FIRST_SECONDS", 0.01)

    def say(line: str) -> None:
        lines.append(line)
        told.set()

    with shown_while_long("measures", say):
        assert told.wait(30)
    assert lines[0].startswith("measures: ") and lines[0].endswith(" s so far")
    assert not set(threading.enumerate()) - threads, (
        "it ends with the block"
    )  # a thread of another test may end as well
    before = len(lines)
    assert not told.clear() and not told.wait(0.1) and len(lines) == before


def test_it_ends_where_the_block_fails() -> None:
    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt), shown_while_long("measures", print):
        raise KeyboardInterrupt
    assert not set(threading.enumerate()) - before
