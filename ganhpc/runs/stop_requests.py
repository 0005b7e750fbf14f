"""Stop requests in a run folder: `stop` to the trainer that holds the run, `stop-<digest>` to the trainers of one owner.

Each owner's requests have a file of their own, with the owner in its first line: none keeps another from being written, or is removed
with it. A request to the holder is made and forgotten under the run folder's lock (Run.hold, Run.ask_holder_to_stop).

A full disk, or a folder that is away, may refuse the file: the process that asks then knows of the request all the same, and passes it on to
others as a signal, which makes each ask itself.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ganhpc.core.digests import short_digest
from ganhpc.core.errors import UserError
from ganhpc.core.files import may_pass, read_text
from ganhpc.runs.file_owner import is_over

FILE = "stop"
_LONGEST = 1000
"""Most characters of a reason."""
_UNWRITTEN: dict[str, str] = {}
"""Requests of this process that no file could be made for: the reason by the path of the file."""


def path_of(folder: Path, owner: str = "") -> Path:
    """The file of a request to the trainers of `owner`, or to the trainer that holds the run."""
    return folder / (f"{FILE}-{short_digest(owner, 12)}" if owner else FILE)


def ask(folder: Path, reason: str, owner: str = "") -> bool:
    """Write a request; one that is there keeps its reason. Returns False where it can't be written: this process alone knows of it then, and
    others need a signal. Safe in a signal handler, and when repeated."""
    path = path_of(folder, owner)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except OSError as error:
        if isinstance(error, FileExistsError) and os.path.exists(path) and not path.is_dir():  # noqa: PTH110
            return True  # not for a link that leads nowhere, which nobody reads
        _UNWRITTEN.setdefault(str(path), reason)
        return False
    with suppress(OSError):  # The file's existence is the message; the words are for people.
        os.write(handle, (f"{owner}\n{reason}" if owner else reason).encode())
    with suppress(OSError):
        os.close(handle)
    return True


def reason_of(folder: Path, owner: str = "", *, holds: bool = True) -> str | None:
    """The reason for which a trainer of `owner` was asked to stop, or None. `holds`: it holds the run, so that requests without an owner are for it."""
    for name in dict.fromkeys((owner, "") if holds else (owner,)):
        path = path_of(folder, name)
        if (told := _UNWRITTEN.get(str(path))) is not None:
            return told
        try:
            text = read_text(path)
        except FileNotFoundError:
            continue
        except UserError as error:
            # Where the file system does not say whether there is one, it is asked again at the next look.
            if may_pass(error):
                continue
            if (
                path.is_dir() or path.is_symlink()
            ):  # nobody's request: a folder could never be taken back, and nobody asks by a link
                continue
            text = ""
        reason = text.partition("\n")[2] if name else text
        return reason[:_LONGEST] or "asked to stop"  # it goes into status.json, which must stay one that is read
    return None


def forget(folder: Path, owner: str) -> None:
    """Remove a request to the trainers of `owner`, all of which have ended."""
    path = path_of(folder, owner)
    _UNWRITTEN.pop(str(path), None)
    with suppress(OSError):
        path.unlink()


def forget_old(folder: Path) -> None:
    """Remove requests to trainers of before. Those of living owners stay: one of them may have started this trainer."""
    forget(folder, "")
    for path in folder.glob(f"{FILE}-*"):
        with suppress(OSError, UserError):
            # What is no file is nobody's request, and a link that leads nowhere would keep one from being written.
            if path.is_symlink() or not path.is_file() or is_over(read_text(path).partition("\n")[0]):
                path.unlink()
