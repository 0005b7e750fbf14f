"""What a definition leaves open follows the network; what it says holds."""

from __future__ import annotations

from ganhpc.train.tasks import network_choice, recipe
from jobs.cifar import PRESETS, Cifar


def test_few_epochs_and_many_are_augmented_otherwise() -> None:
    few = {"crop": 2, "cutout": 0, "tta": "shift"}
    many = {"crop": 4, "cutout": 8, "tta": "shift"}
    assert recipe.settled(Cifar(), {"net": "compact"}) == recipe.settled(Cifar(), {}) == few
    assert recipe.settled(Cifar(), {"net": "recurrent"}) == recipe.settled(Cifar().replace(net="densenet"), {}) == many
    assert recipe.settled(Cifar().replace(net="compact"), {"net": "recurrent"}) == few
    assert recipe.settled(Cifar().replace(net="course"), {}) == {**few, "tta": "flip"}


def test_what_is_typed_holds() -> None:
    typed = Cifar().replace(crop=0, cutout=16, tta="none")
    assert recipe.settled(typed, {"net": "recurrent"}) == {"crop": 0, "cutout": 16, "tta": "none"}


def test_the_default_with_the_record_network_is_the_record() -> None:
    """Every member of the family that needs many epochs is augmented for them, as the preset `record` says in full."""
    assert recipe.settled(PRESETS["record"], {}) == recipe.settled(Cifar(), {"net": network_choice.FAMILY[0].net})
    assert network_choice.FAMILY[0].net in recipe.DEEP and not {m.net for m in network_choice.FAMILY[1:]} & set(
        recipe.DEEP
    )


def test_exact_presets_are_not_touched() -> None:
    for name in ("course", "tutorial"):
        assert recipe.settled(PRESETS[name], {}) == {"crop": 0, "cutout": 0, "tta": "none"}
