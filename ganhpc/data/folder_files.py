"""What lies in a folder or zip of pictures, by name, and a way to read each file.

Nothing here imports torch. A zip is never unpacked: members are read in memory.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ganhpc.errors import UserError

ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}
MAX_BYTES = 200_000_000
"""Files with more bytes are skipped unread; in a zip, a small member can unpack to more than memory holds."""


@dataclass(frozen=True)
class Item:
    """One file: its name below the folder or in the zip, and its bytes when asked for."""

    name: str
    size: int
    stamp: int
    """Time of the last change in nanoseconds; in a zip, the member's checksum."""

    @property
    def shown(self) -> str:
        """The name as it may stand in a message: a name can hold line breaks, terminal codes and bytes that are no text."""
        return self.name if self.name.isprintable() else ascii(self.name)[1:-1]


@dataclass(frozen=True)
class Source:
    """What lies in a folder or zip: the files that look like pictures, in the order of their names, and those that don't."""

    path: Path
    items: tuple[Item, ...]
    others: tuple[str, ...]
    """"name: why it is no picture"."""
    read: Callable[[Item], bytes]
    close: Callable[[], None] = field(default=lambda: None)

    def fingerprint(self) -> str:
        """32 hexadecimal digits that change when a file is added, removed or changed."""
        lines = [f"{item.name}\0{item.size}\0{item.stamp}" for item in self.items] + list(self.others)
        if self.path.is_file():
            status = self.path.stat()
            lines.append(f"{status.st_size}\0{status.st_mtime_ns}")
        return hashlib.sha256("\n".join(lines).encode(errors="surrogatepass")).hexdigest()[:32]


def find(path: Path) -> Source:
    """What is in the folder or zip `path`; close it after use. Raises UserError where it is neither, or holds no pictures."""
    path = path.expanduser()
    if path.is_dir():
        source = _folder(path)
    elif path.is_file() and zipfile.is_zipfile(path):
        source = _zip(path)
    elif path.exists():
        raise UserError(f"--data {path}: that is neither a folder nor a zip of images; give one of the two.")
    else:
        raise UserError(f"--data {path}: there is no such folder or zip; check the path (from here: {Path.cwd()}).")
    if not source.items:
        source.close()
        kinds = ", ".join(sorted(ending[1:] for ending in ENDINGS))
        raise UserError(
            f"--data {path}: none of its {len(source.others)} files is an image ({kinds}); give another folder or zip."
        )
    return source


def _sort(path: Path, found: Sequence[tuple[Item, str]], read: Callable[[Item], bytes]) -> Source:
    """A source of `found`, pairs of a file and what is against it ("" for nothing)."""
    ordered = sorted(found, key=lambda pair: pair[0].name)
    items = tuple(item for item, against in ordered if not against)
    return Source(path, items, tuple(f"{item.shown}: {against}" for item, against in ordered if against), read)


def _against(name: str, size: int) -> str:
    """Why a file is not even opened, judged by its name and size."""
    last = name.rsplit("/", 1)[-1]
    if last.startswith(".") or "__MACOSX/" in name:
        return "a hidden file"
    if Path(last).suffix.lower() not in ENDINGS:
        return "not an image"
    if size == 0:
        return "empty"
    return f"huge, {size / 1e6:.0f} MB in one file" if size > MAX_BYTES else ""


def _folder(path: Path) -> Source:
    found: list[tuple[Item, str]] = []

    def closed(error: OSError) -> None:
        name = Path(error.filename).relative_to(path).as_posix()
        found.append((Item(f"{name}/", 0, 0), f"unreadable ({error.strerror})"))

    for folder, _, names in os.walk(path, onerror=closed):
        for name in names:
            full = Path(folder, name)
            short = full.relative_to(path).as_posix()
            try:
                status = full.stat()
            except OSError as error:
                found.append((Item(short, 0, 0), f"unreadable ({error.strerror})"))
                continue
            against = _against(short, status.st_size) if stat.S_ISREG(status.st_mode) else "not a plain file"
            found.append((Item(short, status.st_size, status.st_mtime_ns), against))
    return _sort(path, found, lambda item: (path / item.name).read_bytes())


def _zip(path: Path) -> Source:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
        raise UserError(f"--data {path}: the zip can't be read ({error}); copy or download it again.") from None
    infos = {info.filename: info for info in archive.infolist() if not info.is_dir()}
    found = []
    for name, info in infos.items():
        against = "encrypted" if info.flag_bits & 1 else ""
        found.append((Item(name, info.file_size, info.CRC), _against(name, info.file_size) or against))
    lock = threading.Lock()  # threads would move the one file's position under one another

    def read(item: Item) -> bytes:
        with lock:
            return archive.read(infos[item.name])

    return replace(_sort(path, found, read), close=archive.close)
