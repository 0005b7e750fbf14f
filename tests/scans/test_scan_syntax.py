"""Words and values behind --scan: which option is meant, lists, ranges, and the sentences on mistakes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganhpc.core.errors import UserError
from ganhpc.runs.experiment import options
from ganhpc.runs.options import Option
from ganhpc.scans.scan_syntax import find_option, readable, shown, values_of
from jobs.began import Began
from jobs.cifar import Cifar
from jobs.dcgan import Dcgan
from jobs.program import Program


def option(name: str) -> Option:
    return find_option(Cifar, name)


@pytest.mark.parametrize(
    ("word", "name"),
    [("lr_g", "lr_g"), ("lr-g", "lr_g"), ("--lr-g", "lr_g"), ("lrG", "lr_g"), ("eps", "bn_eps"), ("b1", "beta1"), ("B2", "beta2"),
     ("latentDim", "latent_dim"), ("latent", "latent_dim"), ("batchsize", "batch_size"), ("time", "time"), ("lr", "lr")],
)  # fmt: skip
def test_an_option_is_found_however_it_is_written(word: str, name: str) -> None:
    assert find_option(Dcgan, word).name == name


def test_a_flag_that_is_not_the_fields_name_is_known() -> None:
    assert find_option(Began, "variant").name == "net"


@pytest.mark.parametrize(
    ("word", "sentence"),
    [("lr_q", "did you mean 'lr_g'"), ("size", "type batch_size or image_size"), ("seed", "type --seeds K"),
     ("device", "does not change what is trained"), ("preset", "does not change what is trained"), ("", "no such option")],
)  # fmt: skip
def test_another_word_is_a_sentence_with_the_nearest_names(word: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        find_option(Dcgan, word)


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("lr", "1e-4,2e-4", (1e-4, 2e-4)),
        ("lr", "1e-05, 0.00001,3e-5", (1e-5, 3e-5)),
        ("lr", "1e-5:1e-3:log5", (1e-5, 3.16e-5, 1e-4, 0.000316, 1e-3)),
        ("lr", "0.1:0.3:lin3", (0.1, 0.2, 0.3)),
        ("lr", "0.3:0.1:3", (0.3, 0.2, 0.1)),
        ("lr", "0.5,1:4:lin4", (0.5, 1.0, 2.0, 3.0, 4.0)),
        ("batch_size", "8:64:log4", (8, 16, 32, 64)),
        ("crop", "1:3:lin5", (1, 2, 3)),
        ("conv", "6x16,12x32", ((6, 16), (12, 32))),
        ("conv", "6", ((6,),)),
        ("extra_conv", "none,8x8", ((), (8, 8))),
        ("flip", "none,random", ("none", "random")),
        ("nesterov", "yes,no", (True, False)),
        ("time", "5m,01:30:00", (300.0, 5400.0)),
        ("time", "1m:3m:lin3", (60.0, 120.0, 180.0)),
        ("train_images", "1k:4k:3", (1000, 2500, 4000)),
        ("held_out", "none,5k", (None, 5000)),
    ],
)
def test_lists_and_ranges(name: str, text: str, values: tuple[object, ...]) -> None:
    assert values_of(option(name), text) == values


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("lr", "1e-4,x", "--lr takes a number of at least 0, not 'x'"),
        ("lr", "", "a value is missing"),
        ("lr", "1,,2", "a value is missing"),
        ("lr", "1:2", "a range is FIRST:LAST:N"),
        ("lr", "1:2:1", "2 to 1,000 values"),
        ("lr", "1:1:3", "two different ends"),
        ("lr", "1:2:100000", "2 to 1,000 values"),
        ("lr", "0:1:log3", "needs ends above zero"),
        ("lr", "1:x:log3", "not 'x'"),
        ("batch_size", "1.5", "a whole number from 1 to"),
        ("batch_size", "0,8", "out of range"),
        ("lr", "0.1,1.000,5", "may be a list or decimals"),
        ("lr", "0.1:0.3:٣", "a range is FIRST:LAST:N"),
        ("flip", "sideways", "alternate, none, random"),
        ("flip", "a:b:3", "is not allowed"),
    ],
)
def test_a_wrong_value_is_a_sentence_with_the_type(name: str, text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        values_of(option(name), text)


@settings(deadline=None)
@given(
    st.floats(1e-9, 1e9), st.floats(1e-9, 1e9), st.integers(2, 40), st.booleans()
)  # fmt: skip
def test_points_of_a_range_are_rounded_and_stay_apart(first: float, last: float, n: int, log: bool) -> None:
    if math.isclose(first, last, rel_tol=1e-3):
        return
    steps = [k / (n - 1) for k in range(n)]
    exact = [first * (last / first) ** s if log else first + (last - first) * s for s in steps]
    points = readable(exact)
    assert (points[0], points[-1]) == (exact[0], exact[-1])
    assert len(set(points)) == n
    assert sorted(points, reverse=last < first) == points


@settings(deadline=None)
@given(st.data())
def test_what_is_shown_is_read_back(data: st.DataObject) -> None:
    chosen = data.draw(st.sampled_from([o for o in options(Cifar) if o.type in (int, float, tuple) and not o.kind]))
    item = st.floats(chosen.low or 0, chosen.high or 1e6) if float in (chosen.type, chosen.item) and chosen.type is not int else st.integers(
        math.ceil(chosen.low or 0), math.floor(chosen.high or 10**6)
    )  # fmt: skip
    value = data.draw(st.lists(item, min_size=1, max_size=3).map(tuple) if chosen.type is tuple else item)
    assert values_of(chosen, shown(chosen, value)) == (value,)


@pytest.mark.parametrize(
    ("word", "text", "values"),
    [
        ("data", "few,./few,few/", ("few", "./few", "few/")),  # a folder of the program's, and none of ours
        ("url", "http://here:80,b", ("http://here:80", "b")),
        ("walltime", "01:30:00,2:00:00", ("01:30:00", "2:00:00")),
        ("x", "a:b:3", ("a:b:3",)),
        ("width", "32:128:lin4", ("32", "64", "96", "128")),
        ("width", "10:1:3", ("10", "5.5", "1")),
        ("lr", "1.0:3.0:3", ("1.0", "2.0", "3.0")),
        ("width", "32 : 128 : lin 4", ("32", "64", "96", "128")),
        ("lr", "1e-5:1e-3:log3", ("1e-05", "0.0001", "0.001")),
        ("n", "1_000:3_000:3", ("1000.0", "2000.0", "3000.0")),
    ],
)
def test_values_of_a_program_are_passed_as_typed(word: str, text: str, values: tuple[str, ...]) -> None:
    assert values_of(find_option(Program, word), text) == values
