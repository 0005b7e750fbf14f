"""A run whose folders are links into another run is not trained: it would replace and remove the other's checkpoints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ganhpc.core.errors import UserError
from ganhpc.runs.foreign_folders import must_be_own
from ganhpc.runs.run_folder import Run, State
from tests.helpers import made, train


@pytest.fixture
def two(tmp_path: Path) -> tuple[Run, Run]:
    """A run with a checkpoint, and one of another seed."""
    one, other = made(tmp_path), made(tmp_path, seed=7)
    one.checkpoints.mkdir()
    (one.checkpoints / "step-0000000001.pt").write_text("the other's")
    return one, other


@pytest.mark.parametrize("name", ["checkpoints", "samples", "tb"])
def test_a_link_into_another_run_is_refused_by_whoever_holds_the_run(two: tuple[Run, Run], name: str) -> None:
    one, other = two
    (one.folder / name).mkdir(exist_ok=True)
    (other.folder / name).symlink_to(f"../{one.name}/{name}")
    said = f"{re.escape(name)} is a link into another run, .*move the link away"
    with pytest.raises(UserError, match=said), other.hold():
        pass
    (other.folder / name).unlink()
    (other.folder / name).symlink_to(one.folder)
    with pytest.raises(UserError, match="is a link into another run"):
        must_be_own(other.folder)


def test_a_link_to_a_folder_of_another_disk_is_the_users_own(two: tuple[Run, Run], tmp_path: Path) -> None:
    _, other = two
    (tmp_path / "scratch").mkdir()
    other.checkpoints.symlink_to(tmp_path / "scratch")
    (other.folder / "own").mkdir()
    other.samples.symlink_to("own")
    other.tensorboard.symlink_to("tb")  # it leads in a circle, which the trainer says itself
    (tmp_path / "linked").symlink_to(other.folder)
    for folder in (other.folder, tmp_path / "linked"):
        must_be_own(folder)
    with other.hold():
        pass


@pytest.mark.slow
def test_a_trainer_leaves_the_others_checkpoints_as_they_are(two: tuple[Run, Run]) -> None:
    one, other = two
    other.checkpoints.symlink_to(one.checkpoints)
    before = {path.name: path.read_bytes() for path in one.checkpoints.iterdir()}
    done = train(other)
    assert done.returncode != 0 and "is a link into another run" in done.stderr and "Traceback" not in done.stderr
    assert {path.name: path.read_bytes() for path in one.checkpoints.iterdir()} == before
    assert other.run_status().state is not State.DONE
