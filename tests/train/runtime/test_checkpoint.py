"""Checkpoints are whole or not there, and the one before is kept."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import struct
import zipfile
from pathlib import Path

import pytest
import torch

from ganhpc.core.errors import UserError
from ganhpc.runs.run_folder import Run
from ganhpc.train.runtime import checkpoint
from tests.helpers import ROOT, trainer_of

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


# --- formats ---

KEPT = {1: ROOT / "tests/old_runs/cifar/course-synthetic-trainimages1k-epochs30-4b712771af"}
"""Format -> a run folder with a checkpoint that a version of that format wrote. Who bumps FORMAT keeps one of the new format here."""


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_checkpoint_of_every_format_is_kept() -> None:
    assert set(KEPT) == set(range(1, checkpoint.FORMAT + 1))


@pytest.mark.parametrize("written", sorted(KEPT))
@pytest.mark.parametrize("ahead", [0, 1, 2])
def test_an_old_file_is_read_whole_or_refused_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int, ahead: int) -> None:  # fmt: skip
    """As it is now, and after the format's next bumps; a file that is refused stays as it is, for the version that made it."""
    folder = Path(shutil.copytree(KEPT[written] / "checkpoints", tmp_path / "checkpoints"))
    before = contents(folder)
    monkeypatch.setattr(checkpoint, "FORMAT", checkpoint.FORMAT + ahead)
    if written == checkpoint.FORMAT:
        found = checkpoint.newest(folder, CPU)
        assert (found.name, found.notes) == ("step-0000000150", [])
        assert found.tree is not None and found.tree["format"] == written
        assert {"networks", "optimizers"} & set(found.tree) or len(found.tree) > 3, "all that a trainer goes on from"
    else:
        with pytest.raises(UserError) as error:
            checkpoint.newest(folder, CPU)
        assert str(error.value) == (
            f"{folder / 'step-0000000150.pt'} is of format {written} and this version reads format {checkpoint.FORMAT}: "
            "use the version that made it, or launch again with --new."
        )
    assert contents(folder) == before


def test_a_run_with_a_checkpoint_of_another_format_is_refused_and_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    """The trainer itself: it neither starts over nor goes on from a part, and its next start by the old version goes on."""
    run = Run(Path(shutil.copytree(KEPT[1], tmp_path / "run")))
    before = contents(run.folder / "checkpoints")
    monkeypatch.setattr(checkpoint, "FORMAT", 2)
    with pytest.raises(UserError, match="is of format 1 and this version reads format 2"):
        trainer_of(run)
    assert contents(run.folder / "checkpoints") == before
    monkeypatch.undo()
    trainer_of(run)
    assert "resumed at step 150" in capsys.readouterr().out


def test_no_older_file_is_taken_where_the_newest_whole_one_is_of_another_format(tmp_path: Path) -> None:
    """A later version has gone on from the older ones: to go back silently would lose its work."""
    checkpoint.save(tmp_path, 1, tree(1))
    checkpoint.save(tmp_path, 2, {**tree(2), "format": checkpoint.FORMAT + 1})
    with pytest.raises(UserError, match=r"step-0000000002\.pt is of format 2"):
        checkpoint.newest(tmp_path, CPU)
    checkpoint.save(tmp_path, 3, tree(3)).write_bytes(b"cut")
    with pytest.raises(UserError, match=r"step-0000000002\.pt is of format 2"):
        checkpoint.newest(tmp_path, CPU)


def test_a_sidecar_says_step_length_and_checksum(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 12, tree(1))
    assert path.name == "step-0000000012.pt"
    data = path.read_bytes()
    about = json.loads(path.with_suffix(".json").read_text())
    assert about == {"step": 12, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    assert torch.load(path, weights_only=True)["format"] == 1


def test_old_ones_go_with_both_files_even_where_one_is_gone_already(tmp_path: Path) -> None:
    for step in (1, 2):
        checkpoint.save(tmp_path, step, tree(step))
    (tmp_path / "step-0000000001.pt").unlink()
    checkpoint.save(tmp_path, 3, tree(3))
    kept = [f"step-000000000{step}.{end}" for step in (2, 3) for end in ("json", "pt")]
    assert sorted(path.name for path in tmp_path.iterdir()) == kept


@pytest.mark.parametrize("content", [b"", b"{}", b'{"step": 9, "bytes": 1, "sha256": ""}'])
def test_broken_ones_of_later_steps_take_no_whole_ones_place(tmp_path: Path, content: bytes) -> None:
    """Both newest are broken and the run starts over: what it saves then stays, and it goes on from it."""
    for step in (100, 200):
        checkpoint.save(tmp_path, step, tree(step)).with_suffix(".json").write_bytes(content)
    for step in (1, 2, 3):
        checkpoint.save(tmp_path, step, tree(step))
        loaded, notes = checkpoint.load(tmp_path, CPU)
        assert loaded is not None and loaded["weights"][0] == step and len(notes) == 2
    whole = {path.stem for path in tmp_path.glob("*.pt")}
    assert whole == {f"step-{step:010d}" for step in (2, 3, 100, 200)}
    last = checkpoint.save(tmp_path, 300, tree(300))
    whole = {path.stem for path in tmp_path.glob("*.pt")}
    assert whole == {f"step-{step:010d}" for step in (3, 100, 200, 300)}, "behind the broken ones a whole one is kept"
    saved = last.read_bytes()
    last.write_bytes(saved[:-1])
    loaded, notes = checkpoint.load(tmp_path, CPU)
    assert loaded is not None and loaded["weights"][0] == 3 and len(notes) == 3
    last.write_bytes(saved)
    checkpoint.save(tmp_path, 400, tree(400))
    assert {path.stem for path in tmp_path.glob("*.pt")} == {"step-0000000300", "step-0000000400"}


def test_somebodys_copies_are_neither_read_nor_removed_and_take_no_place(tmp_path: Path) -> None:
    first = checkpoint.save(tmp_path, 1, tree(1))
    names = (
        "step-best",
        "step-last",
        "step-zz",
        "step-0000000001 (copy)",
        "step-0000000001-mine",
        "step-1",
        "step-\u0663",
        "step-" + "9" * 30,
    )
    for name in names:
        for end in (".json", ".pt"):
            shutil.copyfile(first.with_suffix(end), tmp_path / (name + end))
    for step in (2, 3, 4):
        checkpoint.save(tmp_path, step, tree(step))
        loaded, notes = checkpoint.load(tmp_path, CPU)
        assert loaded is not None and loaded["weights"][0] == step and notes == []
    assert {path.stem for path in tmp_path.iterdir()} == {*names, "step-0000000003", "step-0000000004"}


def test_a_file_that_is_too_long_to_be_a_checkpoint_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert checkpoint.MOST_BYTES == 64 * 2**30
    path = checkpoint.save(tmp_path, 1, tree(1))
    monkeypatch.setattr(checkpoint, "MOST_BYTES", path.stat().st_size)
    assert checkpoint.newest(tmp_path, CPU).tree is not None
    monkeypatch.setattr(checkpoint, "MOST_BYTES", path.stat().st_size - 1)
    assert checkpoint.newest(tmp_path, CPU).notes == [
        "checkpoint step-0000000001 is broken (its checksum does not match): going back to the one before",
        "no whole checkpoint is left: starting over",
    ]


def test_a_broken_one_that_was_passed_over_is_not_named_again(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, tree(1))
    checkpoint.save(tmp_path, 2, tree(2)).write_bytes(b"")
    found = checkpoint.newest(tmp_path, CPU, ["step-0000000001"])
    assert (found.tree, found.name) == (None, "")
    assert [note.split(" (")[0] for note in found.notes] == [
        "checkpoint step-0000000002 is broken",
        "no whole checkpoint is left: starting over",
    ]


def test_tensors_come_to_the_device_that_is_asked_for(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, tree(1))
    found = checkpoint.newest(tmp_path, torch.device("meta"))
    assert found.tree is not None and found.tree["weights"].device.type == "meta"


def test_the_checksum_of_weights_is_the_same_for_ever() -> None:
    weights = {"b": torch.arange(3.0), "a": torch.tensor(2, dtype=torch.int64)}
    digest = hashlib.sha256()
    digest.update(b"a torch.int64 ()\n" + (2).to_bytes(8, "little"))
    digest.update(b"b torch.float32 (3,)\n" + struct.pack("<3f", 0.0, 1.0, 2.0))
    assert checkpoint.weights_sha256(weights) == digest.hexdigest()


def test_an_older_checkpoint_that_vanishes_before_it_is_removed_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = checkpoint._newest_first
    monkeypatch.setattr(checkpoint, "_newest_first", lambda folder: [*listed(folder), folder / "step-0000000001.json"])
    for step in (2, 3, 4):
        checkpoint.save(tmp_path, step, {"step": step})
    assert [path.stem for path in listed(tmp_path)] == ["step-0000000004", "step-0000000003"]


def test_no_variable_of_the_environment_lets_a_checkpoint_run_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch has one that turns weights_only off where a program does not say it."""

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "evil"),)

    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    checkpoint.save(tmp_path, 1, {**tree(1), "evil": Evil()})
    assert checkpoint.load(tmp_path, CPU)[0] is None
    assert not (tmp_path / "evil").exists()


def test_a_checkpoint_is_loaded_onto_the_device_that_is_named(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, tree(1))
    found, _ = checkpoint.load(tmp_path, torch.device("meta"))
    assert found is not None and found["weights"].device.type == "meta"
