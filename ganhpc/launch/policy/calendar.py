"""Working days, edges, days and nights of one policy in one time zone.

Every instant here is a whole number of seconds since 1970 in UTC, so that lengths are real lengths on the two nights when
the clock changes; only wall-clock times go through the time zone.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
import unicodedata
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from ganhpc.core.errors import UserError, nearest
from ganhpc.core.toml_readers import WEEKDAYS
from ganhpc.launch.policy.policy import PACKAGED, Policy

if TYPE_CHECKING:
    from holidays import HolidayBase

ONE_DAY = dt.timedelta(days=1)
KEPT = PACKAGED / "holidays" / "FR.json"
"""The French holidays of some decades, as the `holidays` library has them (a test compares): to ask it takes too long."""
_LONGEST_REST = 60
"""Days without a working day after which a policy's calendar is taken for a mistake."""


class Edge(NamedTuple):
    """An instant that no job may cross, and its date and time of day on the wall."""

    instant: int
    wall: dt.time
    date: dt.date


class Period(NamedTuple):
    """A day (of a working day), a night between two working days, or a longer rest ('weekend'): [start, end)."""

    start: int
    end: int
    kind: str
    date: dt.date
    """The working day, or the one whose evening begins the rest."""


def seconds_of(moment: dt.datetime) -> int:
    """Whole UTC seconds of a zone-aware moment, rounded up (never earlier than it)."""
    assert moment.tzinfo is not None, f"{moment} has no time zone"
    return math.ceil(moment.timestamp())


class Calendar:
    """Working days and edges of the site, by `policy`, in the time zone `tz`; dates are looked up once."""

    def __init__(self, policy: Policy, tz: dt.tzinfo):
        self.policy = policy
        self.tz = tz
        self._working: dict[dt.date, bool] = {}
        self._periods: dict[tuple[dt.date, str], Period] = {}

    def local(self, instant: int) -> dt.datetime:
        """The instant as a zone-aware date and time."""
        return dt.datetime.fromtimestamp(instant, self.tz)

    def at(self, date: dt.date, wall: dt.time) -> int:
        """The instant when a clock on the wall shows `wall` on `date`.

        The first of the two where the hour is repeated; where it is skipped, as long after the change as `wall` is after
        the skipped hour's beginning (PEP 495, fold 0).
        """
        return int(dt.datetime.combine(date, wall, self.tz).timestamp())

    def _repeated(self, date: dt.date, wall: dt.time) -> int | None:
        """The second instant of a wall-clock time that comes twice."""
        second = int(dt.datetime.combine(date, wall, self.tz).replace(fold=1).timestamp())
        return second if second > self.at(date, wall) else None

    @cached_property
    def _known(self) -> dict[str, dict[str, str]]:
        """Year -> date -> name of the holidays that lie in a file beside the policies; empty where the country has none."""
        country = self.policy.country.upper()
        return json.loads(KEPT.read_text())["years"] if country == KEPT.stem else {}

    @cached_property
    def _holidays(self) -> HolidayBase:
        import holidays  # it reads the calendars of all countries: as much time as all the rest of a launch

        country, _, part = self.policy.country.upper().partition("-")
        try:
            return holidays.country_holidays(country, subdiv=part or None, language="en_US")
        except NotImplementedError:
            countries = holidays.list_supported_countries()
            parts = [f"{country}-{each}" for each in countries.get(country, ())]
            known = nearest(self.policy.country, parts if part and parts else countries)
            name = self.policy.name
            raise UserError(
                f"policy {name!r} has country = {self.policy.country.upper()!r}, which has no calendar: {known}."
            ) from None

    def holiday(self, date: dt.date) -> str:
        """The public holiday's name, or an empty text."""
        if not self.policy.country:
            return ""
        year = self._known.get(str(date.year))
        return str(self._holidays.get(date) or "") if year is None else year.get(date.isoformat(), "")

    def working(self, date: dt.date) -> bool:
        """True if `date` is a working day: one of the policy's weekdays and no public holiday."""
        if date not in self._working:
            weekday = WEEKDAYS[date.weekday()] in self.policy.working_days
            self._working[date] = weekday and not self.holiday(date)
        return self._working[date]

    def next_working(self, date: dt.date, step: int = 1) -> dt.date:
        """The first working day after `date` (before it, with step -1)."""
        for _ in range(_LONGEST_REST):
            date += step * ONE_DAY
            if self.working(date):
                return date
        name = self.policy.name
        raise UserError(f"policy {name!r} has no working day near {date}: check its working_days and country.")

    def edges(self, start: int, end: int, now: int) -> Iterator[Edge]:
        """The edges in [start, end] that a job submitted at `now` may not cross, in order."""
        if not self.policy.edges:
            return
        date, last = self.local(start).date(), self.local(end).date()
        while date <= last:
            for edge in self._edges_of(date):
                if start <= edge.instant <= end and self._stands(edge, now):
                    yield edge
            date += ONE_DAY

    def _edges_of(self, date: dt.date) -> list[Edge]:
        times = [(self.at(date, wall), wall) for wall in self.policy.edges]
        again = [(second, wall) for wall in self.policy.edges if (second := self._repeated(date, wall)) is not None]
        return [Edge(instant, wall, date) for instant, wall in sorted(times + again)]

    def _stands(self, edge: Edge, now: int) -> bool:
        if self.policy.edge_days == "working" and not self.working(edge.date):
            return False
        return not (self.policy.lax and self._lets_cross(edge, self.local(now)))

    def _lets_cross(self, edge: Edge, submitted: dt.datetime) -> bool:
        """The laxer reading of Grid'5000's charter (see Policy.lax)."""
        if submitted.date() != edge.date:
            return False
        if edge.wall == self.policy.day_end:
            return submitted.time() >= self.policy.lax_evening_from
        return edge.wall == self.policy.day_start

    def period(self, instant: int) -> Period:
        """The day, night or weekend that holds `instant`."""
        date = self.local(instant).date()
        if not self.working(date):
            return self._rest(self.next_working(date, -1))
        if instant < self.at(date, self.policy.day_start):
            return self._rest(self.next_working(date, -1))
        if instant >= self.at(date, self.policy.day_end):
            return self._rest(date)
        return self._day(date)

    def _day(self, date: dt.date) -> Period:
        key = (date, "day")
        if key not in self._periods:
            start, end = self.at(date, self.policy.day_start), self.at(date, self.policy.day_end)
            self._periods[key] = Period(start, end, "day", date)
        return self._periods[key]

    def _rest(self, date: dt.date) -> Period:
        key = (date, "rest")
        if key not in self._periods:
            following = self.next_working(date)
            start, end = self.at(date, self.policy.day_end), self.at(following, self.policy.day_start)
            kind = "night" if following == date + ONE_DAY else "weekend"
            self._periods[key] = Period(start, end, kind, date)
        return self._periods[key]

    def periods(self, start: int, end: int) -> Iterator[Period]:
        """The periods that [start, end) touches, in order."""
        while start < end:
            period = self.period(start)
            assert period.end > start, "time goes on"
            yield period
            start = period.end

    def format_instant(self, instant: int) -> str:
        """The instant for a sentence: Mon 23 Nov 19:01."""
        moment = self.local(instant)
        return f"{moment:%a %d %b %H:%M:%S}" if moment.second else f"{moment:%a %d %b %H:%M}"

    def format_edge(self, edge: Edge) -> str:
        """The edge for a sentence: the 09:00 edge of Tue 24 Nov."""
        return f"the {edge.wall:%H:%M} edge of {edge.date:%a %d %b}"


def parse_instant(
    text: str,
    tz: dt.tzinfo,
    now: dt.datetime | None = None,
    option: str = "",
    *,
    this_minute: bool = False,
    later: bool = False,
) -> dt.datetime:
    """The zone-aware moment in `text`: an ISO date and time (local to `tz` unless it has an offset), or, given `now`,
    "now" or a time of day such as 19:01, 19h01 or 19h, meaning the next one.

    `option` names the option in errors. `this_minute`: 19:01 typed within that minute means it; `later`: never `now` itself.
    Of a time of a date that comes twice, the first. Raises UserError for anything else, and for a local time that the change of the
    clocks skips; of a time of day without an option, the next one that is not skipped is taken.
    """
    word, named = unicodedata.normalize("NFKC", text.strip()), f"{option} {text!r}" if option else repr(text)
    if french := re.fullmatch(r"(\d{1,2}) ?[hH] ?(\d{2})?", word, re.ASCII):
        word = f"{french[1]}:{french[2] or '00'}"
    if now is not None and word == "now":
        return now.astimezone(tz)
    if now is not None and (wall := _wall_time(word)) is not None:
        first = now.timestamp()
        if this_minute and word.count(":") == 1:
            first -= first % 60
        return _next_time(wall, tz, first, later, option)
    try:
        moment = dt.datetime.fromisoformat(word)
    except ValueError:
        more = ", 19:01 or now" if now is not None else ""
        raise UserError(f"{named} is not a moment: write it as 2026-11-23T17:30{more}.") from None
    if not 2000 <= moment.year <= 2200:
        raise UserError(f"{named} lies too far away: give a year from 2000 to 2200.")
    if moment.tzinfo is not None:
        return moment.astimezone(tz)
    aware = moment.replace(tzinfo=tz)
    if not _exists(aware):
        raise UserError(f"{named} does not exist in {tz}: the clock skips it; add an offset such as +01:00.")
    return aware


def _wall_time(word: str) -> dt.time | None:
    for form in ("%H:%M", "%H:%M:%S"):
        try:
            return dt.datetime.strptime(word, form).time()
        except ValueError:
            continue
    return None


def _next_time(wall: dt.time, tz: dt.tzinfo, first: float, later: bool, option: str) -> dt.datetime:
    """The next moment from `first` on (UTC seconds; with `later`, behind it) when a clock on the wall shows `wall`."""
    today = dt.datetime.fromtimestamp(first, tz).date()
    for days in range(3):
        moment = dt.datetime.combine(today + days * ONE_DAY, wall, tz)
        for each in (moment, moment.replace(fold=1)):  # it comes twice where the clock is set back
            if each.timestamp() > first or (each.timestamp() == first and not later):
                if _exists(moment):
                    return each
                if not option:
                    break
                raise UserError(
                    f"{option} {wall:%H:%M} does not exist on {moment:%a %d %b} in {tz}: the clock skips it; write another time."
                )
    raise AssertionError("a time of day comes back within three days")


def _exists(moment: dt.datetime) -> bool:
    """True if a zone-aware wall-clock time is not skipped: it survives the way through UTC."""
    back = moment.astimezone(dt.UTC).astimezone(moment.tzinfo)
    return back.replace(tzinfo=None) == moment.replace(tzinfo=None)
