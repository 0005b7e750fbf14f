"""A folder of its own for what is kept of pictures."""

from __future__ import annotations

import pytest


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setenv("GANHPC_DATA", str(tmp_path / "kept"))
