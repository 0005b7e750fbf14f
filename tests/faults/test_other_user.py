"""Run folders of another user, through every verb: not readable, not writable, half of each, and in a folder with the sticky bit."""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ganhpc.cli import main  # noqa: F401 (loaded before the forks, with torch)
from ganhpc.train.gan import generator_io  # noqa: F401
from tests.faults.test_damaged import TIMES, by_seed, check, place, whole  # noqa: F401 (fixtures)
from tests.faults.typed import Typed, typed

OTHER = 65_534
LIMIT = 240.0


def without_privileges() -> None:
    """In a child, and in all that it starts: what the modes of files say holds for root too. Another user's files are another user's."""
    if os.getuid():
        return
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in range(64):
        libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
    header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert libc.capset(header, data) == 0, os.strerror(ctypes.get_errno())


def as_a_user(*words: str) -> Typed:
    """The command, typed in a child by somebody without privileges."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(read)
            without_privileges()
            said = typed(*words)
            os.write(write, json.dumps([said.code, said.out[-20_000:], said.err[-20_000:]]).encode())
        except BaseException as error:
            os.write(write, json.dumps([70, "", "Traceback " + "".join(traceback.format_exception(error))]).encode())
        finally:
            os._exit(0)
    os.close(write)
    data, end = b"", time.monotonic() + LIMIT
    with os.fdopen(read, "rb", buffering=0) as pipe:
        os.set_blocking(read, False)
        while time.monotonic() < end:
            part = pipe.read(65_536)
            if part == b"":
                break
            data += part or b""
            if part is None:
                time.sleep(0.01)
        else:
            os.kill(child, signal.SIGKILL)
            data = json.dumps([70, "", "Traceback: it hangs"]).encode()
    os.waitpid(child, 0)
    code, out, err = json.loads(data)
    return Typed(words, code, out, err)


def _modes(top: Path, folders: int, files: int) -> None:
    for path in sorted(top.rglob("*"), reverse=True):
        if not path.is_symlink():
            path.chmod(folders if path.is_dir() else files)
    top.chmod(folders)


SCHEMES: dict[str, Callable[[Path], object]] = {
    "not readable": lambda run: run.chmod(0o700),
    "not writable": lambda run: _modes(run, 0o755, 0o644),
    "not to be listed": lambda run: run.chmod(0o711),
    "not to be entered": lambda run: run.chmod(0o744),
    "closed files": lambda run: _modes(run, 0o755, 0o600),
    "closed files in an open folder": lambda run: _modes(run, 0o777, 0o600),
    "sticky": lambda run: _modes(run, 0o1777, 0o666),
    "closed parts": lambda run: [path.chmod(0o700) for path in run.iterdir() if path.is_dir()],
    "an experiment's folder, not readable": lambda run: run.parent.chmod(0o700),
    "an experiment's folder, not writable": lambda run: _modes(run.parent, 0o555, 0o444),
    "an experiment's folder, not to be listed": lambda run: run.parent.chmod(0o711),
    "all runs, not readable": lambda run: run.parents[1].chmod(0o700),
    "all runs, not writable": lambda run: _modes(run.parents[1], 0o555, 0o444),
    "all runs, not to be entered": lambda run: run.parents[1].chmod(0o744),
    "all runs, sticky": lambda run: run.parents[1].chmod(0o1777),
}
"""Permissions that another user may leave on a folder."""
NEW = ("--data", "synthetic", "--train-images", "200", "--epochs", "1", "--device", "cpu")
TONIGHT = ("--on", "local", "--from", "2000-01-01T00:00", "--until", "2099-01-01T00:00")


def verbs(run: Path) -> list[tuple[str, ...]]:
    """Every verb that looks at a run, goes on with it, or makes one beside it."""
    word = str(run)
    return [
        ("results",), ("results", "--json"), ("results", "--csv"), ("status", "--all"), ("status", "--json"), ("status", word), ("status", run.name),
        ("logs", word), ("logs", run.name), ("cancel", word), ("cancel", "--all"), ("policy", "--check", word, "--on", "local"),
        ("resume", word, "--on", "local", "--dry-run"), ("resume", word, "--on", "slurm", "--dry-run"),
        ("results", "--compare", word, run.name[:8]), ("report", word), ("report", word, "--format", "md"), ("report", "cifar"),
        ("gallery",), ("sample", word), ("sample", word, "--out", "s.png"), ("night", "cifar:course", *NEW, *TONIGHT, "--dry-run"),
        ("night", "cifar:course", "--seed", "7", *NEW, *TONIGHT, "--yes"), ("logs", word, "-f"),
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES)
def test_folders_of_another_user(place: Path, scheme: str) -> None:  # noqa: F811
    """A part of the verbs on one of three runs; GANHPC_FAULTS=2: all on each."""
    number = list(SCHEMES).index(scheme)
    seeds = (1, 4, 5)  # done, crashed, waiting for a job that nobody knows
    for k, seed in enumerate(seeds if TIMES > 1 else (seeds[number % 3],)):
        run = by_seed(seed, place).folder
        kept = {path: path.stat().st_mode for path in (place, *place.rglob("*")) if not path.is_symlink()}
        for path in kept:
            os.chown(path, OTHER, OTHER) if not os.getuid() else None
        SCHEMES[scheme](run)
        try:
            found = [words for words in verbs(run) if words[0] != "logs" or words[-1] != "-f" or seed != 5]
            for words in found if TIMES > 1 else found[(number + k) % min(6, len(found)) :: 6]:
                said = as_a_user(*words, "--runs", str(place))
                check(said if "permission is denied" not in said.out else replace(said, err=f"Error: {said.out}"))
        finally:
            place.chmod(0o755)
            for path, mode in kept.items():
                path.chmod(mode) if path.exists() else None


@pytest.mark.parametrize("verb", ["status", "logs", "report", "cancel", "sample"])
def test_a_folder_that_may_not_be_looked_into_is_no_folder_without_a_run(place: Path, verb: str) -> None:  # noqa: F811
    run = by_seed(1, place).folder
    os.chown(run, OTHER, OTHER) if not os.getuid() else None
    run.chmod(0o700)
    for word in (str(run), run.name):
        said = as_a_user(verb, word, "--runs", str(place))
        assert verb == "report" or re.search("permission (is )?denied", said.out + said.err, re.IGNORECASE), said
        assert "is not a run folder" not in said.err and "there is no run" not in said.err
    run.chmod(0o755)
