"""The scheduler that `auto` means, on machines whose PATH lacks its commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from ganhpc.core.errors import UserError
from ganhpc.core.settings import Settings
from ganhpc.launch.schedulers import choice, slurm

JOBS = ("SLURM_JOB_ID", "SLURMD_NODENAME", "OAR_JOB_ID")


@pytest.fixture(autouse=True)
def _bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with no scheduler's command, and no settings of one."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(slurm, "_SETTINGS", (str(tmp_path / "etc" / "slurm.conf"),))
    for name in (*JOBS, "SLURM_CONF"):
        monkeypatch.delenv(name, raising=False)


def refused_with(sentence: str, way: str) -> None:
    with pytest.raises(UserError) as refused:
        choice.pick("auto", Settings())
    assert sentence in str(refused.value) and f"{way}, then type the same command, or add --on local" in str(
        refused.value
    )
    assert "nothing may train on a cluster's frontend" in str(refused.value)
    with pytest.raises(UserError, match="nothing may compute") as refused:
        choice.may_compute()
    assert sentence in str(refused.value)
    assert choice.pick("local", Settings())[0] is None


@pytest.mark.parametrize(
    ("module", "brings", "way"),
    [
        ("slurm/23.02.lua", "sbatch", "module load slurm"),
        ("slurm.lua", "sbatch", "module load slurm"),
        ("Slurm/default", "sbatch", "module load Slurm"),
        ("oar/2.5", "oarsub", "module load oar"),
    ],
)
def test_a_frontend_whose_scheduler_comes_by_a_module_trains_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, brings: str, way: str
) -> None:
    """It looked like a machine of the user's own."""
    folders = tmp_path / "core", tmp_path / "site"
    monkeypatch.setenv("MODULEPATH", ":".join(["", *map(str, folders)]))
    assert choice.pick("auto", Settings())[0] is None and choice.of_this_frontend() is None
    (folders[1] / module).parent.mkdir(parents=True)
    (folders[1] / module).touch()
    refused_with(f"{brings} is not on the PATH, though this machine has a module of", f"`{way}`")


def test_settings_of_slurm_tell_of_a_frontend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choice.may_compute()
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "gone.conf"))
    choice.may_compute()
    for file in (tmp_path / "own.conf", tmp_path / "etc" / "slurm.conf"):
        file.parent.mkdir(exist_ok=True)
        file.touch()
        monkeypatch.setenv("SLURM_CONF", str(file) if file.name == "own.conf" else "")
        refused_with(f"sbatch is not on the PATH, though {file} is there", "put the folder of sbatch on the PATH")


def test_a_named_scheduler_says_which_module_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slurm").mkdir()
    monkeypatch.setenv("MODULEPATH", str(tmp_path))
    with pytest.raises(
        UserError, match=r"--on slurm: .*`module load slurm`, then type the same command, --on local where .*--dry-run"
    ):
        choice.pick("slurm", Settings())


def test_inside_a_job_such_a_machine_may_compute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slurm").mkdir()
    monkeypatch.setenv("MODULEPATH", str(tmp_path))
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURMD_NODENAME", "node1")
    choice.may_compute()
    assert choice.pick("auto", Settings())[0] is None
