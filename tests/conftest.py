"""What all tests share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# On a developer's machine every run tries other examples; continuous integration repeats the same ones, so that a red
# run is due to what changed.
# No example has a time limit, and none is too slow: a busy machine pauses for longer than any of them takes.
settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("here"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")

# One thread for each test, whatever else the machine does: figures that are compared do not depend on the load, and workers share the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# As in a user's shell: with it, output that can't be written is an error at once, and not at a program's end.
os.environ.pop("PYTHONUNBUFFERED", None)
# A shell has what it starts in the background ignore Ctrl-C, and so would the programs that tests stop with it.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parents[1]
LAST_LINES, LONGEST_LINE = 12, 300
"""Of a failure that is told at once; the whole of it comes at the end."""
sys.path.insert(0, str(ROOT))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """There is one Slurm and one OAR on a machine: one worker runs all of their tests, the others a file at a time beside it."""
    from xdist.scheduler import LoadScopeScheduling

    class Files(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "clusters" if nodeid.startswith("tests/clusters/") else nodeid.split("::")[0]

    return Files(config, log)


class AtOnce:
    """Failures as they happen, so that a run that is cut off has told of them."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        terminal = self.config.pluginmanager.get_plugin("terminalreporter")
        if report.outcome in ("failed", "rerun") and terminal is not None:
            terminal.write_line(f"\n{report.outcome.upper()} {report.nodeid} ({report.when}, {report.duration:.0f} s)")
            for line in report.longreprtext.splitlines()[-LAST_LINES:]:
                terminal.write_line(f"  {line[:LONGEST_LINE]}")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(AtOnce(config), "failures-at-once")
    # Options that pytest reads from the environment are for this run, and not for a pytest that a test starts. The workers of xdist read them too.
    if not config.getoption("numprocesses", None):
        os.environ.pop("PYTEST_ADDOPTS", None)


Launch = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    """Run `python launch.py ...` as a user would, in an empty folder; returns the finished process."""

    def run(*words: str, timeout: float = 600, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(ROOT / "launch.py"), *words],
            cwd=tmp_path,
            env={**os.environ, "COLUMNS": "120", **env},
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads the user's own configuration, or a run folder of theirs."""
    monkeypatch.setenv("GANHPC_CONFIG", "/dev/null")
    monkeypatch.delenv("GANHPC_RUNS", raising=False)
    monkeypatch.delenv("MODULEPATH", raising=False)  # nor are modules, which may bring one
    monkeypatch.setenv("GANHPC_ON", "local")  # a scheduler that is up beside the tests is not theirs
