"""A scan's combinations: products, pairs, seeds, names that tell them apart, and what is recorded."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganhpc.core.errors import UserError
from ganhpc.runs import known_experiments
from ganhpc.runs.experiment import Experiment
from ganhpc.scans import grid
from ganhpc.scans.named import named_scans
from jobs.cifar import Cifar
from jobs.dcgan import Dcgan

RUNS = Path("runs")


def made(*texts: str, zipped: bool = False, seeds: int = 1, base: Experiment | None = None) -> list[Experiment]:
    found = grid.read(Cifar, texts, zipped=zipped)
    return found.experiments(base or Cifar.from_preset("course"), seeds)


def test_a_product_is_the_default_and_the_first_seed_of_all_comes_first() -> None:
    found = made("lr=0.1,0.2", "crop=1,2", seeds=2)
    assert [(e.lr, e.crop, e.seed) for e in found if isinstance(e, Cifar)] == [
        (lr, crop, seed) for seed in (0, 1) for lr in (0.1, 0.2) for crop in (1, 2)
    ]
    assert len({e.group for e in found}) == 4


def test_zip_pairs_values_and_lists_must_be_as_long() -> None:
    found = made("lr=0.1,0.2", "crop=1,2", zipped=True)
    assert [(e.lr, e.crop) for e in found if isinstance(e, Cifar)] == [(0.1, 1), (0.2, 2)]
    with pytest.raises(UserError, match="lr has 3, crop has 2"):
        made("lr=0.1,0.2,0.3", "crop=1,2", zipped=True)


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        (("lr=1", "lr=2"), "scanned twice"),
        (("lr",), "has no values: write --scan lr=V1,V2"),
        (("nosuch",), "cifar has no scan 'nosuch'"),
        (("lr=0.0,1.0",), "--lr 0 must be more than zero"),
        (("lr=1:2:999", "crop=1,2,3,4", "cutout=1,2,3"), "makes 11,988 runs, more than 1,000"),
    ],
)
def test_mistakes_are_sentences(texts: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        made(*texts)


def test_a_name_of_ones_own_tells_the_runs_apart() -> None:
    base = Cifar.from_preset("course").replace(name="mine")
    assert [e.variant for e in made("lr=1e-05,0.5", base=base)] == ["mine-lr1e-05", "mine-lr0.5"]
    found = grid.read(Cifar, ["lr=1,2"], zipped=False)
    assert found.record(base, 1, RUNS, []).name == "mine"


def test_the_record_has_the_base_without_what_is_scanned() -> None:
    found = grid.read(Cifar, ["time=1m,2m", "conv=6x16,8"], zipped=False)
    kept = found.record(Cifar(), 3, RUNS, ["a", "b"])
    assert (kept.name, kept.mode, kept.seeds, kept.runs, kept.folder) == (
        "time-conv",
        "product",
        3,
        ("a", "b"),
        RUNS / "cifar",
    )
    assert [field.values for field in kept.fields] == [(60.0, 120.0), ([6, 16], [8])]
    assert not {"conv", "seed"} & set(kept.base) and set(kept.base["budget"]) == {"epochs", "budget_params"}


def test_more_values_and_seeds_are_the_same_scan() -> None:
    first, more = (grid.read(Cifar, [text, "crop=1,2"], zipped=False) for text in ("lr=1,2", "lr=3,1"))
    assert first.record(Cifar(), 1, RUNS, []).key == more.record(Cifar(), 5, RUNS, []).key
    assert first.record(Cifar(), 1, RUNS, []).key != first.record(Cifar(cutout=8), 1, RUNS, []).key


@pytest.mark.parametrize("name", known_experiments.names())
def test_every_named_scan_can_be_run(name: str) -> None:
    cls = known_experiments.find(name)
    for word, found in named_scans(cls).items():
        read = grid.read(cls, [word], zipped=False)
        runs = read.experiments(cls.from_preset(found.preset), 1)
        assert len({e.signature for e in runs}) == len(runs) > 1, word
        assert (read.name, read.mode, read.preset) == (word, "named", found.preset)


rates = st.lists(st.floats(1e-12, 10, exclude_min=True), min_size=1, max_size=4, unique=True)
layers = st.lists(st.lists(st.integers(1, 4096), min_size=1, max_size=4), min_size=1, max_size=3, unique_by=tuple)


@pytest.mark.slow  # a second of processor time: it computes
@settings(deadline=None)
@given(rates, rates, layers, st.booleans())
def test_names_tell_all_runs_apart(first: list[float], second: list[float], widths: list[list[int]], gan: bool) -> None:
    cls = Dcgan if gan else Cifar
    names = ("lr_g", "lr_d") if gan else ("lr", "side_lr")
    texts = [f"{name}={','.join(map(repr, values))}" for name, values in zip(names, (first, second), strict=True)]
    if not gan:
        texts += [
            "conv=" + ",".join("x".join(map(str, w)) for w in widths),
            "flip=none,random,alternate",
            "nesterov=yes,no",
        ]
    found = grid.read(cls, texts, zipped=False).experiments(cls(), 1)
    assert len({e.variant for e in found}) == len({e.group for e in found}) == len(found)
    assert all(len(e.variant) <= 150 and set(e.variant) <= set(SAFE) for e in found)


SAFE = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.+-_"
