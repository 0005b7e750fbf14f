"""data.json and its like, damaged or with wrong values: a run is never held to nothing for it, and no value ends in a traceback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from ganhpc.core.errors import UserError
from ganhpc.core.files import write_json
from ganhpc.datasets import held_data
from ganhpc.runs.run_folder import Run
from jobs.dcgan import Dcgan
from tests.faults import folders


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on three pictures, held to them."""
    home = tmp_path_factory.mktemp("held")
    (home / "few").mkdir()
    for k in range(3):
        Image.new("RGB", (16, 16), (80 * k, 10, 10)).save(home / "few" / f"{k}.png")
    experiment = Dcgan().replace(data=str(home / "few"))
    run = Run.open(home / "runs", experiment)
    held_data.hold(run.folder, experiment.definition)
    return run


def looked(run: Run) -> None:
    """All that a view asks of a record."""
    definition = run.experiment().definition
    held_data.record_of(run.folder)
    assert isinstance(held_data.place(run.folder, definition["data"]), str)
    held_data.require_places(run.folder, definition)
    held_data.chosen([run.folder, run.folder], run.folder.parent, definition)


def refused(run: Run) -> None:
    """A launch, a job and a reader of pictures: each says what to do."""
    definition = run.experiment().definition
    for ask in (
        lambda: held_data.hold(run.folder, definition),
        lambda: held_data.compare(run.folder, definition),
        lambda: held_data.check(run.folder, definition["data"], "0" * 24),
    ):
        with pytest.raises(UserError, match=r"data\.json is damaged, or of another version: .* --new|can't be read"):
            ask()


@pytest.mark.parametrize("damage", sorted(set(folders.DAMAGES) - {"nowhere"}))
def test_a_record_that_is_something_else_holds_the_run_all_the_same(held: Run, damage: str) -> None:
    path = held.folder / "data.json"
    whole = path.read_bytes()
    try:
        folders.DAMAGES[damage](path)
        looked(held)
        refused(held)
    finally:
        folders._away(path)
        path.write_bytes(whole)


@pytest.mark.parametrize("field", ["format", "path", "pictures", "fingerprint", "shape"])
def test_values_that_no_field_of_a_record_expects(held: Run, field: str) -> None:
    path, definition = held.folder / "data.json", held.experiment().definition
    tree = json.loads(path.read_bytes())
    for value in folders.WRONG:
        path.write_bytes(folders.encoded({**tree, field: value}))
        held_data.record_of(held.folder)
        held_data.chosen([held.folder, held.folder], held.folder.parent, definition)
        try:
            held_data.hold(held.folder, definition)
        except UserError:
            continue
        # A value of the right type is one that may have been written: only what the pictures are held to counts.
        assert (
            value == 1
            or field == "shape"
            or (field == "pictures" and type(value) is int)
            or (field == "path" and isinstance(value, str))
        )
    write_json(path, tree)
    assert held_data.hold(held.folder, definition) == ""


def test_a_list_of_contents_of_wrong_values_costs_only_the_names(held: Run) -> None:
    import gzip

    path, definition = held.folder / "data-files.gz", held.experiment().definition
    whole, picture = path.read_bytes(), Path(definition["data"]) / "1.png"
    kept = picture.read_bytes()
    Image.new("RGB", (16, 16), (1, 2, 3)).save(picture)
    try:
        for value in folders.WRONG:
            for tree in (value, {"1.png": value}, {"0.png": "x", "": value}):
                path.write_bytes(gzip.compress(folders.encoded(tree)))
                with pytest.raises(held_data.DataChanged, match="of 3, "):
                    held_data.hold(held.folder, definition)
    finally:
        path.write_bytes(whole)
        picture.write_bytes(kept)
