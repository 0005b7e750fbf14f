"""Each cluster comes up in under a minute and does a first job in seconds (on a busy machine in some more), and leaves nothing behind; alone or together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clusters import daemons, machine
from tests.clusters.conversation import Real
from tests.clusters.machine import ClusterError, wait_until
from tests.clusters.oar import CONF, Oar
from tests.clusters.slurm import Slurm

pytestmark = pytest.mark.cluster
HOSTS = Path("/etc/hosts")


@pytest.fixture
def folder() -> Iterator[Path]:
    folder = machine.home() / "bringup"
    folder.mkdir(exist_ok=True)
    yield machine.give(folder)
    machine.remove(folder)


def left_of(cluster: Slurm | Oar) -> list[int]:
    return [process.pid for process in daemons.belonging(cluster.name, cluster.is_ours)]


def crash(cluster: Slurm | Oar, *programs: str) -> None:
    """Kill some of the daemons, as a crash would, and leave the others running."""
    killed = 0
    for process in daemons.belonging(cluster.name, cluster.is_ours):
        if any(program in process.command for program in programs):
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
    assert killed >= len(programs)


def timed_up(cluster: Slurm | Oar) -> float:
    begun = time.monotonic()
    cluster.up()
    return time.monotonic() - begun


def wait_until_it_says(file: Path, text: str) -> None:
    wait_until(lambda: file.exists() and file.read_text() == text, 120, f"{text!r} in {file}")


def slurm_job(slurm: Slurm, folder: Path) -> None:
    """Submit a trivial job and wait for its file."""
    slurm.as_user(["sbatch", "--output=slurm.txt", "--wrap=echo done; exit 0"], cwd=folder, check=True)
    wait_until(
        lambda: (folder / "slurm.txt").exists() and (folder / "slurm.txt").read_text() == "done\n", 120, "the job"
    )


def test_slurm_leaves_nothing_behind_and_comes_up_again(slurm_bare: Slurm, folder: Path) -> None:
    slurm_bare.as_user(["sbatch", "--wrap=setsid sleep 1000 & sleep 1000"], cwd=folder, check=True)
    wait_until(lambda: slurm_bare.as_user(["squeue", "-h", "-t", "R"]).stdout, 120, "a running job")
    slurm_bare.down()
    assert wait_until(lambda: not left_of(slurm_bare), 120, "the end of all its processes")
    assert not slurm_bare.state.exists()
    assert slurm_bare.nodes[0] not in HOSTS.read_text()
    slurm_bare.down()
    assert timed_up(slurm_bare) < 240
    slurm_job(slurm_bare, folder)


def test_slurm_with_accounting_recovers_from_a_crash(slurm_cluster: Slurm, folder: Path) -> None:
    crash(slurm_cluster, "slurmctld", "mariadbd")
    assert timed_up(slurm_cluster) < 240
    slurm_job(slurm_cluster, folder)
    assert wait_until(lambda: "COMPLETED" in slurm_cluster.as_user(["sacct", "-n", "-X"]).stdout, 120, "sacct's answer")


def test_oar_leaves_nothing_behind_and_comes_up_again(oar_cluster: Oar, folder: Path) -> None:
    real = Real(oar_cluster, folder)
    job = real.submit("-l", "core=1,walltime=0:10:00", "setsid sleep 1000 & sleep 1000")
    real.wait(job, ("Running",), 120)
    ours, original = CONF.read_text(), oar_cluster.original.read_text()
    assert ours != original
    oar_cluster.down()
    assert wait_until(lambda: not left_of(oar_cluster), 120, "the end of all its processes")
    assert CONF.read_text() == original
    assert CONF.stat().st_mode & 0o777 == 0o600
    assert not oar_cluster.state.exists()
    assert not oar_cluster.original.exists()
    assert "oar1" not in HOSTS.read_text()
    assert "ganhpc" not in subprocess.run(["ipcs", "-m"], capture_output=True, text=True).stdout
    oar_cluster.down()
    assert timed_up(oar_cluster) < 240


def test_oar_recovers_from_a_crash(oar_cluster: Oar, folder: Path) -> None:
    original = oar_cluster.original.read_text()
    crash(oar_cluster, "/usr/lib/oar/Almighty", "/bin/postgres")
    assert timed_up(oar_cluster) < 240
    assert oar_cluster.original.read_text() == original, "the owner's oar.conf, not the crashed cluster's"
    begun = time.monotonic()
    real = Real(oar_cluster, folder)
    real.end(real.submit("-l", "core=1,walltime=0:01:00", "date"))
    assert time.monotonic() - begun < 120


def test_all_may_be_up_at_once(slurm_cluster: Slurm, slurm_bare: Slurm, oar_cluster: Oar, folder: Path) -> None:
    real = Real(oar_cluster, folder)
    job = real.submit("-l", "host=2/core=1,walltime=0:01:00", "-O", "oar.txt", "uniq $OAR_NODEFILE; pwd; id -un")
    for slurm in (slurm_cluster, slurm_bare):
        slurm.as_user(["sbatch", "-N2", f"--output={slurm.name}.txt", "--wrap=srun -N2 id -un"], cwd=folder, check=True)
    real.end(job)
    assert (folder / "oar.txt").read_text().split() == ["oar1", "oar2", str(folder), machine.USER]
    for slurm in (slurm_cluster, slurm_bare):
        wait_until_it_says(folder / f"{slurm.name}.txt", f"{machine.USER}\n" * 2)


@pytest.mark.parametrize("words", [["oar", "down"], ["slurm", "up", "--no-accounting"]], ids=" ".join)
def test_the_command_leaves_a_cluster_in_use_alone(words: list[str], oar_cluster: Oar, slurm_bare: Slurm) -> None:
    command = [sys.executable, "-m", f"tests.clusters.{words[0]}", *words[1:]]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"in use by process {os.getpid()}" in done.stderr
    assert left_of(oar_cluster if words[0] == "oar" else slurm_bare)


def test_a_cluster_that_cannot_come_up_says_why_and_cleans_up(
    slurm_bare: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm_bare.down()
    monkeypatch.setattr("tests.clusters.slurm.CONF", "NoSuchKey=1\n")
    monkeypatch.setattr("tests.clusters.slurm.PATIENCE", 2)
    try:
        with pytest.raises(ClusterError, match=r"(?s)did not come up.*NoSuchKey"):
            slurm_bare.up()
        assert left_of(slurm_bare) == []
    finally:
        monkeypatch.undo()
        slurm_bare.up()


# ------------------------------------------------------------------------------------------------ the user of the jobs


def test_as_user_is_a_fresh_login_of_an_ordinary_user(folder: Path) -> None:
    shown = machine.as_user(["bash", "-c", "id -un; echo $HOME $PWD $EXTRA; env"], env={"EXTRA": "1"}, cwd=folder)
    assert shown.stdout.startswith(f"{machine.USER}\n{machine.home()} {folder} 1\n")
    assert "PYTEST_CURRENT_TEST" not in shown.stdout
    assert machine.as_user(["cat", "/etc/shadow"]).returncode != 0
    with pytest.raises(ClusterError, match="ended with 3"):
        machine.as_user(["bash", "-c", "exit 3"], check=True)
    with pytest.raises(subprocess.TimeoutExpired):
        machine.as_user(["sleep", "10"], timeout=0.2)


def test_a_readable_copy_holds_tracked_and_new_files_but_no_ignored_ones(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    for name, text in {".gitignore": "*.tmp\n", "a b.txt": "1", "sub/new.sh": "#!/bin/sh\n", "x.tmp": ""}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "sub/new.sh").chmod(0o755)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "a b.txt"], cwd=tmp_path, check=True)
    machine.give(tmp_path / ".git")  # git then distrusts the checkout, as one that a CI runner has made
    copy = machine.readable_copy(tmp_path, "copy of a test")
    try:
        listed = machine.as_user(["find", ".", "-type", "f"], cwd=copy, check=True).stdout.split("\n")
        assert sorted(filter(None, listed)) == ["./.gitignore", "./a b.txt", "./sub/new.sh"]
        assert machine.as_user([copy / "sub/new.sh"]).returncode == 0
    finally:
        machine.remove(copy)


def test_an_interpreter_in_a_private_folder_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "python").symlink_to("/usr/bin/python3")
    monkeypatch.setenv("GANHPC_TEST_PYTHON", str(tmp_path / "python"))
    with pytest.raises(ClusterError, match=r"(?i)permission denied.*virtual environment"):
        machine.readable_python()
    monkeypatch.setenv("GANHPC_TEST_PYTHON", "/usr/bin/python3")
    with pytest.raises(ClusterError, match="No module named 'nosuch'"):
        machine.readable_python("json", "nosuch")
    assert machine.readable_python("json") == "/usr/bin/python3"
