"""Reading files that anybody may have put there: never blocks, and whatever is wrong with one is Damaged."""

from __future__ import annotations

import ast
import gzip
import os
import re
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from ganhpc.core import files
from ganhpc.core.errors import UserError
from ganhpc.core.files import (
    Damaged,
    atomic_open,
    open_regular,
    open_to_write,
    parse_json,
    read_bytes,
    read_json,
    read_text,
)
from ganhpc.core.settings import ROOT


def test_what_is_no_regular_file_is_named_and_never_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "status.json"
    os.mkfifo(path)
    with pytest.raises(Damaged, match="is a fifo"):
        read_json(path)
    with pytest.raises(Damaged, match="is a folder"):
        read_json(tmp_path)
    with pytest.raises(Damaged, match="is a device"):
        read_bytes("/dev/zero")
    path.unlink()
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(tmp_path)
        server.bind("status.json")
        with pytest.raises(Damaged, match="is a socket"):
            read_json(path)
    path.unlink()
    path.symlink_to("status.json")
    with pytest.raises(Damaged, match="can't be read"):
        read_json(path)
    with pytest.raises(Damaged, match="can't be read"):
        read_json(tmp_path / ("n" * 300))
    with pytest.raises(Damaged, match="can't be read"):
        read_json(tmp_path / "a\0b")
    path.unlink()
    (tmp_path / "real.json").write_text('{"a": 1}')
    path.symlink_to("real.json")
    assert read_json(path) == {"a": 1}, "a link to a file is a file"


def test_what_is_not_there_is_none_and_not_damaged(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    assert [read_json(tmp_path / name) for name in ("none.json", "file/none.json", "link")] == [None] * 3
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "none.json")


def test_a_file_that_is_too_large_or_never_ends_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"{}" + b" " * files.SMALL)
    with pytest.raises(Damaged, match=r"too large .*\(4,194,306 bytes, at most 4,194,304\)"):
        read_json(path)
    assert read_json(path, files.LARGE) == {}
    with pytest.raises(Damaged, match="more than 10 bytes"):
        read_bytes("/proc/self/status", 10)


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[1]", b'"x"', b"null", b"\xff\xfe{}", b'{"a": "\xe9"}', b"[" * 100_000, b'{"a":' * 60 + b"1" + b"}" * 60, b"{} {}"],
)  # fmt: skip
def test_what_is_not_an_object_is_damaged(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "a.json").write_bytes(text)
    with pytest.raises(Damaged, match=r"a\.json (is not whole JSON|does not hold)"):
        read_json(tmp_path / "a.json")


def test_numbers_are_finite_or_none() -> None:
    nines = "9" * 5000
    tree = parse_json(
        f'{{"a": [NaN, Infinity, -Infinity, 1e999, {nines}, -{nines}], "b": {"9" * 30}, "c": {2**53 + 1}}}'
    )
    assert tree == {"a": [None] * 6, "b": 1e30, "c": 2**53 + 1}
    assert parse_json(f"[{2**63 - 1}]") == [float(2**63 - 1)]
    assert isinstance(parse_json("[1]")[0], int)


def test_nesting_is_bounded_by_its_depth_and_not_by_its_width() -> None:
    assert len(parse_json("[" + ",".join(["[1]"] * 10_000) + "]")) == 10_000
    at_most = "[" * files.DEEPEST + "]" * files.DEEPEST
    assert parse_json(at_most)
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json(f"[{at_most}]")
    assert parse_json('{"a": "' + "[" * 500 + '"}'), "brackets in a text are no nesting"


def test_text_that_is_no_utf8_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "stop").write_bytes(b"caf\xe9")
    assert read_text(tmp_path / "stop") == "caf\ufffd"


@pytest.mark.parametrize("append", [False, True])
def test_what_is_no_file_is_not_written_and_not_waited_for(tmp_path: Path, append: bool) -> None:
    path = tmp_path / "log.txt"
    for make in (
        os.mkfifo,
        Path.mkdir,
        lambda path: path.symlink_to("/dev/full"),
        lambda path: path.symlink_to(path.name),
        lambda path: path.symlink_to("own"),
        lambda path: path.symlink_to("nowhere"),
    ):
        (tmp_path / "own").write_text("own")
        make(path)
        with pytest.raises(UserError, match=re.escape(str(path))):
            open_to_write(path, append=append)
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    assert (tmp_path / "own").read_text() == "own" and not (tmp_path / "nowhere").exists()
    for _ in range(2):
        with open_to_write(path, append=append) as file:
            file.write(b"line\n")
    assert path.read_bytes() == b"line\n" * (2 if append else 1)


def test_a_device_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The administrator of a container may write into /dev: /dev/null would be a file from then on, for every program."""
    path = tmp_path / "null"
    path.write_text("kept")
    monkeypatch.setattr(files.stat, "S_ISCHR", stat.S_ISREG)
    with pytest.raises(Damaged, match="null is a device: name a file"), atomic_open(path) as file:
        file.write(b"report")
    assert path.read_text() == "kept" and os.listdir(tmp_path) == ["null"]


# -- one reader ---------------------------------------------------------------------------------------------------------

BARE = {
    "ganhpc/core/files.py": "the readers themselves",
    "ganhpc/core/locks.py": "opens files of locks, with O_NONBLOCK",
    "ganhpc/core/streams.py": "the listener's pipe and /dev/null, with O_NONBLOCK",
    "ganhpc/runs/fault_count.py": "writes with O_NONBLOCK and O_NOFOLLOW, or makes a new file",
    "ganhpc/runs/stop_requests.py": "makes a new file",
    "ganhpc/train/logging/event_writer.py": "writes with O_NONBLOCK, to a name of its own",
    "ganhpc/train/logging/event_file_trim.py": "opens a folder",
    "ganhpc/program/__init__.py": "a file that may be copied, with O_NONBLOCK",
    "ganhpc/program/bounded_log.py": "with O_NONBLOCK",
    "ganhpc/program/descendants.py": "/proc and /dev/null",
    "ganhpc/train/torchrun.py": "/proc",
    "ganhpc/train/loop/speed_choice.py": "/proc",
    "ganhpc/runs/result_fields.py": "/proc",
    "ganhpc/runs/cores.py": "/proc and /sys",
    "ganhpc/runs/trainer_processes.py": "/proc",
    "ganhpc/runs/file_owner.py": "/proc and /etc/machine-id",
    "ganhpc/core/process_numbers.py": "/proc",
    "ganhpc/launch/doctor/check_machine.py": "/etc/timezone",
    "ganhpc/launch/schedulers/base.py": "/etc/localtime",
    "ganhpc/cli/commands/new.py": "the program's own templates; makes new files",
    "ganhpc/launch/policy/calendar.py": "the program's own holidays",
    "ganhpc/launch/schedulers/script_text.py": "the program's own templates",
    "ganhpc/analysis/report/translation.py": "the program's own texts",
    "ganhpc/analysis/report/render_html.py": "the program's own pages",
    "ganhpc/runs/known_experiments.py": "the program's own experiments",
    "ganhpc/datasets/image_cache.py": "a temporary file with a name of its own",
    "ganhpc/datasets/cifar10/download.py": "a file in a new folder of its own",
    "ganhpc/datasets/cifar10/npm.py": "a file in a new folder of its own",
    "ganhpc/cli/commands/board.py": "TensorBoard's output in a new folder of its own",
    "ganhpc/analysis/tensorboard_server.py": "files in a new folder of its own",
}
"""Modules that open files by other ways than core.files, and why nothing from outside is waited for there, or read without bounds."""
OPENERS = {"open", "read_text", "read_bytes", "write_text", "write_bytes"}
ELSEWHERE = {"Run", "Image", "tarfile", "archive", "webbrowser"}
"""Other objects with a method `open`: a run's folder, bytes or a file that is open already."""


def _bare(path: Path) -> list[str]:
    """Calls in a module that open a file by its name."""
    found = []
    for call in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)):
        name = (
            call.func.id
            if isinstance(call.func, ast.Name)
            else call.func.attr
            if isinstance(call.func, ast.Attribute)
            else ""
        )
        owner = (
            call.func.value.id if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name) else ""
        )
        if name in OPENERS and owner not in ELSEWHERE and not (isinstance(call.func, ast.Name) and name != "open"):
            found.append(f"{path.relative_to(ROOT)}:{call.lineno}")
    return found


def test_every_file_from_outside_is_opened_by_one_reader() -> None:
    """It refuses what is no regular file without waiting, and knows its bounds."""
    modules = [path for top in ("ganhpc", "jobs") for path in sorted((ROOT / top).rglob("*.py"))]
    found = {str(path.relative_to(ROOT)): calls for path in modules if (calls := _bare(path))}
    assert {name: calls for name, calls in found.items() if name not in BARE} == {}
    assert sorted(BARE.keys() - found.keys()) == [], "no longer needed"


@pytest.mark.parametrize("place", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_first_bytes_and_gzip_wait_for_nothing(tmp_path: Path, place: Callable[[Path], object]) -> None:
    path = tmp_path / "x.gz"
    place(path)
    for read in (lambda: files.first_bytes(path, 10), lambda: files.read_gzip(path)):
        with pytest.raises(files.Damaged):
            read()


def test_a_gzipped_file_is_unpacked_within_bounds(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(b"0" * 10_001))
    assert files.read_gzip(path, 10_001) == b"0" * 10_001
    with pytest.raises(files.Damaged, match="unpacked"):
        files.read_gzip(path, 10_000)
    for damaged in (b"", path.read_bytes()[:-9], b"no gzip", b"\x1f\x8b\x08" + b"\xff" * 40):
        path.write_bytes(damaged)
        if damaged:
            with pytest.raises(files.Damaged):
                files.read_gzip(path)
    path.write_bytes(b"0123456789")
    assert files.first_bytes(path, 4) == b"0123"
    with pytest.raises(FileNotFoundError):
        files.first_bytes(tmp_path / "none", 4)
