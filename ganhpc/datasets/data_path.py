"""The value of --data, or of --data-a and --data-b: a set's name as it is, a folder or zip as the whole path of what it denotes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ganhpc.core.errors import UserError
from ganhpc.core.whoami import expand
from ganhpc.datasets import catalogue

FIRST = "data"
"""The field of a definition that names its data set; where it trains on several, the first one."""


def is_data_field(name: str) -> bool:
    """True if the field `name` of a definition names a data set: data, data_b, data_c and so on."""
    return re.fullmatch(r"data(_[b-z])?", name) is not None


def data_fields(names: Iterable[str]) -> list[str]:
    """Of the fields `names` of a definition, those that name a data set, the first one in front."""
    return sorted(name for name in names if is_data_field(name))


RUN_FIELD = "source"
"""The field of a definition that names a finished run whose exported networks are taken, as a whole path; "" for none."""


def held_fields(definition: Mapping[str, Any]) -> list[str]:
    """The fields whose contents a run is held to: those that name data sets, then the one that names a run."""
    word = definition.get(RUN_FIELD)
    return [*data_fields(definition), *([RUN_FIELD] if isinstance(word, str) and word.startswith("/") else [])]


def data_flag(field: str, names: Iterable[str]) -> str:
    """The option of a held field in a definition with the fields `names`: --data, or --data-a, --data-b and so on; --from."""
    if field == RUN_FIELD:
        return "--from"
    if len(data_fields(names)) == 1:
        return "--data"
    return "--data-" + (field.removeprefix("data_") if field != FIRST else "a")


@contextmanager
def flagged(field: str, names: Iterable[str]) -> Iterator[None]:
    """Within the block, sentences on --data name the option by which `field` of a definition with the fields `names` is typed."""
    try:
        yield
    except UserError as error:
        flag, text = data_flag(field, names), str(error)
        if flag == "--data" or not text.startswith("--data "):
            raise
        raise type(error)(flag + text.removeprefix("--data")) from None


def exists(path: Path | str) -> bool:
    """True if there is something at `path` that can be looked at."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # a folder that may not be entered, a name that is too long or has a zero byte
        return False


def is_path(word: str) -> bool:
    """True if `word`, as a definition has it, means a folder or zip. A set's name means the set, even where a folder is called so."""
    return word not in catalogue.names() and ("/" in word or exists(word))


def denoted(word: str, flag: str = "--data") -> str:
    """`few`, `./few/`, `/abs/few` and a link to it as one absolute path; other words as they are. Raises UserError for no word."""
    if not word.strip():
        raise UserError(
            f"{flag} {word!r} names nothing: give a data set ({', '.join(catalogue.names())}), a folder or a zip."
        )
    if word != word.strip() and not exists(word):
        word = word.strip()  # spaces around it were typed with it; a folder whose name ends with one is meant
    try:
        path = expand(word)
        if not is_path(word) and word[0] != "~":
            return word
        return str(path.resolve())
    except (OSError, RuntimeError) as error:  # a loop of links
        raise UserError(
            f"{flag} {word!r} can't be followed ({getattr(error, 'strerror', None) or error}): check the path."
        ) from None


def place_of(word: str, run: Path) -> str:
    """Where the data of the run in the folder `run` lie that its definition calls `word`.

    Definitions of older versions have relative words, typed in the folder that holds the folder of runs, or else in another one.
    """
    beside = _beside(word, run)
    if word in catalogue.names() or not (is_path(word) or exists(beside)):
        return word
    path = expand(word)
    if path.is_absolute():
        return str(path)
    return str(beside) if exists(beside) else str(Path.cwd() / path)


def older_words(path: str, runs: Path) -> list[str]:
    """Words that older versions may have written into a definition for the folder or zip `path`, when it was typed where the folder `runs` is.

    Relative words are tried where that is the present folder alone: elsewhere nothing tells which folder they were typed in.
    """
    words = [path + "/"]
    if runs.resolve().parent == Path.cwd().resolve():
        short = os.path.relpath(path)
        words += [lead + short + end for lead in ("", "./") for end in ("", "/")]
    return words


def _beside(word: str, run: Path) -> Path:
    return run.resolve().parent.parent.parent / word
