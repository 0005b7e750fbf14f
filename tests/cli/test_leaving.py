"""Ctrl-C is how a person leaves what looks again and again: no error, no traceback."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import run_folders
from tests.conftest import ROOT


@pytest.mark.parametrize("words", [["results", "--watch"], ["status", "--watch"], ["logs", "RUN", "-f"]])
def test_ctrl_c_leaves_without_an_error(words: list[str], tmp_path: Path) -> None:
    run = run_folders.stopped(tmp_path, "running")
    run.log.write_text("epoch 1 of 12\n")
    typed = [word.replace("RUN", str(run.folder)) for word in words]
    ours, theirs = pty.openpty()
    # Held as by a living trainer: `logs -f` goes on as long as the run does.
    with (
        run.hold(),
        subprocess.Popen(
            [sys.executable, str(ROOT / "launch.py"), *typed, *([] if "logs" in words else ["--runs", str(tmp_path)])],
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "COLUMNS": "120", "TERM": "xterm"},
            # Tests that run in the background inherit that Ctrl-C means nothing.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as process,
    ):
        os.close(theirs)
        shown = _read(ours, 120.0, until=b"epoch 1" if "logs" in words else b"default")
        assert process.poll() is None, shown
        process.send_signal(signal.SIGINT)
        shown += _read(ours, 120.0)
        assert process.wait(120) == 0, shown
    os.close(ours)
    assert shown.strip()
    assert b"Error" not in shown and b"Traceback" not in shown, shown


def _read(terminal: int, seconds: float, until: bytes = b"\0") -> bytes:
    """What the program shows until it shows `until` or ends, at most for so long."""
    found, last = b"", time.monotonic() + seconds
    while until not in found and select.select([terminal], [], [], max(0.0, last - time.monotonic()))[0]:
        try:
            found += os.read(terminal, 4096)
        except OSError:  # its other end is closed
            break
    return found


def test_ctrl_c_while_the_program_is_still_loaded_is_no_traceback(tmp_path: Path) -> None:
    """Its modules take a tenth of a second to load, in which a person who has mistyped is quick enough."""
    (tmp_path / "click.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    done = subprocess.run(
        [sys.executable, str(ROOT / "launch.py"), "results"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert (done.returncode, done.stderr) == (130, "Error: stopped.\n")
