"""The operations of a whole training step, without data: the same as those of a step that is really made, and fvcore's beside them."""

from __future__ import annotations

import pytest

from ganhpc.runs.known_experiments import find
from ganhpc.train.describe.describe_experiment import shape_and_classes
from ganhpc.train.describe.step_flops import training_step
from ganhpc.train.flops.counters import training_step_ops
from tests.train.tasks.tiny import CONDITIONAL, TRANSLATORS, VARIANTS, task_of, tiny


@pytest.mark.slow  # 8 s in all
@pytest.mark.parametrize("case", [*VARIANTS, *TRANSLATORS, *CONDITIONAL])
def test_it_is_what_a_real_step_does(case: str) -> None:
    experiment = tiny(case)
    task = task_of(experiment)
    batch = task.batch(0, 0)
    real = training_step_ops(lambda: task.train_step(batch))
    found = training_step(experiment, task.context.data.shape, len(task.context.data.classes))
    assert found["images"] == task.batch_size
    assert (found["ops"], found["macs"]) == (real["ops"], real["macs"])
    assert not found["uncounted"]


@pytest.mark.slow  # 2 s in all
@pytest.mark.parametrize("case", list(VARIANTS))
def test_fvcores_pairs_are_ours(case: str) -> None:
    found = training_step(tiny(case), (3, 16, 16), 0)
    fvcore = found["fvcore"]
    assert fvcore["macs"] == found["macs"] > 0
    assert fvcore["macs"] <= fvcore["total"] < found["ops"]["total"]


def test_the_pairs_of_a_dcgan_step_by_hand() -> None:
    """D twice forward, twice back to its weights and (but for its first layer) its inputs; G once forward and back; D once more forward and
    back to its inputs alone."""
    experiment = find("dcgan").from_preset("tutorial").replace(batch_size=2)
    found = training_step(experiment, *shape_and_classes(experiment))
    # Of one image: the generator's five convolutions, the discriminator's, and the first of each.
    g_first, g = 100 * 512 * 16, 819_200 + 3 * 33_554_432 + 3_145_728
    d_first, d = 3 * 64 * 16 * 32**2, 3_145_728 + 3 * 33_554_432 + 8_192
    of_d, of_g = 2 * (3 * d - d_first), (3 * g - g_first) + 2 * d
    assert found["macs"] == 2 * (of_d + of_g) == found["fvcore"]["macs"]


def test_it_is_alone_whatever_a_shell_keeps_of_a_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    """`describe` waited for ever for the second process of WORLD_SIZE=2."""
    monkeypatch.setenv("WORLD_SIZE", "none")
    experiment = find("dcgan").from_preset("tutorial").replace(batch_size=2)
    assert training_step(experiment, *shape_and_classes(experiment))["images"] == 2
