"""The user of this process, by its user id: LOGNAME, USER and HOME may name another one (su, containers, JupyterHub) or nobody. Paths as
that user means them."""

from __future__ import annotations

import os
import pwd
import unicodedata
from pathlib import Path

from ganhpc.core.errors import UserError


def user_name() -> str:
    """The name of the process's own user; the number of one that has no name here (a container)."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def home() -> Path | None:
    """The user's home: HOME where it is a folder, else as the system has it, else HOME all the same; None where nobody says."""
    named = Path(text) if (text := os.environ.get("HOME", "")).startswith("/") else None
    return named if named and named.is_dir() else system_home() or named


def system_home() -> Path | None:
    """The user's home as the system has it; None for a user whom it does not know."""
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return None


def expand(path: str | Path) -> Path:
    """`path` with the home that it begins with, ~ or ~NAME. Raises UserError where there is no such home."""
    text = str(path)
    if not text.startswith("~"):
        return Path(path)
    name, _, rest = text[1:].partition("/")
    try:
        base = Path(pwd.getpwnam(name).pw_dir) if name else home()
    except KeyError:
        base = None
    if base is None:
        raise UserError(
            f"{text} is below a home that this machine doesn't know (HOME is not set, or there is no such user): "
            "write the whole path, or `export HOME=/a/folder/of/yours`."
        )
    return base / rest if rest else base


def base_folder(variable: str, usual: str) -> Path:
    """The user's folder that `variable` (XDG_STATE_HOME or the like) names, else `usual`. A path that is not whole counts for nothing there, as
    the XDG Base Directory Specification has it: it means another folder wherever a command is typed."""
    named = expand(os.environ.get(variable, ""))
    return named if named.is_absolute() else expand(usual)


def other_case(path: Path) -> Path | None:
    """What lies where `path` points but for capitals and the encoding of accents; None where nothing does."""
    found = Path(path.anchor or ".")
    for part in path.parts[bool(path.anchor) :]:
        try:
            if not (found / part).exists():
                part = next(name for name in sorted(os.listdir(found)) if _bare(name) == _bare(part))
        except (OSError, ValueError, StopIteration):
            return None
        found /= part
    return found if found.exists() else None  # not a link to nothing


def _bare(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
