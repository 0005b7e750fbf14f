"""Any locale, any reader, any name: every verb that prints ends without a traceback."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import run_folders
from tests.conftest import ROOT

pytestmark = pytest.mark.slow  # some 70 processes of a third of a second

PLAIN = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
LOCALES = {
    "C": PLAIN | {"LC_ALL": "C"},
    "French of 1995": PLAIN | {"LC_ALL": "fr_FR.ISO-8859-1", "PYTHONIOENCODING": "latin-1"},
    "ascii": PLAIN | {"PYTHONIOENCODING": "ascii:strict"},
    "an encoding without é": PLAIN | {"PYTHONIOENCODING": "cp437:strict"},
}
READERS = {
    "closed": ("{} >&-", (0,)),
    "both closed": ("{} >&- 2>&-", (0,)),
    "full": ("{} > /dev/full", (2, 74)),
    "head": ("{} | head -1", (0,)),
    "gone": ("{} | true", (0,)),
}
"""What a shell does with the output, and the exit codes that fit it, of a verb that succeeds otherwise."""
NAME = os.fsdecode(b"r\xe9sultats \xff")

VERBS: dict[str, list[str]] = {
    "results": ["results", "--runs", NAME],
    "results --json": ["results", "--runs", NAME, "--json"],
    "describe": ["describe", "dcgan", "--base-channels", "2"],
    "data": ["data", NAME + "/images"],
    "data sets": ["data"],
    "status": ["status", "--runs", NAME],
    "report": ["report", NAME + "/cifar/RUN", "--lang", "fr", "--runs", NAME],
    "gallery": ["gallery", "--runs", NAME],
    "policy": ["policy", "student"],
    "doctor": ["doctor"],
    "logs": ["logs", NAME + "/cifar/RUN"],
    "help": ["--help"],
    "help of a verb": ["cifar", "--help"],
    "night": ["night", "dcgan", "--dry-run", "--on", "oar", "--now", "2026-11-23T19:30", "--runs", NAME],
    "dry run": ["cifar", "--dry-run", "--time", "1h", "--on", "slurm", "--now", "2026-11-23T19:30", "--runs", NAME],
    "completion": ["completion", "bash"],
    "tunnel": ["board", "--runs", NAME, "--node", "chifflot-1.lille.grid5000.fr"],
    "tables": ["results", "--runs", NAME, "--md"],
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with runs and pictures in a folder whose name is no text in any encoding."""
    runs = tmp_path / NAME
    run = run_folders.done(runs, 0.5)
    (runs / "cifar" / "RUN").symlink_to(run.folder.name)
    run.log.write_bytes("époque 1 → fin\n".encode() + b"caf\xe9\n" * 3)
    run_folders.stopped(runs, "resumable", "arrêtée – à reprendre", seed=1)
    pictures = runs / "images"
    pictures.mkdir()
    for k, name in enumerate([b"\xe9t\xe9.png", b"b.png", b"c\xff.png", "日本.png".encode()]):
        pixels = np.random.default_rng(k).integers(0, 255, (16, 16, 3), dtype="uint8")
        Image.fromarray(pixels).save(pictures / os.fsdecode(name))
    return tmp_path


def typed(place: Path, words: list[str], env: dict[str, str], shell: str = "{}") -> subprocess.CompletedProcess[bytes]:
    line = shell.format(shlex.join([sys.executable, str(ROOT / "launch.py"), *words]))
    base = {**os.environ, "GANHPC_DATA": str(place / "cache"), "COLUMNS": "100", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], cwd=place, env=base | env, capture_output=True, timeout=120
    )


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_in_every_locale(place: Path, verb: str) -> None:
    # Torch is loaded for a network's table, and the doctor tries programs: once is enough.
    names = list(LOCALES)[-1:] if verb in ("describe", "doctor") else list(LOCALES)
    for name in names:
        done = typed(place, VERBS[verb], LOCALES[name])
        said = done.stdout + done.stderr
        assert b"Traceback" not in said and b"UnicodeEncodeError" not in said, (name, said)
        assert done.returncode in ((0, 1) if verb == "doctor" else (0,)), (name, said)
        assert done.stdout.strip(), name


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in ("describe", "doctor")])
def test_every_verb_with_every_reader(place: Path, verb: str) -> None:
    for name, (shell, codes) in READERS.items():
        done = typed(place, VERBS[verb], {}, shell)
        assert b"Traceback" not in done.stderr and b"Exception" not in done.stderr, (name, done.stderr)
        assert done.returncode in (*codes, *((1, 141) if "|" in shell else ())), (name, done.returncode, done.stderr)
        if name == "full":
            assert done.stderr.splitlines()[-1].startswith(b"Error: "), done.stderr


def test_a_training_in_latin_1_on_pictures_and_runs_of_any_bytes(place: Path) -> None:
    shape = [
        "--image-size",
        "16",
        "--base-channels",
        "2",
        "--batch-size",
        "2",
        "--epochs",
        "1",
        "--measure-images",
        "0",
    ]
    words = ["dcgan", "--data", f"{NAME}/images", *shape, "--device", "cpu", "--on", "local", "--runs", NAME]
    done = typed(place, words, LOCALES["French of 1995"])
    assert done.returncode == 0 and b"Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    assert list(place.glob("*/dcgan/*/result.json"))


@pytest.mark.parametrize("locale", ["C", "French of 1995"])
def test_board_shows_runs_of_any_bytes_in_any_locale(place: Path, locale: str) -> None:
    """From its start to Ctrl-C."""
    command = [sys.executable, str(ROOT / "launch.py"), "board", "--runs", NAME, "--port", "6206"]
    # A shell's background jobs ignore SIGINT, and so would a child of theirs.
    hear = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731
    with subprocess.Popen(
        command,
        cwd=place,
        env=os.environ | LOCALES[locale] | {"COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=hear,
    ) as board:
        assert board.stdout
        said = b""
        for line in board.stdout:
            said += line
            if b"Ctrl-C ends it" in line:
                board.send_signal(signal.SIGINT)
        assert board.wait(60) in (0, 130), said
    assert b"http://localhost:" in said and b"Traceback" not in said and said.rstrip().endswith(b"ended"), said


def test_a_set_is_the_same_in_every_locale(tmp_path: Path) -> None:
    """The definition of a run has its path, and is read on nodes with another locale."""
    folder = tmp_path / os.fsdecode("réponses".encode() + b" \xe9")
    folder.mkdir()
    noise = np.random.default_rng(0)
    for k in range(4):
        Image.fromarray(noise.integers(0, 255, (16, 16, 3), dtype="uint8")).save(folder / f"{k}.png")
    words = [
        "dcgan",
        "--data",
        folder.name,
        "--image-size",
        "32",
        "--batch-size",
        "2",
        "--epochs",
        "1",
        "--on",
        "local",
        "--dry-run",
        "--json",
    ]
    command = [sys.executable, str(ROOT / "launch.py"), *words]
    env = {**os.environ, "GANHPC_DATA": str(tmp_path / "kept")}
    seen = set()
    for locale in (LOCALES["C"], {"PYTHONUTF8": "1"}, {"LC_ALL": "C.UTF-8"}):
        done = subprocess.run(command, cwd=tmp_path, env={**env, **locale}, capture_output=True, check=True)
        seen.add(done.stdout)
    assert len(seen) == 1 and b"r\\u00e9ponses \\udce9" in seen.pop()


def test_programs_that_are_started_keep_their_own_mode_of_names() -> None:
    code = "import os, sys; from ganhpc.core import streams; streams.settle(); print(sys.flags.utf8_mode, os.environ.get('PYTHONUTF8'), sys.stdout.encoding)"
    for environ, expected in ((LOCALES["French of 1995"], "1 0 iso8859-1"), ({"PYTHONUTF8": "1"}, "1 1 utf-8")):
        env = {**os.environ, **environ}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == expected
