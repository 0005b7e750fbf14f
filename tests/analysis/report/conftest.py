"""Real tiny runs, trained once for all tests of reports."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ganhpc.runs.run_folder import Run
from tests.helpers import finish, made
from tests.run_folders import done, stopped
from tests.train.tasks import tiny


@pytest.fixture(scope="session")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two epochs of the course's network on made images."""
    run = made(tmp_path_factory.mktemp("cifar"), seed=1, test_batch_size=100, budget_params=256_000)
    finish(run)
    return run


@pytest.fixture(scope="session")
def gan(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two epochs of WGAN-GP on lines."""
    run = tiny.made(tmp_path_factory.mktemp("gan"), "wgan-gp")
    finish(run)
    return run


@pytest.fixture(scope="session")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs with a scan of 2 x 2 values and two seeds, a crashed run, and a name that is markup."""
    runs = tmp_path_factory.mktemp("scan") / "runs"
    names = []
    for a, lr in enumerate((0.01, 0.02)):
        for b, dropout in enumerate((0.0, 0.5)):
            for seed in (0, 1):
                run = done(
                    runs, 0.5 + 0.1 * a + 0.03 * b + 0.01 * seed, preset="course", lr=lr, dropout=dropout, seed=seed
                )
                names.append(run.name)
    fields = [
        {"name": "lr", "flag": "--lr", "values": [0.01, 0.02]},
        {"name": "dropout", "flag": "--dropout", "values": [0.0, 0.5]},
    ]
    tree = {
        "format": 1,
        "mode": "product",
        "created": "2026-11-23T17:30:00+01:00",
        "updated": "2026-11-23T17:30:00+01:00",
        "name": "rates",
        "experiment": "cifar",
        "base": {},
        "fields": fields,
        "seeds": 2,
        "runs": [*names, "gone-0123456789"],
    }
    (runs / "cifar" / "rates.scan.json").write_text(json.dumps(tree))
    crashed = stopped(runs, "crashed", "<script>alert(1)</script> | *loss* became nan", lr=9.0)
    (crashed.folder / "metrics.jsonl").write_text(
        '{"kind": "epoch", "step": 0, "epoch": 0.0, "test_accuracy": 0.1}\nnot json\n'
    )
    (crashed.folder / "log.txt").write_text("<b>the end</b>\x1b[31m\n")
    return runs


@pytest.fixture(scope="session")
def translated(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An epoch of CycleGAN, with measures as if they had been made."""
    run = tiny.made(tmp_path_factory.mktemp("translated"), "cyclegan", epochs=1)
    finish(run)
    way = {
        "frechet": {"translated": 150.0, "floor": 40.0, "nothing": 250.0, "colour": 240.0, "untrained": 380.0},
        "kernel": {"translated": 0.2, "floor": 0.0, "nothing": 0.4, "colour": 0.35, "untrained": 0.8},
        "cycle": {"plain": 0.1, "noise": 0.3, "jpeg": 0.11},
        "identity": 0.2,
        "content": {"kept": 0.7, "chance": 0.002},
        "diversity": {"translated": 0.5, "target": 0.6},
    }
    back = {
        **way,
        "frechet": {**way["frechet"], "translated": 230.0},
        "cycle": {"plain": 0.1, "noise": 0.1, "jpeg": 0.1},
    }  # type: ignore[dict-item]
    _measured(
        run, {"translation": {"images": 500, "a2b": way, "b2a": back}}, {"frechet_a2b": 150.0, "frechet_b2a": 230.0}
    )
    return run


@pytest.fixture(scope="session")
def conditional(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An epoch of BigGAN, with measures as if they had been made."""
    run = tiny.made(tmp_path_factory.mktemp("conditional"), "biggan", epochs=1)
    finish(run)
    about = {
        "n": 50, "FD-EffLite0": 99.5, "FD-EffLite0-train": 44.5, "accuracy": 0.25, "accuracy_real": 0.875, "diversity": 0.31,
        "diversity_real": 0.44,
    }  # fmt: skip
    tree = {"conditional": {"classes": {f"grating-{k}": about for k in range(10)}}}
    _measured(run, tree, {"class_accuracy": 0.25, "class_accuracy_real": 0.875})
    return run


def _measured(run: Run, evaluation: dict, result: dict) -> None:
    for path, more in ((run.evaluation_json, evaluation), (run.result_json, result)):
        path.write_text(json.dumps(json.loads(path.read_text()) | more))
