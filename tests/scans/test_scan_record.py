"""The record of a scan: written, merged, found by name, and what its runs' values are."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganhpc.core.errors import UserError
from ganhpc.runs.run_folder import Run
from ganhpc.scans import scan_record
from ganhpc.scans.scan_record import Field, Scan
from tests.helpers import small

RATES = Field("lr", "--lr", (0.1, 0.2))


def made(folder: Path, *fields: Field, runs: tuple[str, ...] = (), **values: Any) -> Scan:
    base = {"experiment": "cifar", "batch_size": 20}
    return Scan(folder / "cifar", "rates", **{  # type: ignore[arg-type]
        "experiment": "cifar", "base": base, "mode": "product", "fields": fields or (RATES,), "seeds": 1, "runs": runs, **values
    })  # fmt: skip


def test_a_record_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    layers = Field("conv", "--conv", ([6, 16], [12, 32]))
    written = scan_record.record(made(tmp_path, RATES, layers, runs=("a-0123456789", "b-0123456789")))
    tree = json.loads((tmp_path / "cifar" / "rates.scan.json").read_text())
    assert list(tree) == [
        "format", "name", "experiment", "base", "mode", "fields", "seeds", "runs", "created", "updated"
    ]  # fmt: skip
    assert tree["fields"][1] == {"name": "conv", "flag": "--conv", "values": [[6, 16], [12, 32]]}
    assert scan_record.read(written.path) == written
    assert scan_record.scans(tmp_path) == [written]
    assert list(Run.all(tmp_path)) == [], "a scan is no run"


def test_more_values_are_merged_and_the_order_is_kept(tmp_path: Path) -> None:
    first = scan_record.record(made(tmp_path, runs=("a", "b")))
    more = Field("lr", "--lr", (0.4, 0.2))
    second = scan_record.record(made(tmp_path, more, runs=("c", "b"), seeds=3))
    assert second.fields[0].values == (0.1, 0.2, 0.4)
    assert (second.runs, second.seeds, second.created) == (("a", "b", "c"), 3, first.created)
    assert len(list(tmp_path.glob("cifar/*"))) == 1


def test_another_base_or_other_options_get_another_name(tmp_path: Path) -> None:
    scan_record.record(made(tmp_path, runs=("a",)))
    other = scan_record.record(made(tmp_path, runs=("b",), base={"batch_size": 40}))
    assert re.fullmatch(r"rates-[0-9a-f]{6}", other.name)
    again = scan_record.record(made(tmp_path, runs=("c",), base={"batch_size": 40}))
    assert (again.name, again.runs) == (other.name, ("b", "c"))
    third = scan_record.record(made(tmp_path, RATES, Field("crop", "--crop", (1, 2)), runs=("d",)))
    assert third.name not in ("rates", other.name)
    assert scan_record.load("cifar/rates", tmp_path).runs == ("a",)


def test_a_run_begun_afresh_takes_the_older_ones_place(tmp_path: Path) -> None:
    scan_record.record(made(tmp_path, runs=("a-0123456789", "b-1123456789")))
    assert scan_record.record(made(tmp_path, runs=("a-0123456789-2",))).runs == ("a-0123456789-2", "b-1123456789")


def test_values_are_those_of_the_runs_themselves(tmp_path: Path) -> None:
    runs = [Run.open(tmp_path, small(lr=lr, epochs=epochs, seed=4)) for lr, epochs in ((0.1, 1), (0.2, 2))]
    fields = (RATES, Field("epochs", "--epochs", (1, 2)))
    written = scan_record.record(made(tmp_path, *fields, runs=(*(run.name for run in runs), "gone-0123456789")))
    assert written.values() == {
        runs[0].name: {"lr": 0.1, "epochs": 1, "seed": 4}, runs[1].name: {"lr": 0.2, "epochs": 2, "seed": 4}
    }  # fmt: skip


def test_a_scan_is_found_by_its_path_its_name_or_a_beginning(tmp_path: Path) -> None:
    written = scan_record.record(made(tmp_path))
    scan_record.record(dataclasses.replace(made(tmp_path), name="ranges"))
    for text in (str(written.path), "rates", "cifar/rates", "rates.scan.json", "rat"):
        assert scan_record.load(text, tmp_path) == written
    with pytest.raises(UserError, match="names 2 scans"):
        scan_record.load("ra", tmp_path)
    with pytest.raises(UserError, match="did you mean 'cifar/rates'"):
        scan_record.load("cifar/ratse", tmp_path)
    with pytest.raises(UserError, match="there are no scans below"):
        scan_record.load("rates", tmp_path / "nothing")


def test_an_exact_name_is_needed_where_other_words_may_be_meant(tmp_path: Path) -> None:
    written = scan_record.record(made(tmp_path, runs=("gone-0123456789",)))
    for text in (str(written.path), "rates", "cifar/rates"):
        assert scan_record.exact(text, tmp_path) == written
    assert scan_record.exact("rat", tmp_path) is None and scan_record.exact("rates", tmp_path / "nothing") is None
    assert written.missing == 1
    other = dataclasses.replace(made(tmp_path), folder=tmp_path / "dcgan", experiment="dcgan")
    scan_record.record(other)
    with pytest.raises(UserError, match="type the experiment's name before it"):
        scan_record.exact("rates", tmp_path)


@pytest.mark.parametrize(
    "text", ['{"format": 1}', "{", "[]", '{"format": 2}', '{"format": 1, "fields": [1], "runs": 3}']
)
def test_a_file_that_is_no_scan_is_told_and_hides_no_other(tmp_path: Path, text: str) -> None:
    written = scan_record.record(made(tmp_path))
    (tmp_path / "cifar" / "odd.scan.json").write_text(text)
    said: list[str] = []
    assert scan_record.scans(tmp_path, said.append) == [written]
    assert len(said) == 1 and "odd.scan.json" in said[0]
    with pytest.raises(UserError, match=re.escape("odd.scan.json")):
        scan_record.read(tmp_path / "cifar" / "odd.scan.json")


values = st.lists(st.sampled_from([1e-5, 1e-4, 0.1, 1]), unique=True, min_size=1)


@given(values, values)
def test_merging_twice_changes_nothing(first: list[float], second: list[float]) -> None:
    def of(chosen: list[float]) -> Scan:
        return made(Path("x"), Field("lr", "--lr", tuple(chosen)), runs=tuple(map(str, chosen)))

    once = of(first).merged(of(second))
    assert once.merged(of(second)) == once
    assert set(once.fields[0].values) == {*first, *second}
    assert once.runs[: len(first)] == tuple(map(str, first))


def test_a_name_of_a_record_that_no_folder_can_have_is_a_missing_run(tmp_path: Path) -> None:
    (tmp_path / "cifar" / "here").mkdir(parents=True)
    names = ("here", "x" * 300, "a\0b", "\ud800", "gone")
    scan = scan_record.record(made(tmp_path, runs=names))
    assert scan_record.read(scan.path).missing == 4
    assert [run.name for run in scan.run_folders() if run.is_there()] == ["here"]
    assert scan.values() == {}
