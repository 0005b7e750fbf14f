"""One value, one signature: whatever spelling a number, a time, a size, a list, a switch or a file is typed in."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganhpc.core import units
from ganhpc.core.errors import UserError
from ganhpc.runs import known_experiments
from ganhpc.runs.experiment import options
from ganhpc.runs.options import Option
from ganhpc.scans.scan_syntax import values_of
from jobs.dcgan import Dcgan
from jobs.program import Program

SPELLED: dict[str, list[tuple[Any, tuple[str, ...]]]] = {
    "duration": [
        (600.0, ("10m", "600s", "0:10:00", "00:10:00", "10min", "0h10", "0h10m", "0,1h4m", "10.0m")),
        (5400.0, ("1h30m", "1h30", "1.5h", "1,5h", "90m", "5400s", "5 400s", "5'400s", "5_400s", "01:30:00")),
        (0.5, ("0.5s", ".5s", "0,5s", ",5s", "0.50s")),
    ],
    "count": [
        (256_000, ("256k", "256000", "0.256M", "0,256M", "256K", "256 000", "256,000", "256_000", "256'000", "2.56e5")),
        (262_144, ("256Ki", "0.25Mi", "262144", "262,144", "262 144")),
    ],
    "cadence": [
        ("1m30s", ("1m30s", "1,5m", "1.5m", "90s", "0:01:30", "0h1m30s", "1 m 30 s")),
        ("1h", ("1h", "60m", "3600s", "1:00:00", "3 600s")),
        ("2m", ("2m", "120s", "2min")),
        ("0.001s", ("0.001s", "0,0010s", "0.0001s")),
        ("500", ("500", "5e2", " 500 ", "500.0")),
        ("1000", ("1000", "1,000", "1 000", "1_000", "1'000", "1e3")),
        ("epoch", ("epoch", "Epoch", " EPOCH ")),
    ],
    "float": [
        (0.001, ("0.001", "1e-3", "0,001", "1E-3", ".001", "0.0010", "10e-4", "1,0e-3", "+0.001")),
        (0.0, ("0", "-0", "0.0", "-0.0", "0e5", ",0")),
        (1.0, ("1", "1.0", "1,0", "1e0", "10e-1")),
    ],
    "int": [(1000, ("1000", "1 000", "1,000", "1_000", "1'000", "1e3", "1000.0", "\uff11000")), (0, ("0", "-0", "0.0"))],
    "bool": [(True, ("yes", "true", "on", "1", "YES")), (False, ("no", "false", "off", "0"))],
    "int list": [((6, 16), ("6,16", "6x16", "6, 16", "6.0,16", "6,16,")), ((), ("none", "None"))],
    "float list": [((0.5, 1.0), ("0.5,1.0", "0.5,1", "5e-1x1", "0.50, 1e0", ".5,1.0"))],
}  # fmt: skip


def _kind(option: Option) -> str:
    if option.type is tuple:
        return f"{option.item.__name__} list"
    return option.kind if option.kind in SPELLED else option.type.__name__


def test_every_option_that_is_no_name_has_spellings_here() -> None:
    """A new option of a kind that is not spelled above is looked at: does it take numbers in a text?"""
    names = {
        option.name
        for cls in map(known_experiments.find, known_experiments.names())
        for option in options(cls)
        if not option.choices and _kind(option) not in SPELLED
    }
    assert names == {"name", "data", "data_b", "data_root", "source", "headline", "measure"}


@pytest.mark.parametrize("name", known_experiments.names())
def test_spellings_of_one_value_are_one_definition(name: str) -> None:
    preset = known_experiments.find(name).presets()["default"]
    for option in options(type(preset)):
        if option.choices or _kind(option) not in SPELLED:
            continue
        unbounded = dataclasses.replace(option, low=None, high=None)
        for value, spellings in SPELLED[_kind(option)]:
            for text in (*spellings, option.show(value)):
                read = unbounded.parse(text)
                assert read == value and type(read) is type(value) and repr(read) == repr(value), (option.flag, text)
            with suppress(UserError):  # outside the bounds of this one
                made = preset.replace(**{option.name: value})
                typed = preset.replace(**{option.name: option.parse(spellings[-1])})
                assert (typed.signature, typed.variant, typed.to_json()) == (
                    made.signature,
                    made.variant,
                    made.to_json(),
                )


def test_a_cadence_given_by_hand_or_scanned_is_the_one_that_is_typed() -> None:
    dcgan = Dcgan()
    option = next(each for each in options(Dcgan) if each.name == "sample_every")
    assert {dcgan.replace(sample_every=word).signature for word in ("90s", "1,5m", "1.5m", "1m30s")} == {
        dcgan.replace(sample_every="1m30s").signature
    }
    assert values_of(option, "90s,1.5m,1m30s,2m") == ("1m30s", "2m")
    for wrong in ("often", "0", "-3", "2 parsecs", "1.000", "1,5", ""):
        with pytest.raises(UserError, match=r"^--sample-every takes epoch, a number of steps such as 500, or a time"):
            option.parse(wrong)


@pytest.mark.parametrize("word", ["epoch", "500", "1", "2m", "1m", "1h", "1h30m", "0.5s", "10s"])
def test_what_was_typed_in_the_shortest_spelling_before_keeps_its_signature(word: str) -> None:
    """Definitions of before have the word as it was typed."""
    assert Dcgan().replace(sample_every=word).definition["sample_every"] == word
    assert known_experiments.from_json(Dcgan(sample_every="90s").to_json()).definition["sample_every"] == "90s", (
        "an old run"
    )


@given(st.integers(1, 10**9), st.sampled_from(["", " ", ",", "_", "'"]))
def test_steps_and_counts_in_groups(n: int, mark: str) -> None:
    grouped = f"{n:,}".replace(",", mark)
    assert units.parse_cadence(grouped) == units.parse_count(grouped) == n


@given(st.integers(1, 10**8), st.booleans())
def test_times_in_any_unit(milliseconds: int, comma: bool) -> None:
    hours, rest = divmod(milliseconds, 3_600_000)
    words = {
        f"{milliseconds / 1000:.4f}s",
        f"{hours}h{rest / 1000:.4f}s",
        f"{hours}h{rest // 60_000}m{rest % 60_000 / 1000:.4f}s",
    }
    shortest = units.format_duration(milliseconds / 1000)
    spelled = {word.replace(".", ",") if comma else word for word in words} | {shortest}
    assert {units.format_cadence(units.parse_cadence(word)) for word in spelled} == {shortest}


def test_a_watched_file_has_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "train.py").write_text("1\n")
    monkeypatch.chdir(tmp_path / "lib")
    spelled = ("train.py", "./train.py", "lib/../train.py", ".//train.py", str(tmp_path / "train.py"))
    values = [
        Program.typed({"command": ("x",), "folder": folder, "watch_files": (name,)})
        for name in spelled
        for folder in (str(tmp_path), "..", f"{tmp_path}/lib/..")
    ]
    assert all(each == values[0] for each in values)
    assert values[0]["watched"][0][0] == "train.py"
    assert len(Program.typed({"command": ("x",), "folder": "..", "watch_files": spelled})["watched"]) == 1
