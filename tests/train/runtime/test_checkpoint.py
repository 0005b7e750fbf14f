"""Checkpoints are whole or not there, and the one before is kept."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from pathlib import Path

import pytest
import torch

from ganhpc.core.errors import UserError
from ganhpc.train.runtime import checkpoint

CPU = torch.device("cpu")


def tree(value: float) -> dict:
    return {"weights": torch.full((3,), value), "words": ["a", 1, None], "nested": {"x": torch.arange(3)}}


def test_the_newest_comes_back_and_two_are_kept(tmp_path: Path) -> None:
    for step in (1, 20, 300):
        checkpoint.save(tmp_path, step, tree(step))
    loaded, notes = checkpoint.load(tmp_path, CPU)
    assert loaded is not None and notes == []
    assert torch.equal(loaded["weights"], torch.full((3,), 300.0))
    assert loaded["words"] == ["a", 1, None]
    assert sorted(p.stem for p in tmp_path.glob("*.pt")) == ["step-0000000020", "step-0000000300"]


@pytest.mark.parametrize("damage", ["cut", "flip", "gone", "sidecar"])
def test_a_broken_newest_falls_back_and_says_so(tmp_path: Path, damage: str) -> None:
    checkpoint.save(tmp_path, 1, tree(1))
    newest = checkpoint.save(tmp_path, 2, tree(2))
    data = bytearray(newest.read_bytes())
    if damage == "cut":
        newest.write_bytes(data[: len(data) // 2])
    elif damage == "flip":
        data[len(data) // 2] ^= 1
        newest.write_bytes(data)
    elif damage == "gone":
        newest.unlink()
    else:
        newest.with_suffix(".json").write_text('{"sha')
    loaded, notes = checkpoint.load(tmp_path, CPU)
    assert loaded is not None and loaded["weights"][0] == 1
    assert len(notes) == 1 and "step-0000000002 is broken" in notes[0]


def test_nothing_whole_means_starting_over(tmp_path: Path) -> None:
    assert checkpoint.load(tmp_path, CPU) == (None, [])
    checkpoint.save(tmp_path, 1, tree(1)).write_bytes(b"")
    loaded, notes = checkpoint.load(tmp_path, CPU)
    assert loaded is None and "starting over" in notes[-1]


def test_a_kill_between_weights_and_sidecar_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, tree(1))
    whole = checkpoint.save(tmp_path, 2, tree(2))
    whole.with_suffix(".json").unlink()
    loaded, notes = checkpoint.load(tmp_path, CPU)
    assert loaded is not None and loaded["weights"][0] == 1 and notes == []


def test_a_pickle_with_code_is_never_run(tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "attacked",))

    path = checkpoint.save(tmp_path, 1, tree(1))
    torch.save({"format": 1, "attack": Attack()}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps({"sha256": digest}))
    loaded, notes = checkpoint.load(tmp_path, CPU)
    assert loaded is None and "does not hold what a checkpoint does" in notes[0]
    assert not (tmp_path / "attacked").exists()


def resealed(path: Path, data: bytes) -> None:
    """A checkpoint of these bytes, with the right checksum: a foreign one."""
    path.write_bytes(data)
    about = {"step": 1, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    path.with_suffix(".json").write_text(json.dumps(about))


def saved(content: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def bomb() -> bytes:
    """A small file that would take a gigabyte: the part with the numbers is compressed."""
    file = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(saved({"format": 1, "x": torch.zeros(2**20)}))) as whole,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for part in whole.infolist():
            packed.writestr(part.filename, whole.read(part))
    return file.getvalue()


@pytest.mark.parametrize(
    "data",
    [b"", b"\x80\x04cposix\nsystem\n(S'true'\ntR.", b"PK\x05\x06" + bytes(18), saved([1]), saved({"a": 1}), saved({"format": "x"}), saved({"format": True}), bomb()],
    ids=["empty", "pickle", "zip", "list", "no format", "text format", "flag format", "bomb"],
)  # fmt: skip
def test_foreign_content_of_the_right_checksum_is_a_broken_file(tmp_path: Path, data: bytes) -> None:
    checkpoint.save(tmp_path, 1, tree(1))
    resealed(checkpoint.save(tmp_path, 2, tree(2)), data)
    loaded, notes = checkpoint.load(tmp_path, CPU)
    assert loaded is not None and loaded["weights"][0] == 1
    assert len(notes) == 1 and "step-0000000002 is broken (it does not hold what a checkpoint does)" in notes[0]


def test_a_fifo_for_a_checkpoint_is_not_waited_for(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, tree(1))
    path = checkpoint.save(tmp_path, 2, tree(2))
    path.unlink()
    os.mkfifo(path)
    assert checkpoint.load(tmp_path, CPU)[0] is not None


def test_those_that_did_not_fit_are_passed_over(tmp_path: Path) -> None:
    for step in (1, 2):
        checkpoint.save(tmp_path, step, tree(step))
    found = checkpoint.newest(tmp_path, CPU, ["step-0000000002"])
    assert (found.name, found.notes) == ("step-0000000001", [])
    found = checkpoint.newest(tmp_path, CPU, ["step-0000000002", "step-0000000001"])
    assert found.tree is None and "starting over" in found.notes[-1]


def test_another_format_is_refused(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, {**tree(1), "format": 99})
    with pytest.raises(UserError, match="format 99"):
        checkpoint.load(tmp_path, CPU)


def test_the_checksum_of_weights_sees_values_names_and_shapes() -> None:
    base = {"a": torch.arange(6.0)}
    same = {"a": torch.arange(12.0).view(6, 2)[:, 0] / 2}
    assert checkpoint.weights_sha256(base) == checkpoint.weights_sha256(same)
    others = [
        {"b": torch.arange(6.0)},
        {"a": torch.arange(6.0).view(2, 3)},
        {"a": torch.arange(6.0).double()},
        {"a": torch.arange(6.0) + 1e-6},
    ]
    assert len({checkpoint.weights_sha256(w) for w in [base, *others]}) == 5
