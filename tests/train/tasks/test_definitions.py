"""The definitions: presets with the published counts, the seeds' findings, what is refused."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from ganhpc.core.errors import UserError
from ganhpc.runs.experiment import options
from ganhpc.runs.known_experiments import find
from ganhpc.train.describe.describe_experiment import build, shape_and_classes
from ganhpc.train.tasks.task import module
from tests.conftest import Launch

COUNTS = [
    ("dcgan", "w13", {}, {"generator": 6_065_155, "discriminator": 2_791_105}),
    ("dcgan", "tutorial", {}, {"generator": 3_576_704, "discriminator": 2_765_568}),
    ("began", "w5", {}, {"generator": 489_539, "discriminator": 1_471_043}),
    ("began", "default", {"net": "abegan"}, {"generator": 341_827, "discriminator": 1_323_331}),
    ("wgan-gp", "lines", {}, {"generator": 18_727_043, "critic": 6_264_065}),
    ("wgan-gp", "small", {}, {"generator": 99_982, "critic": 95_297}),
]


@pytest.mark.slow  # a second of processor time: it computes
@pytest.mark.parametrize(("name", "preset", "values", "counts"), COUNTS)
def test_presets_describe_the_published_networks(name: str, preset: str, values: dict, counts: dict[str, int]) -> None:
    found = build(find(name).from_preset(preset).replace(**values), list(values)).to_json()
    assert {part: about["params"] for part, about in found["modules"].items()} == counts
    assert all(about["ops"]["total"] > 2 * about["macs"] > 0 for about in found["modules"].values())
    assert found["params"] == sum(counts.values()) and not found["notes"]


def test_a_shared_net_is_counted_once() -> None:
    found = build(find("began").from_preset("w5-sabegan"), []).to_json()
    assert found["params"] == found["modules"]["discriminator"]["params"] == 1_323_331


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        *((name, {}) for name in ("dcgan", "began", "wgan-gp", "cyclegan")),
        *(("cifar", {"net": net}) for net in ("course", "compact", "recurrent", "convmixer", "densenet")),
    ],
)
def test_networks_are_made_from_the_options_that_the_definition_names(name: str, changes: dict[str, str]) -> None:
    """`describe` says of the others that they change nothing."""
    experiment = find(name).from_preset("default").replace(**changes)
    shape, classes = shape_and_classes(experiment)
    own = experiment.network_options()
    assert own <= {option.name for option in options(type(experiment))}
    fields = {option.name: option.get(experiment) for option in options(type(experiment)) if option.name in own}
    only = SimpleNamespace(**fields, network_fields=lambda: {key: fields[key] for key in fields if key != "net"})
    found, whole = (module(experiment.TASK).networks(e, shape, classes, {}) for e in (only, experiment))
    assert {n: str(net) for n, net in found.items()} == {n: str(net) for n, net in whole.items()}


@pytest.mark.slow  # 5 s of processor time: processes of its own
def test_describe_from_the_command_line(launch: Launch) -> None:
    done = launch("describe", "dcgan", "--preset", "w13", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["modules"]["generator"]["params"] == 6_065_155


def test_presets_are_those_of_the_sources() -> None:
    w13: Any = find("dcgan").from_preset("w13")
    assert (w13.rate_g, w13.rate_d, w13.beta1, w13.beta2, w13.bn_eps) == (4e-4, 4e-5, 0.5, 0.999, 5e-5)
    assert (w13.batch_size, w13.latent_dim, w13.flip, w13.real_label, w13.image_size) == (
        64,
        100,
        "random",
        (0.9, 1.0),
        64,
    )
    best: Any = find("dcgan").from_preset("w13-best")
    assert (best.rate_g, best.rate_d, best.bn_eps, best.batch_size) == (1e-4, 1e-5, 0.5, 16)
    tutorial: Any = find("dcgan").from_preset("tutorial")
    assert (tutorial.rate_g, tutorial.rate_d, tutorial.batch_size, tutorial.real_label) == (2e-4, 2e-4, 128, (1.0, 1.0))
    began: Any = find("began").from_preset("default")
    assert (began.rate_g, began.rate_d, began.batch_size, began.latent_dim, began.image_size) == (
        1e-4,
        1e-4,
        32,
        64,
        32,
    )
    assert (began.gamma, began.lambda_k, began.k_range, began.stall_epochs, began.stall_factor) == (
        0.5,
        0.001,
        (0.0, 1.0),
        10,
        0.9,
    )
    lines: Any = find("wgan-gp").from_preset("lines")
    assert (lines.rate_g, lines.batch_size, lines.critic_steps, lines.penalty, lines.beta1) == (2e-4, 16, 5, 10.0, 0.5)
    assert (lines.image_size, lines.latent_dim, lines.data, lines.sample_rows, lines.sample_columns) == (
        128,
        100,
        "lines",
        5,
        5,
    )


def test_options_are_typed_as_the_issue_names_them() -> None:
    flags = {o.flag: o for o in options(find("began"))}
    assert flags["--variant"].parse("sabegan") == "sabegan"
    assert flags["--k-range"].parse("0.005,0.995") == (0.005, 0.995)
    made = find("began").from_preset("default").replace(net="abegan", k_range=(0.005, 0.995))
    assert made.variant == "default-variantabegan-krange0.005x0.995"
    assert type(made).from_json(json.loads(json.dumps(made.to_json()))) == made


@pytest.mark.parametrize(
    ("name", "values", "match"),
    [
        ("began", {"k_range": (0.9, 0.1)}, "--k-range 0.9,0.1"),
        ("began", {"k_range": (0.5,)}, "--k-range 0.5"),
        ("dcgan", {"real_label": (1.0, 0.9)}, "--real-label"),
        ("dcgan", {"lr": 0.0}, "--lr"),
        ("wgan-gp", {"critic_steps": 0}, "--critic-steps"),
        ("wgan-gp", {"batch_size": 1}, "--batch-size 1"),  # batch normalisation of vectors has nothing to compare
        ("wgan-gp", {"generator": "rows"}, "conv, strips"),
    ],
)
def test_what_cannot_be_is_refused(name: str, values: dict[str, Any], match: str) -> None:
    with pytest.raises(UserError, match=match):
        find(name).from_preset("default").replace(**values)
