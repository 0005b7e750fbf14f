"""Further words for sbatch and oarsub that the settings have, read as those commands read them: what the policy decides is refused."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from typing import NamedTuple

from ganhpc.core.errors import UserError
from ganhpc.launch.schedulers.script_text import argument


class Takes(Enum):
    """True if an option has a value."""

    NOTHING = 0
    ONE = 1
    PERHAPS = 2
    """Only joined to the option: --export=ALL, --nice."""


class Word(NamedTuple):
    """One option as its command understands it: its long name (as typed where it is not known) and its value."""

    name: str
    value: str
    typed: tuple[str, ...]


class Grammar(NamedTuple):
    """The options of one command."""

    command: str
    takes: Mapping[str, Takes]
    """By long name."""
    short: Mapping[str, str]
    """Letter -> long name."""
    refused: Mapping[str, str]
    """Long name -> what to do instead of it."""
    directive: str
    """First word of a script's line with options."""
    example: str
    """One option and its value, for sentences."""
    check: Callable[[Word, str, str], None] | None = None
    """Raises UserError for a value that the policy decides; gets the option, the entry and its key."""
    ignores_case: bool = False
    short_equals: bool = False
    """True if the value behind a letter may begin with =: -t=5."""

    def long(self, typed: str) -> list[str]:
        """The options that `typed` may stand for: itself, or those that it abbreviates."""
        name = typed.lower() if self.ignores_case else typed
        return [name] if name in self.takes else [each for each in self.takes if each.startswith(name)]


def names(text: str) -> list[str]:
    """Long names, from text with a blank between them."""
    return text.split()


def letters(text: str) -> dict[str, str]:
    """Letter -> long name, from text such as "A=account a=array"."""
    return dict(pair.split("=") for pair in text.split())


DECIDED = "the policy and the plan decide it"
START = f"{DECIDED}: `night --from` names a moment to start"
ONE_SEGMENT = "one job is one segment of a run: --seeds and --scan make several runs"
OURS = "the launcher finds its jobs and their logs by it"
NO_JOB = "with it nothing is submitted, or no number of a job is said: --dry-run shows what would be sent"

BY_TYPE = "--type"
"""The key of words that were chosen on the command line: who types --type night wants the night's rules beside the plan's."""


def read(grammar: Grammar, options: Sequence[str], by_type: Sequence[str] = (), *, key: str = "options") -> list[Word]:
    """The settings' options and those of a job type, an entry of which may hold several words. `key`: where the options are written.

    Raises UserError for what the policy decides.
    """
    words: list[Word] = []
    for place, lines in ((key, options), (BY_TYPE, by_type)):
        for line in lines:
            words += _checked(grammar, _words(line, place), line, place)
    return words


def _words(line: str, key: str) -> list[str]:
    if re.match(r"\s*#", line):
        bare = re.sub(r"^\s*#\s*(SBATCH|OAR)\s*", "", line)
        raise UserError(
            f"{key} has {line!r}, which begins with #: write the words alone, such as {key} = [{quoted(bare)}]."
        )
    try:
        return shlex.split(argument(line, key))
    except ValueError as error:
        raise UserError(f"{key} has {line!r}, whose quotes don't match ({error}): close them.") from None


def plain_name(text: str, key: str) -> str:
    """A name of the site's that the settings have under `key`, for one word of a command. Raises UserError for the option and its name."""
    text = argument(text, key)
    if text.lstrip().startswith("-"):
        bare = re.sub(r"^\s*(--[\w-]*[=\s]*|-\w?[=\s]*)", "", text).strip("\"' ")
        raise UserError(
            f"{key} is {text!r}, which begins with a dash: write the name alone, {key} = {quoted(bare or 'NAME')}."
        )
    return text


def quoted(text: str) -> str:
    return f'"{text}"' if '"' not in text else f"'{text}'"


def _checked(grammar: Grammar, words: Sequence[str], line: str, key: str) -> Iterator[Word]:
    for word, candidates in _read(grammar, words, line, key):
        for name in candidates:
            if why := grammar.refused.get(name):
                raise UserError(
                    f"{key} has {line!r}, which sets --{name} of {grammar.command}: {why}; take it out of {key}."
                )
        if grammar.check:
            grammar.check(word, line, key)
        yield word


def _read(grammar: Grammar, words: Sequence[str], line: str, key: str) -> Iterator[tuple[Word, list[str]]]:
    """Each option of the words with the options that it may stand for."""
    rest = list(words)
    while rest:
        first = rest.pop(0)
        if first in (":", "hetjob", "packjob"):
            raise UserError(
                f"{key} has {line!r}, which makes a heterogeneous job: {ONE_SEGMENT}; take it out of {key}."
            )
        if first == "--" or not first.startswith("-") or first == "-":
            raise UserError(
                f"{key} has {line!r}, in which {first!r} is no option of {grammar.command}: write each entry as an option "
                f'and its value, such as {key} = ["{grammar.example}"].'
            )
        yield from (
            _long(grammar, first, rest, line, key)
            if first.startswith("--")
            else _short(grammar, first, rest, line, key)
        )


def _lacks_value(word: str, line: str, key: str) -> UserError:
    """The error on an option at the end of an entry, whose command would take the next word of ours for its value."""
    return UserError(
        f"{key} has {line!r}, in which {word} lacks its value: write both as one entry, {key} = [{quoted(line + ' VALUE')}]."
    )


def _long(grammar: Grammar, first: str, rest: list[str], line: str, key: str) -> Iterator[tuple[Word, list[str]]]:
    typed, joined, value = first[2:].partition("=")
    candidates = grammar.long(typed)
    name = candidates[0] if len(candidates) == 1 else typed
    takes = {grammar.takes[each] for each in candidates}
    used = [first]
    if not joined and rest and (Takes.ONE in takes or (not takes and not rest[0].startswith("-"))):
        value = rest.pop(0)
        used.append(value)
    elif not joined and takes == {Takes.ONE}:
        raise _lacks_value(first, line, key)
    yield Word(name, value, tuple(used)), candidates


def _short(grammar: Grammar, first: str, rest: list[str], line: str, key: str) -> Iterator[tuple[Word, list[str]]]:
    letters = first[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        name = grammar.short.get(letter)
        if name is None:
            raise UserError(f"{key} has {line!r}, but {grammar.command} has no option -{letter}: write its long name.")
        takes, value, used = grammar.takes[name], "", [f"-{letter}"]
        if takes is not Takes.NOTHING and letters:
            value, letters = letters, ""
            used = [f"-{letter}{value}"]
        elif takes is Takes.ONE and rest:
            value = rest.pop(0)
            used.append(value)
        elif takes is Takes.ONE:
            raise _lacks_value(f"-{letter}", line, key)
        yield Word(name, value.removeprefix("=") if grammar.short_equals else value, tuple(used)), [name]
