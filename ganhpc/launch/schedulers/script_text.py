"""Text that becomes part of a script: shell words, comments, directives, each of them one line. `fill` takes no other text.

Scripts of jobs and of nights run under bash, in any locale: words are ASCII, whatever bytes a path has.
"""

from __future__ import annotations

import os
import re
import shlex
import string
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

from ganhpc.core.errors import UserError
from ganhpc.core.settings import ROOT


class ScriptText(str):
    """Text that was made by one of the functions of this module, and may stand in a script."""

    __slots__ = ()


def _one_line(text: str) -> bool:
    """True if `text` is one line of printable text: no line break, tab, control character or invalid byte."""
    return text.isprintable()


def word(text: str | Path) -> ScriptText:
    """`text` as one word of a line that bash reads."""
    raw = str(text)
    if raw.isascii() and raw.isprintable():
        return ScriptText(shlex.quote(raw))
    return ScriptText(f"$'{_octal(raw)}'")


def _octal(text: str, keep: str = r" !#$%&()*+,\-./:;<=>?@\[\]^_`{|}~") -> str:
    """The bytes of `text`, those beside letters, digits and `keep` as octal escapes."""
    plain = re.compile(rf"[A-Za-z0-9{keep}]")
    letters = (chr(byte) for byte in os.fsencode(text))
    return "".join(letter if plain.match(letter) else f"\\{ord(letter):03o}" for letter in letters)


def in_any_shell(path: Path) -> ScriptText:
    """A command that runs the script at `path`, for a line that the user's login shell reads, whichever that is.

    Plain names stand as they are. Other bytes are spelled out, since a scheduler keeps the line in a database of its own encoding. Nothing but a
    regular file is run: bash would wait for a fifo in its place, and execve refuses one by itself.
    """
    if plain(path, " "):
        return ScriptText(shlex.quote(str(path)))
    opened = f'script="$(printf "{_octal(str(path), "_./-")}")"; [ -f "$script" ] && exec bash "$script"'
    return ScriptText(f"exec bash -c '{opened}'")


def plain(path: Path, also: str = "") -> bool:
    """True if a path consists of ASCII letters, digits, `_`, `.`, `/`, `-` and what is in `also`: every scheduler takes it as it is."""
    text = str(path)
    return re.fullmatch(rf"[A-Za-z0-9_./{re.escape(also)}-]+", text) is not None and text == text.strip()


def command(words: Iterable[str | Path]) -> ScriptText:
    """Words as one line that bash reads as a command."""
    return ScriptText(" ".join(map(word, words)))


def further(words: Sequence[str]) -> ScriptText:
    """Words that follow others of a command, each behind a blank; empty for none."""
    return ScriptText("".join(f" {word(each)}" for each in words))


def quoted(parts: Iterable[ScriptText]) -> ScriptText:
    """Parts as one word, with blanks between them: numbers, and variables in double quotes."""
    bare = [part.strip('"') for part in parts]
    assert all(re.fullmatch(r"\$?\w+", part) for part in bare), bare
    return ScriptText(f'"{" ".join(bare)}"')


def comment(text: str) -> ScriptText:
    """`text` as a piece of a comment: what is not printable ASCII is shown as an escape."""
    escaped = (c if c.isprintable() else ascii(c)[1:-1] for c in str(text))
    return ScriptText("".join(escaped).encode("ascii", "backslashreplace").decode())


def comment_lines(text: str, first: str, width: int = 112) -> ScriptText:
    """`text` as comment lines of `width`, each of which begins with `first`."""
    return ScriptText("\n".join(textwrap.wrap(comment(text), width, initial_indent=first, subsequent_indent=first)))


def directive(key: str, value: str = "") -> ScriptText:
    """A line `#SBATCH --key=value`. Raises UserError for a value that is not one line of printable text."""
    return ScriptText(f"#SBATCH --{key}" + (f"={shlex.quote(argument(value, key))}" if value else ""))


def raw_directive(text: str, key: str) -> ScriptText:
    """A line `#SBATCH ..` as the settings have it under `key`. Raises UserError where it is more than one line."""
    return ScriptText(f"#SBATCH {argument(text, key)}")


def argument(text: str, key: str) -> str:
    """A word for a scheduler. Raises UserError, which names `key`, where it is not one line of printable text."""
    if not _one_line(text):
        raise UserError(
            f"{key} is {text!r}, with a line break, tab or other character that can't be printed, which no scheduler "
            f"takes: write {key} as one line of printable text."
        )
    return text


def setup_line(text: str) -> ScriptText:
    """A line of shell from the settings, as it is. Raises UserError where it is not one line."""
    if not _one_line(text.replace("\t", " ")):
        raise UserError(
            f"setup has the entry {text!r}, which is more than one line or has control characters: write every line "
            'as an entry of its own, setup = ["first line", "second line"].'
        )
    if re.match(r"\s*#(SBATCH|OAR)\b", text):
        raise UserError(
            f"setup has the entry {text!r}, but its lines are shell, which a scheduler doesn't read: write what it is "
            'to be asked in options, such as options = ["--exclude=node7"].'
        )
    return ScriptText(text)


def export(key: str, value: str) -> ScriptText:
    """A line that sets a variable of ours for all that follows."""
    assert re.fullmatch(r"[A-Z_]+", key), key
    return ScriptText(f"export {key}={word(value)}")


def number(value: int) -> ScriptText:
    """A whole number."""
    return ScriptText(str(int(value)))


def lines(parts: Iterable[ScriptText]) -> ScriptText:
    """Lines below one another."""
    parts = list(parts)
    assert all(isinstance(part, ScriptText) for part in parts), "text that was not made for a script"
    return ScriptText("\n".join(parts))


def shell(pattern: str, *parts: ScriptText) -> ScriptText:
    """A line of shell of our own, whose `{}` are filled with `parts`."""
    assert all(isinstance(part, ScriptText) for part in parts), "text that was not made for a script"
    return ScriptText(pattern.format(*parts))


class _Template(string.Template):
    """A script of templates/: @{name} is replaced, and the shell's own braces and dollars mean nothing."""

    delimiter = "@"


def part(name: str, **values: ScriptText) -> ScriptText:
    """A part of a script, templates/`name`, with its places filled in."""
    return ScriptText(fill(name, **values).rstrip("\n"))


def fill(name: str, **values: ScriptText) -> str:
    """The script templates/`name` with its places filled in."""
    for key, value in values.items():
        assert isinstance(value, ScriptText), f"{key} of {name} was not made for a script"
    return _Template((ROOT / "templates" / name).read_text()).substitute(**values)
