"""The same conversation with the real OAR and with the fake one, and what of it must agree."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from tests.clusters import machine
from tests.clusters.fake_oar import FakeOar
from tests.clusters.machine import wait_until
from tests.clusters.oar import Oar

ENDED = ("Terminated", "Error")


class Side(Protocol):
    """One of the two OARs, with the folder in which its commands are typed."""

    folder: Path

    def run(self, cmd: list[str]) -> Any: ...

    def wait(self, job: int, states: tuple[str, ...], seconds: float) -> None:
        """Let time pass until the job is in one of the states."""

    def end(self, job: int) -> None:
        """Let the job's command, a short one, run to its end."""


@dataclass
class Real:
    """The real OAR; its jobs' files lie in `folder`, which belongs to the test user."""

    oar: Oar
    folder: Path

    def run(self, cmd: list[str]) -> Any:
        return self.oar.as_user(cmd, cwd=self.folder)

    def submit(self, *words: str) -> int:
        """oarsub; returns the job's number."""
        return int(re.findall(r"OAR_JOB_ID=(\d+)", self.run(["oarsub", *words]).stdout)[-1])

    def facts(self, job: int) -> dict[str, Any]:
        """All that oarstat tells of a job; its events in their order."""
        facts = json.loads(self.run(["oarstat", "-J", "-f", "-j", str(job)]).stdout)[str(job)]
        facts["events"].sort(key=lambda event: event["event_id"])
        return dict(facts)

    def events(self, job: int) -> list[str]:
        """The types of a job's events."""
        return [event["type"] for event in self.facts(job)["events"]]

    def state(self, job: int) -> str:
        words = self.run(["oarstat", "-s", "-j", str(job)]).stdout.split()
        return words[-1] if words else ""

    def wait(self, job: int, states: tuple[str, ...], seconds: float) -> None:
        def there() -> bool:
            if (state := self.state(job)) == "Waiting":
                self.oar.nudge()
            return state in states

        wait_until(there, seconds, f"state {' or '.join(states)} of job {job}", pause=0.5)

    def end(self, job: int) -> None:
        self.wait(job, ENDED, 120)  # a busy machine takes its time


@dataclass
class Fake:
    """The fake OAR, whose clock stands."""

    oar: FakeOar
    folder: Path

    def run(self, cmd: list[str]) -> Any:
        return self.oar.run(cmd, cwd=self.folder)

    def wait(self, job: int, states: tuple[str, ...], seconds: float) -> None:
        for _ in range(int(seconds)):
            if self.oar.job(job)["state"] in states:
                return
            self.oar.advance(1)
        raise AssertionError(f"job {job} is {self.oar.job(job)['state']}, not {states}, after {seconds} s")

    def end(self, job: int) -> None:
        self.wait(job, ("Running",), 10)
        self.oar.run_job(job)


@dataclass
class Talk:
    """A conversation with one side, and its record: commands, return codes and what was printed, made comparable."""

    side: Side
    base: datetime  # an instant of the future that reservations refer to: the same for both sides
    record: list[tuple[str, int, Any, str]] = field(default_factory=list)
    first: int = 0

    def say(self, *cmd: str) -> str:
        """Run a command, record it; returns its standard output."""
        done = self.side.run(list(cmd))
        self.record.append((" ".join(cmd), done.returncode, comparable(done.stdout), masked(done.stderr)))
        return str(done.stdout)

    def submit(self, *words: str) -> int:
        """oarsub; returns the job's number."""
        number = int(re.findall(r"OAR_JOB_ID=(-?\d+)", self.say("oarsub", *words))[-1])
        self.first = self.first or number
        return number

    def at(self, **later: float) -> str:
        """A date of the future as -r wants it."""
        return (self.base + timedelta(**later)).strftime("%Y-%m-%d %H:%M:%S")


def masked(text: str) -> str:
    """Without the words of the database, the details of a usage, instants and durations."""
    text = re.sub(r"Bad resource request \(ERROR:.*?\)?\n(?=\[ERROR\])", "Bad resource request\n", text, flags=re.S)
    text = re.sub(r"(?s)(Usage: .*?)\n.*", r"\1\n", text)
    text = re.sub(r"\d{10}", "INSTANT", text)
    return re.sub(r"\d+:\d\d:\d\d(?= [RW]=)", "DURATION", text)


def comparable(text: str) -> Any:
    """Printed JSON as data without instants, other text masked."""
    if not text.startswith("{"):
        return re.sub(r"(?m)^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d>", "DATE>", masked(text))
    data = json.loads(text)
    return {number: _facts(facts) if isinstance(facts, dict) else facts for number, facts in data.items()}


def _facts(facts: dict[str, Any]) -> dict[str, Any]:
    kept = dict(facts)
    if kept["state"] in ENDED:
        kept.pop("scheduledStart", None)  # the real one forgets it a moment after the end
    for name in ("submissionTime", "startTime", "stopTime", "scheduledStart"):
        if name in kept:
            kept[name] = bool(kept[name])
    events = sorted(kept.get("events", []), key=lambda event: event["event_id"])
    kept["events"] = [(event["type"], masked(event["description"])) for event in events]
    return kept


def difference(real: Talk, fake: Talk) -> str:
    """Line by line, what only the real one said (-) and what only the fake one said (+); empty when they agree."""
    sides = [json.dumps(talk.record, indent=1, sort_keys=True).splitlines() for talk in (real, fake)]
    return "\n".join(difflib.unified_diff(sides[0], sides[1], "real", "fake", lineterm="", n=6))


def hold(talk: Callable[[Talk], None], real: Oar, folder: Path, state: Path) -> tuple[Talk, Talk]:
    """Hold a conversation with both, the fake one's jobs numbered as the real one's; returns (real, fake)."""
    base = datetime.now().replace(hour=10, minute=0, second=0, microsecond=0) + timedelta(days=2)
    with_real = Talk(Real(real, folder), base)
    talk(with_real)
    fake = FakeOar(state, now=datetime.now(), user=machine.USER, job=max(with_real.first - 1, 0))
    with_fake = Talk(Fake(fake, folder), base)
    talk(with_fake)
    return with_real, with_fake
