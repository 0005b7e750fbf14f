"""Numbers as tables, summaries and reports show them: at the ends of their units, very small ones, and zero, which has no sign."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from ganhpc.analysis.report.translation import NO_BREAK, Translator
from ganhpc.cli.views.results_table import figure, per_cent, seconds
from ganhpc.core.units import human_number, human_rate
from ganhpc.datasets.image_decoding import Picture, decode
from ganhpc.runs.experiment import options
from ganhpc.train.loop.epoch_line import epoch_line
from jobs.cifar import Cifar


@pytest.mark.parametrize(
    ("value", "text"),
    [(999.6, "1.00 k"), (999_999, "1.00 M"), (999_500_000, "1.00 G"), (999_400_000, "999 M"), (-999_999, "-1.00 M"), (0, "0")],
)  # fmt: skip
def test_a_number_that_rounds_up_takes_the_next_prefix(value: float, text: str) -> None:
    assert human_number(value) == text
    in_a_report = Translator("en").large(value).replace(NO_BREAK, " ").replace("\u2212", "-")
    assert in_a_report == (text if value else "0.00")


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (0.041, "0.041"), (0.4, "0.4"), (3.24, "3.2"), (9.99, "10"), (10.4, "10"), (1005.7, "1,006")]
)  # fmt: skip
def test_a_slow_training_has_more_than_no_images_a_second(value: float, text: str) -> None:
    assert human_rate(value) == Translator("en").rate(value) == text
    assert value == 0 or f"| {text} images/s" in epoch_line(1.0, 1, None, {}, "", ("", None), value, {})


def test_zero_has_no_sign() -> None:
    en = Translator("en")
    assert (figure(-0.0), per_cent(-0.0), per_cent(-1e-9)) == ("0", "0.00 %", "0.00 %")
    assert (en.number(-0.0), en.plain(-0.0), en.per_cent(-1e-9)) == ("0.00", "0", "0.00%")
    assert (figure(-1e-9), per_cent(-0.01)) == ("-1e-09", "-1.00 %")


@pytest.mark.parametrize(
    ("value", "text"),
    [(59.97, "1 min"), (59.94, "59.9 s"), (119.96, "2 min"), (3599.97, "1 h"), (3659.7, "1 h 1 min"), (7259.6, "2 h 1 min"), (3661, "1 h 1 min 1 s")],
)  # fmt: skip
def test_no_time_of_a_report_has_sixty_seconds(value: float, text: str) -> None:
    assert Translator("en").seconds(value).replace(NO_BREAK, " ") == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.04, "0.04s"), (0.58, "0.6s"), (9.94, "9.9s"), (59.97, "1m"), (0.0, "0s")]
)
def test_a_short_time_is_more_than_none(value: float, text: str) -> None:
    assert seconds(value) == text


@pytest.mark.parametrize(
    ("odd", "words"), [(1, "1 pixel is no finite number,"), (2, "2 pixels are no finite numbers,")]
)
def test_pixels_that_are_no_numbers_agree_with_their_verb(odd: int, words: str) -> None:
    values = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    values[3, :odd] = np.nan
    file = io.BytesIO()
    Image.fromarray(values).save(file, "TIFF")
    made = decode(file.getvalue(), 16)
    assert isinstance(made, Picture) and made.change.startswith(words)


def test_the_bounds_of_an_option_are_told_exactly() -> None:
    seed = next(option for option in options(Cifar) if option.name == "seed")
    assert seed.expected == "a whole number from 0 to 2147483647"
