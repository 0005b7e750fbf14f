"""`launch.py bench`: its figures fit together, its table can be read, its mistakes are sentences."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
import torch
from rich.console import Console

from ganhpc.cli.commands.bench import show
from ganhpc.core.statistics import Spread
from ganhpc.datasets.types import DataRequest, ImageData
from ganhpc.train.bench import hardware_peaks, input_path, training_steps
from ganhpc.train.bench.__main__ import chosen, seconds_to_90, subjects
from ganhpc.train.data.synthetic import load
from ganhpc.train.flops.counters import training_step_ops
from ganhpc.train.runtime.distributed import Distributed
from ganhpc.train.tasks import network_choice
from jobs.cifar import Cifar
from tests.conftest import Launch

PEERS = Distributed.start("cpu")


@pytest.mark.slow  # 11 s of processor time: processes of its own
def test_bench_measures_without_data(launch: Launch) -> None:
    done = launch(
        "bench", "--quick", "--json", "--device", "cpu", "--networks", "cifar", "--on", "local", OMP_NUM_THREADS="1"
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    names = {row["name"]: row["experiment"] for row in found["rows"]}
    assert {member.name for member in network_choice.FAMILY} | {"course", "tutorial"} == set(names)
    assert set(names.values()) == {"cifar"}
    assert found["device_type"] == "cpu" and found["torch"] == torch.__version__
    for peaks in found["peaks"].values():
        peak = peaks["matmul_ops_per_second"]
        assert peak["n"] > 1 and peak["mean"] > 0 and peak["std"] >= 0
    for row in found["rows"]:
        peaks = found["peaks"][row["precision"]]
        peak = peaks["matmul_ops_per_second"]
        by_precision = {word: seconds["mean"] for word, seconds in row["step_seconds_by_precision"].items()}
        assert set(by_precision) == set(found["peaks"]) and min(by_precision.values()) == by_precision[row["precision"]]
        assert by_precision[row["precision"]] == row["step_seconds"]["mean"]
        assert row["images_per_second"]["n"] > 1
        # The mean of rates is never below the rate of the mean time, and on a busy machine far above it.
        assert row["ops_per_second"]["mean"] >= row["step_ops"] / row["step_seconds"]["mean"] * (1 - 1e-9)
        assert row["share_of_peak"] == pytest.approx(row["step_ops"] / row["step_seconds"]["mean"] / peak["mean"])
        bounds = row["step_ops"] / peak["mean"], row["step_bytes"] / peaks["bytes_per_second"]["mean"]
        assert row["bound_seconds"] == pytest.approx(max(bounds))
        assert row["bound_by"] == ("operations" if bounds[0] >= bounds[1] else "bytes")
        assert row["times_bound"] == pytest.approx(row["step_seconds"]["mean"] / row["bound_seconds"])
        assert row["epochs_an_hour"] == pytest.approx(row["images_per_second"]["mean"] * 3600 / 50_000)
    assert found["input"]["ratio"]["mean"] > 1
    show(found, Console(width=80, record=True))


@pytest.mark.slow  # 5 s of processor time: processes of its own
def test_cuda_where_there_is_none_is_a_sentence(launch: Launch) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    done = launch("bench", "--device", "cuda", "--on", "local")
    assert done.returncode == 2 and done.stderr.strip().endswith("launch.py doctor`.")
    assert "Error: --device cuda: this machine shows no GPU" in done.stderr and "Traceback" not in done.stderr


def subject(experiment: Cifar, data: ImageData) -> training_steps.Subject:
    return training_steps.Subject("course", experiment, data)


def made(name: str, speed: float) -> dict[str, Any]:
    value = Spread.of([speed, speed * 1.1, speed * 0.9]).to_json()
    return {
        "name": name, "experiment": "cifar", "precision": "bf16", "images_per_second": value, "ops_per_second": {**value, "mean": speed * 1e9}, "share_of_peak": 0.31, "bound_by": "operations",
        "times_bound": 3.2, "epochs_an_hour": speed * 0.072, "params": 246_282, "batch_size": 256, "step_seconds": {"mean": 256 / speed},
        "step_seconds_by_precision": {"fp32": {"mean": 512 / speed}, "bf16": {"mean": 256 / speed}},
    }  # fmt: skip


def test_the_choice_is_that_of_a_run() -> None:
    def rows(**speeds: float) -> list[dict[str, Any]]:
        return [made(member.name, speeds.get(member.name, 1.0)) for member in network_choice.FAMILY]

    assert chosen(rows(base=2067.0, large=600.0), 300.0) == "base", "five minutes of two CPU cores"
    assert chosen(rows(base=2067.0, large=600.0), 3600.0) == "large"
    assert chosen(rows(base=500.0), 300.0) == "base, narrowed"
    assert chosen(rows(base=4000.0, wide=3100.0), 300.0) == "wide", "0.75 of the base's epochs"
    assert chosen(rows(base=4000.0, wide=2900.0), 300.0) == "base"


def test_time_to_90_is_epochs_at_the_measured_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    family = [dataclasses.replace(member, epochs_to_90=None) for member in network_choice.FAMILY]
    monkeypatch.setattr(network_choice, "FAMILY", (dataclasses.replace(family[0], epochs_to_90=20.0), *family[1:]))
    assert seconds_to_90(made(family[0].name, 1000.0)) == pytest.approx(20 * 50)
    assert seconds_to_90(made(family[1].name, 1000.0)) is None
    assert seconds_to_90(made("course", 1000.0)) is None


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits(width: int) -> None:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    rows = [
        made("record", 123_456.0),
        made("tutorial", 12.3),
        {**made("cyclegan default", 12_345.0), "experiment": "cyclegan"},
    ]
    names = {input_path.OURS: rows[0]["images_per_second"]}
    show(
        {
            "rows": [{**row, "seconds_to_90": 5000.0} for row in rows], "device": "NVIDIA H100 80GB HBM3", "device_type": "cuda", "threads": 1,
            "torch": "2.15.0", "python": "3.11.2", "ganhpc": "1", "commit": "abc", "precision": "bf16", "compiled": False, "quick": True,
            "seconds": 9.1, "chosen": {"1h": "record", "5m": "large"},
            "peaks": {
                precision: {
                    "matmul_side": 8192, "matmul_ops_per_second": {"mean": rate, "std": 1e12, "n": 3},
                    "bytes_per_second": {"mean": 2.9e12, "std": 1e10, "n": 3},
                }
                for precision, rate in (("fp32", 4e14), ("bf16", 7e14))
            },
            "input": {"images_per_second": names, "ratio": {"mean": 30.0, "std": 1.5, "n": 3}},
        },
        console,
    )  # fmt: skip
    text = console.export_text()
    assert all(len(line) <= width for line in text.splitlines())
    assert "…" not in text
    for word in (
        "123,456 ± 10%",
        "ops",
        "3.2",
        "1h23m",
        "700,000 ± 1,000",
        "400,000 ± 1,000",
        "2,900 ± 10 GB/s",
        "2.00x",
        "173,602",
    ):
        assert word in text


def test_the_larger_bound_counts() -> None:
    found = hardware_peaks.Peaks("fp32", 1024, Spread.of([100.0]), Spread.of([10.0]))
    assert found.bound(ops=200.0, moved=10.0) == (2.0, "operations")
    assert found.bound(ops=200.0, moved=30.0) == (3.0, "bytes")


def test_bytes_are_those_that_operators_read_and_write() -> None:
    x, y = torch.ones(100, 10), torch.ones(10)
    assert training_step_ops(lambda: x + y)["bytes"] == 4 * (1000 + 10 + 1000)
    assert training_step_ops(lambda: x.view(1000))["bytes"] == 0
    assert training_step_ops(lambda: x.add_(1))["bytes"] == 4 * 2000
    assert training_step_ops(lambda: x.t() @ x)["bytes"] == 4 * (1000 + 1000 + 100)
    assert training_step_ops(lambda: y.expand(100, 10) * x)["bytes"] == 4 * (10 + 1000 + 1000), "expanded, not copied"


def test_steps_go_on_from_epoch_to_epoch_and_train() -> None:
    data = load(DataRequest("synthetic", train_images=40))
    made_steps = training_steps.steps_of(subject(Cifar.from_preset("course").replace(batch_size=20), data), PEERS)
    before = [p.clone() for p in made_steps.task.modules["net"].parameters()]
    for _ in range(3):
        figures = made_steps()
    assert made_steps.made == 3 and torch.isfinite(figures["loss"])
    assert not all(torch.equal(a, b) for a, b in zip(before, made_steps.task.modules["net"].parameters(), strict=True))


def test_batches_shrink_on_a_slow_cpu_only_where_a_step_takes_too_long() -> None:
    data = load(DataRequest("synthetic", train_images=600))
    course = Cifar.from_preset("course")
    assert training_steps.affordable(subject(course, data), PEERS, seconds=100.0).experiment.batch_size == 20
    assert (
        training_steps.affordable(
            subject(course.replace(batch_size=256), data), PEERS, seconds=1e-9
        ).experiment.batch_size
        == 8
    )
    assert (
        training_steps.affordable(
            subject(course.replace(batch_size=4), data), PEERS, seconds=1e-9
        ).experiment.batch_size
        == 4
    )


def test_every_network_of_auto_is_measured() -> None:
    names = [each.name for each in subjects("cifar", 40)]
    assert names[:-2] == [member.name for member in reversed(network_choice.FAMILY)]


def test_every_gan_is_measured() -> None:
    names = {each.experiment.NAME for each in subjects("all", 64)}
    assert names == {"cifar", "dcgan", "began", "wgan-gp", "cyclegan", "biggan", "sdpc", "sdpc-gan"}


@pytest.mark.parametrize("name", ["cyclegan", "biggan", "sdpc-gan"])
def test_gans_are_measured_on_sets_of_their_own(name: str) -> None:
    """Two sets for a translation, labels for a conditional GAN; a step of each trains."""
    (found,) = [each for each in subjects("gans", 64) if name == each.experiment.NAME]
    assert set(found.more) == ({"data_b"} if name == "cyclegan" else set())
    small = dataclasses.replace(found, experiment=found.experiment.replace(batch_size=8), precision="bf16")
    assert all(torch.isfinite(value) for value in training_steps.steps_of(small, PEERS)().values())


def test_the_dataloader_gives_what_the_trainer_gets() -> None:
    """Same shape, same normalisation: without shift and mirroring, the same numbers."""
    data = load(DataRequest("synthetic", train_images=20))
    assert data.labels is not None
    theirs = input_path.Pictures(data.images, data.labels)
    theirs.transform.transforms = theirs.transform.transforms[2:]
    image, label = theirs[3]
    ours = input_path.BatchLoader(data.images, data.labels, batch_size=20, mean=input_path.MEAN, std=input_path.STD)
    batch, labels = next(iter(ours.evaluation_batches()))
    assert labels is not None and label == int(labels[3])
    torch.testing.assert_close(image, batch[3])
