"""Foreign text and paths made safe to show: nothing in a name moves the cursor, turns the line around or starts another one."""

from __future__ import annotations

import re
import shlex
import sys
import unicodedata
from pathlib import Path
from typing import Any

_MOST = 1000
"""Longest foreign text that is shown in full."""

_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~!&$])")
# Control characters but line breaks and tabs, direction marks and other invisible ones but spaces, halves of characters.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u180e\u200c-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\x1b": "\\e", "\x07": "\\a", "\x08": "\\b"}


def printable(text: object, most: int = _MOST) -> str:
    """`text` (a path, a word from a file, what another program said) as one line that a terminal only prints.

    Control characters, line breaks, direction marks, invisible characters and bytes that are no UTF-8 are shown as escapes;
    everything else, accents and other scripts included, stays. More than `most` characters are cut.
    """
    raw = str(text)
    if raw.isascii() and raw.isprintable() and len(raw) <= most:
        return raw  # nearly always
    cut = raw if len(raw) <= most else raw[:most] + ".."
    return "".join(c if c.isprintable() else _escape(c) for c in cut)


def is_printable(text: str) -> bool:
    """True if `text` is one line without anything that `printable` would escape."""
    return text.isprintable()


def shown(path: Path) -> str:
    """`path` as short as a shell in this folder takes it."""
    try:
        return str(path.resolve().relative_to(Path.cwd().resolve()))
    except (ValueError, OSError, RuntimeError):  # not below it, or a loop of links
        return str(path)


def slug(text: str) -> str:
    """`text` with only letters, digits, dot, plus, minus and underscore: safe as a folder's name and in a shell."""
    return "".join(c if c.isascii() and (c.isalnum() or c in ".+-_") else "-" for c in text).strip(".-") or "run"


def shell_word(text: object) -> str:
    """`text` as a word that can be copied into bash or zsh and means exactly `text` there, in printable characters only, which are ASCII where
    the output is not UTF-8: there it shows others as ?, or a name typed anew has other bytes."""
    raw = str(text)
    if raw.isprintable() and (raw.isascii() or _is_utf8()):
        return shlex.quote(raw)
    escaped = "".join(_in_shell(c) for c in raw)
    return f"$'{escaped}'"


def in_markdown(text: str) -> str:
    """`text` so that Markdown shows it as it is: no HTML, no formatting, no new cell of a table."""
    return _MARKDOWN.sub(r"\\\1", text)


def in_csv(value: object) -> object:
    """A cell of a CSV file: texts printable, and none that a spreadsheet takes for a formula (it gets an apostrophe before it)."""
    if not isinstance(value, str):
        return value
    text = printable(value, 100_000)
    begin = unicodedata.normalize("NFKC", text).lstrip()[:1]  # a spreadsheet may leave out spaces, and read wide signs
    return f"'{text}" if begin and begin in "=+-@" else text


def printable_lines(text: str) -> list[str]:
    """The lines of a log, each printable, tabs as spaces. A progress bar that rewrites its line gives several."""
    return [printable(line.expandtabs(4), 10_000) for line in text.splitlines()]


def printable_tree(tree: Any) -> Any:
    """JSON values with every text in them, names of fields too, made printable."""
    if isinstance(tree, str):
        return printable(tree, 100_000)
    if isinstance(tree, dict):
        return {printable(key): printable_tree(value) for key, value in tree.items()}
    return [printable_tree(value) for value in tree] if isinstance(tree, list | tuple) else tree


def visible(page: str) -> str:
    """A page of text that is written to a file: its lines and typographic spaces stay, all else that is not printed is escaped."""
    return _INVISIBLE.sub(lambda found: _escape(found[0]), page)


def print_error(sentence: object) -> None:
    """Print an error on standard error, as every program of ours ends: one line, printable whatever the sentence quotes."""
    print(f"Error: {printable(sentence, 20_000)}", file=sys.stderr, flush=True)


def _escape(char: str) -> str:
    number = ord(char)
    if char in _NAMED:
        return _NAMED[char]
    if 0xDC80 <= number <= 0xDCFF:  # a byte of a file name that is no UTF-8
        return f"\\x{number - 0xDC00:02x}"
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _in_shell(char: str) -> str:
    if char in "\\'":
        return "\\" + char
    if char.isprintable() and (char.isascii() or _is_utf8()):
        return char
    return "".join(f"\\x{byte:02x}" for byte in char.encode(errors="surrogateescape" if _is_byte(char) else "replace"))


def _is_utf8() -> bool:
    return (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "").startswith("utf8")


def _is_byte(char: str) -> bool:
    return 0xDC80 <= ord(char) <= 0xDCFF
