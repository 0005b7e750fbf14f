"""`describe`: the figures of the course, several networks, and what is said of options and budgets."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import ClassVar

import pytest
from click.testing import CliRunner

from ganhpc.cli.commands.describe import command
from ganhpc.core.errors import UserError
from ganhpc.runs import known_experiments
from ganhpc.runs.experiment import Budget, Experiment
from ganhpc.runs.options import option


@pytest.fixture(scope="module")
def build():
    return pytest.importorskip("ganhpc.train.describe.describe_experiment").build


def typed(*words: str):
    return CliRunner().invoke(command, words, env={"COLUMNS": "80"}, catch_exceptions=False)


@pytest.mark.slow  # 5 s of processor time: processes of its own
def test_the_tutorials_network_has_the_courses_figures(launch, tmp_path):
    done = launch("describe", "cifar", "--preset", "tutorial", "--json", GANHPC_DATA=str(tmp_path / "empty"))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["params"], found["frozen_params"]) == (62_006, 0)
    assert found["ops"] == {"mul": 651_720, "add": 651_720, "max": 11_236, "other": 0, "total": 1_314_676}
    assert sum(layer["params"] for layer in found["layers"]) == 62_006
    assert found["fvcore"]["macs"] == 651_720
    step = found["training_step"]
    assert step["images"] == 4 and step["macs"] == step["fvcore"]["macs"] > 2 * 4 * 651_720
    assert (found["experiment"], found["preset"], found["network"]) == ("cifar", "tutorial", "course")
    assert not list(tmp_path.iterdir())  # No data were needed, or made.


def test_the_table_at_80_columns():
    done = typed("cifar", "--preset", "tutorial")
    assert max(map(len, done.stdout.splitlines())) <= 80
    for words in ("Conv2d 3→6, 5×5", "W1 6×3×5×5, 6", "62,006", "651,720", "11,236", "fvcore leaves out"):
        assert words in done.stdout


@pytest.mark.slow  # a second of processor time: it computes
def test_the_default_network_keeps_the_strictest_budget():
    found = json.loads(typed("cifar", "--json").stdout)
    assert 200_000 < found["params"] < 250_000
    assert found["network"].startswith("compact ")
    assert "under 250,000" in found["why"]
    assert "a run of 1h takes a narrower one" in found["why"]
    fixed = json.loads(typed("cifar", "--epochs", "3", "--budget-params", "100k", "--json").stdout)
    assert fixed["params"] <= 100_000
    assert "narrower" not in fixed["why"]  # Nothing is measured then.


def test_no_experiment_shows_the_help(launch):
    done = launch("describe")
    assert done.returncode == 0
    assert "cifar" in done.stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["cifra"], "there is no experiment 'cifra': did you mean 'cifar'?"),
        (["cifar", "--preset", "tutorail"], "did you mean 'tutorial'?"),
        (["cifar", "--conv", "6,-3"], "--conv -3 is out of range"),
        (["cifar", "--preset", "course", "--kernel", "15"], "does not fit its input"),
        (["cifar", "--data", "cifar11"], "--data 'cifar11' is not a data set: did you mean 'cifar10'?"),
    ],
)
def test_mistakes_get_a_sentence(words, sentence):
    with pytest.raises(UserError) as error:
        command.main(words, standalone_mode=False)
    assert sentence in str(error.value)


def cifar(**values):
    return known_experiments.find("cifar").from_preset("tutorial").replace(data="synthetic", **values)


def test_options_shape_the_network(build):
    found = build(cifar(linear=(10,)), ["linear"])
    assert found.params == 456 + 2_416 + 400 * 10 + 10 + 10 * 10 + 10
    assert found.notes == ()


def test_options_that_shape_nothing_are_named(build):
    found = build(cifar(momentum=0.5, lr=0.1), ["momentum", "conv"])
    assert found.notes == ("--momentum changes nothing in this network (--net course).",)


def test_a_budget_that_is_too_small_is_said(build):
    (sentence,) = build(cifar(budget_params=50_000), ["budget_params"]).notes
    assert "12,006 over the budget of 50,000" in sentence
    assert "fc1 (Linear) 48,120" in sentence
    assert build(cifar(budget_params=62_006), ["budget_params"]).notes == ()


@dataclass(frozen=True, kw_only=True)
class Pair(Experiment):
    """A made experiment with two networks that share a layer."""

    NAME: ClassVar[str] = "pair"
    TASK: ClassVar[str] = "pair"
    latent: int = option(7, "size of z")
    image_size: int | None = option(16, "side", unit="pixels")


PRESETS = {"default": Pair(data="lines", budget=Budget(time=None))}


@pytest.fixture
def pair(monkeypatch):
    import torch
    from torch import nn

    from ganhpc.train.describe import describe_experiment

    class Generator(nn.Module):
        def __init__(self, latent: int, shape: tuple[int, ...], shared: nn.Module) -> None:
            super().__init__()
            self.latent_dim, self.shape = latent, shape
            self.layer, self.shared = nn.Linear(latent, 3, bias=False), shared

        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return self.shared(self.layer(z))

    def networks(experiment, shape, classes, choices):
        assert (shape, classes, choices["why"]) == ((3, 16, 16), 0, "")
        shared = nn.Linear(3, 3, bias=False)
        critic = nn.Sequential(nn.Flatten(), nn.Linear(768, 3, bias=False), shared)
        return {"generator": Generator(experiment.latent, shape, shared), "critic": critic}

    monkeypatch.setattr(describe_experiment, "module_of", lambda _: SimpleNamespace(networks=networks))
    monkeypatch.setattr(describe_experiment, "training_step", lambda *_: {"error": "it has no task"})
    return PRESETS["default"]


def test_several_networks(build, pair):
    found = build(replace(pair, latent=7), [])
    tree = found.to_json()
    assert list(tree["modules"]) == ["generator", "critic"]
    assert tree["modules"]["generator"]["params"] == 7 * 3 + 9
    assert tree["modules"]["critic"]["params"] == 768 * 3 + 9
    assert tree["params"] == 7 * 3 + 768 * 3 + 9  # The shared layer once.
    assert tree["modules"]["generator"]["inputs"][0]["shape"] == [7]
    assert tree["modules"]["critic"]["inputs"][0]["shape"] == [3, 16, 16]


def test_a_folder_of_images_needs_a_size(build, pair):
    assert build(replace(pair, data="some/folder"), []).params
    with pytest.raises(UserError, match="give --image-size"):
        build(replace(pair, data="some/folder", image_size=None), [])


@pytest.mark.parametrize("words", [("program",), ("program", "--time", "1m")])
def test_a_program_is_not_described(words: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="--measure MODULE:FUNCTION counts its parameters"):
        command.main(list(words), standalone_mode=False)
