"""The switch of the tests marked `cluster`, and the list of packages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clusters import conftest, machine

SCRIPT = Path(__file__).parent / "install.sh"


def test_without_the_switch_the_reason_and_the_command_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GANHPC_CLUSTERS", raising=False)
    reason = conftest.skip_reason()
    assert reason is not None
    assert "sh tests/clusters/install.sh && GANHPC_CLUSTERS=1 python -m pytest -m cluster" in reason
    monkeypatch.setenv("GANHPC_CLUSTERS", "1")
    assert conftest.skip_reason() is None


def test_a_lacking_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert machine.why_not(["sh"]) is None
    assert machine.why_not(["sh", "no-such-command"]) == (
        "no-such-command not installed; run `sh tests/clusters/install.sh` as root on Debian 12"
    )
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert "needs root" in str(machine.why_not(["sh"]))


@pytest.mark.slow  # a second of processor time: processes of its own
def test_cluster_tests_are_skipped_without_the_switch() -> None:
    root = Path(__file__).parents[2]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rs",
        "-p",
        "no:cacheprovider",
        "tests/clusters/test_oar_facts.py",
    ]
    env = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" not in done.stdout
    assert "GANHPC_CLUSTERS=1 python -m pytest -m cluster" in done.stdout


@pytest.mark.slow  # 2 s of processor time: processes of its own
@pytest.mark.parametrize(("failures", "outcome"), [(1, "1 passed, 1 rerun"), (2, "1 failed, 1 rerun")])
def test_a_failed_cluster_test_is_run_once_more_and_no_other_is(tmp_path: Path, failures: int, outcome: str) -> None:
    (tmp_path / "conftest.py").write_text("from tests.clusters.conftest import pytest_collection_modifyitems\n")
    (tmp_path / "test_it.py").write_text(
        "import pytest\nturns = []\n\n@pytest.mark.cluster\ndef test_it():\n"
        f"    turns.append(1)\n    assert len(turns) > {failures}\n"
        "\ndef test_other():\n    assert False\n"
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-W",
        "ignore::pytest.PytestUnknownMarkWarning",
    ]
    env = {**os.environ, "GANHPC_CLUSTERS": "all", "PYTHONPATH": str(Path(__file__).parents[2])}
    for name, expected in (("test_it", outcome), ("test_other", "1 failed")):
        done = subprocess.run(
            [*command, f"test_it.py::{name}"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120
        )
        assert done.stdout.splitlines()[-1].startswith(expected + " in"), done.stdout + done.stderr


def test_the_install_script_is_sound() -> None:
    subprocess.run(["sh", "-n", str(SCRIPT)], check=True)
    text = SCRIPT.read_text()
    for package in ("slurm-wlm", "slurmdbd", "mariadb-server", "oar-server-pgsql", "oar-node", "oar-user"):
        assert package in text
