"""The pictures of a folder or zip with the hashes of their contents.

`find` reads every file once, and remembers its hash and kind together with its size, times and inode (a zip: checksum, and the zip's own
size, times and inode); while these stay the same, the file is not read again. A set of 100,000 pictures is known again in a second or
two. Nothing here imports torch or NumPy.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import logging
import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path, PurePath

from ganhpc.core.digests import short_digest
from ganhpc.core.errors import UserError
from ganhpc.core.files import Damaged, atomic_open, parse_json, read_gzip
from ganhpc.core.printable import printable
from ganhpc.datasets.image_cache import cache_folder
from ganhpc.datasets.image_folder import READ_ERRORS, Item, Left, Source, list_files, unreadable
from ganhpc.datasets.picture_kinds import DAMAGED, ENDINGS, HEAD, NO_IMAGE, kind_of, other_kind

_FORMAT = 1
_THREADS = 4
_SETTLED = 0.1
"""Seconds since its last change from which on a file's times are trusted: a change within one tick of the clock leaves no trace."""
_SLOW = 3.0
"""Seconds after which a line says what takes so long."""
_TELL_SECONDS = 10.0
"""Between two such lines."""
_log = logging.getLogger(__name__)

_Known = dict[str, tuple[str, str, str]]
"""Name -> stamp, hash, and why it is no picture ("" where it is one)."""


def find(path: Path) -> Source:
    """The pictures of the folder or zip `path`, each with its digest; close it after use.

    Raises UserError where it is neither a folder nor a zip, or holds no pictures.
    """
    found = listed(path)
    if not found.items:
        found.close()
        raise UserError(_no_pictures(found))
    return found


def listed(path: Path) -> Source:
    """As `find`, of a folder or zip that may hold no pictures."""
    files = list_files(path)
    try:
        return _judged(files)
    except BaseException:
        files.close()
        raise


def content_digest(data: bytes) -> str:
    """The hash by which a file's content is known."""
    return hashlib.blake2b(data, digest_size=12).hexdigest()


def fingerprint(contents: Iterable[tuple[str, str]]) -> str:
    """32 hexadecimal digits for pairs of a picture's name and digest. Changes when a picture is added, removed, renamed or changed."""
    lines = sorted(name.encode(errors="surrogateescape") + b"\0" + digest.encode() for name, digest in contents)
    return hashlib.blake2b(b"\n".join(lines), digest_size=16).hexdigest()


def fingerprint_of(source: Source) -> str:
    """The `fingerprint` of what `find` found."""
    return fingerprint((item.name, item.digest) for item in source.items)


def _judged(files: Source) -> Source:
    place = _place(files.path)
    before = _recalled(place)
    now: _Known = {}
    todo = []
    for item in files.items:
        row = before.get(item.name)
        if row and row[0] == item.stamp:
            now[item.name] = row
        else:
            todo.append(item)
    failed = _read(files, todo, now)
    _remember(place, before, now)
    items, left = [], [*files.others, *failed]
    for item in files.items:
        row = now.get(item.name)
        if row and row[2]:
            left.append(Left(item.name, row[2], item.as_packed))
        elif row:
            items.append(replace(item, digest=row[1]))
    return replace(files, items=tuple(items), others=tuple(sorted(left, key=lambda each: each.name)))


def _read(files: Source, todo: list[Item], now: _Known) -> list[Left]:
    """Read the files of `todo` into `now`; those that can't be read are returned."""
    failed: list[Left] = []
    began = time.monotonic()
    told = began + _SLOW - _TELL_SECONDS

    def one(item: Item) -> tuple[str, str, str] | str:
        try:
            head = files.read(item, HEAD)
            if not kind_of(head):
                # A picture's ending promises a picture; anything else is named by what it is.
                ending = PurePath(item.name).suffix.lower()
                what = other_kind(head, ending)
                vague = what == NO_IMAGE and ending in ENDINGS
                return item.stamp, "", unreadable(DAMAGED) if vague else what
            return item.stamp, content_digest(files.read(item, None)), ""
        except READ_ERRORS as error:
            return unreadable(error)

    with ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(todo), 256):
            part = todo[start : start + 256]
            for item, row in zip(part, pool.map(one, part), strict=True):
                if isinstance(row, str):
                    failed.append(Left(item.name, row, item.as_packed))
                else:
                    now[item.name] = row
            done, moment = start + len(part), time.monotonic()
            if done < len(todo) and moment - told > _TELL_SECONDS:
                told = moment
                left = (len(todo) - done) * (moment - began) / done
                _log.warning(
                    "reading the files of %s once, to know them again: %s of %s, %.0f s more",
                    printable(files.path),
                    f"{done:,}",
                    f"{len(todo):,}",
                    left,
                )
    return failed


def _no_pictures(found: Source) -> str:
    """The sentence on a folder or zip without any picture."""
    shown = printable(found.path)
    what = "the zip" if found.is_zip else "the folder"
    if not found.others:
        return f"--data {shown}: {what} is empty; give another folder or zip."
    zips = [left.name for left in found.others if left.name.lower().endswith(".zip")]
    if zips and not found.is_zip:
        inside = printable(os.path.join(found.path, zips[0]))
        return f"--data {shown}: it holds no picture, but there is a zip in it: give it by its path, --data {inside}."
    none = (
        "its one file is no image" if len(found.others) == 1 else f"none of its {len(found.others):,} files is an image"
    )
    return f"--data {shown}: {none} that can be used (first: {found.others[0]}); give another folder or zip."


# -- what is remembered -------------------------------------------------------------------------------------------------


def _place(path: Path) -> Path:
    name = short_digest(os.fsencode(path.resolve()), 24)
    return cache_folder() / "contents" / f"{name}.json.gz"


def _recalled(place: Path) -> _Known:
    try:
        tree = parse_json(read_gzip(place))
        if tree["format"] != _FORMAT:
            return {}
        rows = {name: (row[0], row[1], row[2]) for name, row in tree["files"].items()}
        return {name: row for name, row in rows.items() if all(isinstance(part, str) for part in row)}
    except (OSError, Damaged, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return {}


def _remember(place: Path, before: _Known, now: _Known) -> None:
    """Keep what is known for the next time. It saves reading and nothing else: where it can't be written, nothing is said."""
    settled = {name: row for name, row in now.items() if before.get(name) == row or _is_settled(row[0])}
    if settled == before:
        return
    with contextlib.suppress(OSError, UserError):
        place.parent.mkdir(parents=True, exist_ok=True)
        data = json.dumps({"format": _FORMAT, "files": settled}).encode()
        with atomic_open(place, durable=False) as file:
            file.write(gzip.compress(data, 1, mtime=0))


def _is_settled(stamp: str) -> bool:
    changed = int(stamp.rsplit(":", 2)[-2]) / 1e9
    return not 0 <= time.time() - changed < _SETTLED
