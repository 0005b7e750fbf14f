"""Pictures of run folders made small: what is no picture is left out."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from PIL import Image

from ganhpc.analysis.report import thumbnails


def small(path: Path) -> object:
    return thumbnails.small(path, 32, "name", "caption", "alt")


def test_a_picture_of_a_foreign_kind_starts_no_other_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow has Ghostscript draw what is PostScript, whatever the file is called."""
    program = tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    picture = tmp_path / "step-0000000010.png"
    picture.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n%%EndComments\nshowpage\n%%EOF\n")
    with Image.open(picture) as opened:
        assert opened.format == "EPS", "Pillow knows it by its content"
    assert small(picture) is None
    assert not (tmp_path / "started").exists()


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    (tmp_path / "folder.png").mkdir()
    whole = tmp_path / "whole.png"
    Image.new("RGB", (64, 48)).save(whole)
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:60])
    for name in ("fifo.png", "device.png", "folder.png", "cut.png", "none.png"):
        assert small(tmp_path / name) is None
    assert small(whole) is not None
