"""The fake OAR, and a queue of this machine of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clusters.fake_oar import FakeOar
from tests.launch.schedulers.oar_requests import install


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeOar:
    """The fake OAR, first on the path; its clock stands at NOW."""
    return install(tmp_path, monkeypatch)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The test's folder, in which the queue of this machine lies."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path
