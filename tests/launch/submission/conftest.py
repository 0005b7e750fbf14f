"""A state folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from ganhpc.core.settings import state_folder


@pytest.fixture
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state folder of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    state_folder().mkdir(parents=True)
