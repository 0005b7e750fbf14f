"""Result of a check of the machine: good, worth a look, or broken, with the sentence that fixes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Level(str, Enum):
    """Severity."""

    GOOD = "good"
    NOTE = "note"
    """Training works without it, or can get it by itself."""
    BAD = "bad"
    """Training needs it and it is broken."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Finding:
    """One line of `doctor`."""

    name: str
    level: Level
    text: str
    fix: str = ""
    """The fix: a sentence with a command to type."""
    facts: dict[str, Any] = field(default_factory=dict)
    """The same for programs."""

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "level": self.level.value, "text": self.text, "fix": self.fix, **self.facts}


def good(name: str, text: str, **facts: Any) -> Finding:
    return Finding(name, Level.GOOD, text, "", facts)


def note(name: str, text: str, fix: str, **facts: Any) -> Finding:
    return Finding(name, Level.NOTE, text, fix, facts)


def bad(name: str, text: str, fix: str, **facts: Any) -> Finding:
    return Finding(name, Level.BAD, text, fix, facts)
