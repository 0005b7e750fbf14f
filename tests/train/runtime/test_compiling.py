"""--compile does what it says, or says why it can't."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
import torch

from ganhpc.core.errors import UserError
from ganhpc.train.runtime import compiling
from tests.helpers import finish, made, small

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_auto_compiles_on_gpus_in_long_runs_only() -> None:
    long, short = small(epochs=None, time=3600.0), small(epochs=None, time=60.0)
    assert compiling.wanted(long, GPU, True)
    assert (
        not compiling.wanted(short, GPU, True)
        and not compiling.wanted(long, CPU, True)
        and not compiling.wanted(long, GPU, False)
    )
    assert not compiling.wanted(long.replace(compile="off"), GPU, True)


def test_on_without_the_means_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    on = small(compile="on")
    with pytest.raises(UserError, match="--compile off"):
        compiling.wanted(on, CPU, False)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(UserError, match="compiler"):
        compiling.wanted(on, CPU, True)


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="no C++ compiler: apt-get install g++")
def test_a_compiled_run_learns_the_same(tmp_path: Path) -> None:
    plain, compiled = finish(made(tmp_path, epochs=1)), finish(made(tmp_path, epochs=1, compile="on"))
    assert compiled["test_loss"] == pytest.approx(plain["test_loss"], rel=1e-3)
    assert compiled["weights_sha256"] and compiled["steps"] == plain["steps"]


@pytest.mark.parametrize("there", ["nothing", "its own", "a folder that all can write", "a link", "a file"])
def test_what_is_compiled_is_kept_where_nobody_else_can_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str
) -> None:
    """On a shared node anybody can make folders in /tmp; torch loads libraries and pickles of its cache."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    usual = tmp_path / f"ganhpc-compiled-{os.getuid()}"
    (tmp_path / "theirs").mkdir()
    if there in ("its own", "a folder that all can write"):
        usual.mkdir()
        usual.chmod(0o777 if "all" in there else 0o700)
    elif there == "a link":
        usual.symlink_to("theirs")
    elif there == "a file":
        usual.touch()
    compiling.keep_to_own_cache()
    chosen = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
    assert (chosen == usual) is (there in ("nothing", "its own"))
    assert chosen.is_dir() and chosen.lstat().st_mode & 0o777 == 0o700
    compiling.keep_to_own_cache()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(chosen), "what is set stays"
