"""The public holidays that are kept in a file are those of the library, which is asked for all others."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys

from ganhpc.launch.policy.calendar import KEPT, Calendar
from ganhpc.launch.policy.policy import Policy
from tests.golden import holidays_of


def test_the_kept_holidays_are_the_librarys() -> None:
    kept = json.loads(KEPT.read_text())["years"]
    assert {year: set(days) for year, days in kept.items()} == {
        year: set(days) for year, days in holidays_of.table().items()
    }, "`python -m tests.golden.holidays_of` writes the file anew"


def test_years_and_countries_that_are_not_kept_are_asked_for() -> None:
    france, germany = (Calendar(Policy("p", country=country), dt.UTC) for country in ("fr", "DE"))
    assert [france.working(dt.date(year, 7, 14)) for year in (2026, 2053)] == [False, False]
    assert france.holiday(dt.date(2026, 7, 14)) == france.holiday(dt.date(2053, 7, 14)) != ""
    assert not germany.working(dt.date(2028, 10, 3))
    assert germany.working(dt.date(2026, 7, 14))


def test_a_french_plan_needs_no_calendar_library() -> None:
    code = (
        "import datetime as dt, sys; from ganhpc.launch.policy.calendar import Calendar; from ganhpc.launch.policy.policy import load_policy;"
        "print(Calendar(load_policy('student'), dt.UTC).working(dt.date(2026, 12, 25)), 'holidays' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
