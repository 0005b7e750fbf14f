"""Files of the user's own: one that is stopped while it is imported, and the folder of the checkout among theirs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ganhpc.cli import main
from ganhpc.core.settings import ROOT
from ganhpc.runs import known_experiments, own_experiments


@pytest.mark.parametrize("raised", ["KeyboardInterrupt", "main._Terminated"])
def test_a_stop_names_the_file_that_took_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], raised: str
) -> None:
    """One that never ends would be looked for among all the files of all the folders."""
    file = tmp_path / "endless.py"
    file.write_text(f"from ganhpc.cli import main\n\nraise {raised}\n")
    monkeypatch.setenv("GANHPC_JOBS", str(tmp_path))
    with pytest.raises(KeyboardInterrupt, match="while it was imported"):
        known_experiments.find("endless")
    monkeypatch.setattr(sys, "argv", ["launch.py", "endless", "--dry-run"])
    with pytest.raises(SystemExit) as left:
        main._run()
    assert left.value.code == (130 if raised == "KeyboardInterrupt" else 143)
    assert f"stopped in {file}, line 3, while it was imported: put what takes long" in capsys.readouterr().err


def test_the_checkout_s_own_folder_among_the_user_s_adds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of its experiments was called broken, as one that is called like itself."""
    monkeypatch.setenv("GANHPC_JOBS", f"{tmp_path}:{ROOT / 'jobs'}")
    assert own_experiments.folders() == (tmp_path,)
    assert not any("broken" in line for _, lines in known_experiments.summaries() for _, line in lines)
