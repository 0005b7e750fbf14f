"""Definitions: options, JSON, signature, variant."""

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
from ganhpc.core.printable import slug
from ganhpc.runs import known_experiments
from ganhpc.runs.experiment import options
from ganhpc.runs.options import Option
from jobs.cifar import Cifar, CourseOptions
from tests.golden import signatures


@pytest.mark.parametrize("name", known_experiments.names())
def test_every_preset_is_sound_and_survives_json(name: str) -> None:
    cls = known_experiments.find(name)
    for preset, definition in cls.presets().items():
        assert definition.preset == preset
        definition.check()
        for option in options(cls):
            option.check(option.get(definition))
        again = known_experiments.from_json(json.loads(json.dumps(definition.to_json())))
        assert again == definition
        assert again.signature == definition.signature


def test_signatures_and_folder_names_of_all_presets_are_those_of_before() -> None:
    assert signatures.signatures() == json.loads(signatures.FILE.read_text())


def test_the_definition_that_is_handed_out_is_a_copy() -> None:
    made = Cifar()
    made.definition["seed"] = 7
    assert made.definition["seed"] == 0 and made.signature == Cifar().signature == made.replace(seed=0).signature


def test_the_signature_covers_every_field_but_resources() -> None:
    base = Cifar()
    for option in options(Cifar):
        if option.path[0] == "resources":
            continue
        value = option.get(base)
        changed: Any = (
            "x" if value is None or isinstance(value, str) else (9,) if isinstance(value, tuple) else value + 1
        )
        *group, name = option.path
        if group:
            changed = dataclasses.replace(getattr(base, group[0]), **{name: changed})
        assert dataclasses.replace(base, **{option.path[0]: changed}).signature != base.signature, option.name
    assert dataclasses.replace(base, preset="course").signature != base.signature
    elsewhere = base.replace(device="cpu", nodes=2, data_root="/somewhere")
    assert elsewhere.signature == base.signature


def test_options_of_a_group_lie_beside_the_others_in_the_definition() -> None:
    made = Cifar(course=CourseOptions(conv=(12, 32)), net="course")
    assert made == Cifar().replace(conv=(12, 32), net="course")
    tree = made.to_json()
    assert tree["conv"] == [12, 32] and tree["channels"] == [32, 64, 104]
    assert not {"course", "compact", "distillation"} & set(tree)
    # As it was before there were groups.
    assert made.signature == "52e0ed8291" and made.variant == "default-netcourse-conv12x32"


def test_the_group_forgets_only_the_seed() -> None:
    assert Cifar(seed=1).group == Cifar(seed=2).group
    assert Cifar(seed=1).signature != Cifar(seed=2).signature
    assert Cifar(lr=0.5).group != Cifar().group


def test_variants_are_readable_and_tell_small_numbers_apart() -> None:
    assert Cifar().variant == "default"
    assert Cifar().replace(time=300.0).variant == "default-time5m"
    assert Cifar.from_preset("course").replace(lr=1e-5, conv=(12, 32)).variant == "course-lr1e-05-conv12x32"
    assert Cifar().replace(name="my run/..").variant == "my-run"
    assert Cifar(seed=3).variant == "default"


@given(st.text(max_size=30))
def test_a_slug_is_a_safe_folder_name(text: str) -> None:
    made = slug(text)
    assert made and "/" not in made and not made.startswith((".", "-")) and Path(made).name == made


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"nosuch": 1}, "no option 'nosuch'"), ({"momentun": 1}, "'momentum'"), ({"batch_size": 0}, "from 1 to 65536"),
        ({"lr": -1.0}, "at least 0"), ({"lr": 0.0}, "more than zero"), ({"lr": float("nan")}, "finite"), ({"net": "cours"}, "'course'"), ({"conv": (0,)}, "--conv"),
    ],
)  # fmt: skip
def test_wrong_values_are_refused_with_what_is_allowed(values: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        Cifar().replace(**values)


def test_unknown_presets_and_experiments_name_the_nearest() -> None:
    with pytest.raises(UserError, match="'tutorial'"):
        Cifar.from_preset("tutoriel")
    with pytest.raises(UserError, match="cifar"):
        known_experiments.find("cifra")


@pytest.mark.parametrize(
    "change",
    [{"format": 0}, {"format": None}, {"surprise": 1}, {"batch_size": None}],
    ids=["older", "none", "more", "invalid"],
)
def test_a_definition_of_another_version_is_refused(change: dict) -> None:
    tree = Cifar().to_json() | change
    if change == {"batch_size": None}:
        del tree["batch_size"]
    with pytest.raises(UserError, match="--new"):
        known_experiments.from_json(tree)


def _scalars(kind: type) -> list[tuple[str, Option]]:
    """Every option of every experiment that takes one number of this kind."""
    return [
        (f"{cls.NAME} {option.flag}", option)
        for cls in map(known_experiments.find, known_experiments.names())
        for option in options(cls)
        if option.type is kind and option.kind not in ("duration", "count")
    ]


@pytest.mark.parametrize("option", [o for _, o in _scalars(float)], ids=[name for name, _ in _scalars(float)])
def test_every_option_that_takes_a_fraction_reads_it_by_the_one_rule(option: Option) -> None:
    def value(text: str) -> float:
        return dataclasses.replace(option, low=None, high=None, choices=()).parse(text)

    assert value("0,25") == value("0.25") == value(",25") == value("2,5e-1") == 0.25
    assert value("1.000,5") == value("1 000,5") == value("1,000.5") == 1000.5
    for text in ("1,234", "0x10", "1e1_0", "1_0", "١", "10²", "½", "1e400", "1e-400", "nan", "inf", "1h", "50%", ""):
        with pytest.raises(UserError, match=re.escape(option.flag)):
            value(text)


@pytest.mark.parametrize("option", [o for _, o in _scalars(int)], ids=[name for name, _ in _scalars(int)])
def test_every_option_that_takes_a_whole_number_reads_it_by_the_one_rule(option: Option) -> None:
    def value(text: str) -> int:
        return dataclasses.replace(option, low=None, high=None, choices=()).parse(text)

    for text in ("1,234", "1 234", "1\u202f234", "1_234", "1'234", "1.234e3", "1234.0"):
        assert value(text) == 1234 and type(value(text)) is int
    for text in ("1.234", "1,5", "0,5", "0x10", "1__0", "٣", "2²", "1e-3", ""):
        with pytest.raises(UserError, match=re.escape(option.flag)):
            value(text)
