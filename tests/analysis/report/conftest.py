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
