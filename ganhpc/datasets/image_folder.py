"""The pictures in a folder or zip, found by one rule for both, and a way to read each file.

Left out by name: anything hidden on any level (`hidden`), by the names on the way to it: a visible link to a hidden folder is followed, a
hidden link is not; and folders of runs (`_is_run`), whose samples would be taken for pictures. Links are followed once: a file or folder that can be reached by several names is taken under one of them. What is left
is taken by its bytes (`ganhpc.datasets.folder_index`), whatever its ending. Every file that is left out is named with the reason. Nothing
here imports torch or NumPy. A zip is never unpacked: members are read in memory.
"""

from __future__ import annotations

import os
import re
import stat
import threading
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ganhpc.core.errors import UserError
from ganhpc.core.files import Damaged, first_bytes, open_regular
from ganhpc.core.printable import printable
from ganhpc.core.whoami import expand, other_case
from ganhpc.datasets import zip_links
from ganhpc.datasets.picture_kinds import HEAD, NO_IMAGE, kind_of, other_kind

MAX_BYTES = 200_000_000
"""Files with more bytes are skipped unread; in a zip, a small member can unpack to more than memory holds."""
MAX_RATIO, FREE_BYTES = 200, 20_000_000
"""A member of a zip with more than FREE_BYTES that unpacks to more than MAX_RATIO times its size is skipped unread."""


def _of_lzma() -> tuple[type[Exception], ...]:
    with suppress(ImportError):  # a Python that was built without it refuses such members
        from lzma import LZMAError

        return (LZMAError,)
    return ()


READ_ERRORS: tuple[type[Exception], ...] = (
    OSError,
    Damaged,
    RuntimeError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    ValueError,
    MemoryError,
    *_of_lzma(),
)
"""Errors of reading a file, or a damaged or encrypted member of a zip, or one that asks for more memory than there is."""


def cause_of(error: Exception) -> str:
    """The cause of one of READ_ERRORS, in words."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def unreadable(cause: Exception | str) -> str:
    """The reason for which a file is left out that can't be read."""
    return f"unreadable ({cause if isinstance(cause, str) else cause_of(cause)})"


_SAYS_UTF8 = 0x800
"""Flag of a member of a zip whose name is in UTF-8."""
_SYSTEM = frozenset(
    {
        "@eadir",
        "__macosx",
        "lost+found",
        "thumbs.db",
        "ehthumbs.db",
        "ehthumbs_vista.db",
        "desktop.ini",
        "$recycle.bin",
        "#recycle",
        "@recycle",
        "recycler",
        "#snapshot",
        "~snapshot",
        "@recently-snapshot",
        "@tmp",
        "network trash folder",
        "temporary items",
        "system volume information",
        "icon\r",
    }
)
"""Names, in lower case, that systems and file servers use for their own purposes."""


_DEFINITION = "experiment.json"
_OF_RUNS = frozenset({"data.json", "request.json", "status.json", "result.json", "log.txt"})
"""Files that this program writes into a run's folder: the definition, and one at least of the others."""
_A_RUN = "a run of this program, no pictures to learn from"


def _is_run(names: Collection[str]) -> bool:
    """True if a folder with these files is one of a run. A run may lie below its own pictures: `cd photos` and `--data .`."""
    return _DEFINITION in names and not _OF_RUNS.isdisjoint(names)


def hidden(name: str) -> bool:
    """True if a part of the path `name` begins with a dot, or belongs to a system: `.ipynb_checkpoints`, `@eaDir`, `Thumbs.db`."""
    return any(part.startswith(".") or part.lower() in _SYSTEM for part in name.rstrip("/").split("/"))


@dataclass(frozen=True)
class Item:
    """One file: its name below the folder or in the zip."""

    name: str
    size: int
    stamp: str = ""
    """Changes with the file: sizes, times and the inode in a folder, the checksum in a zip."""
    digest: str = ""
    """The hash of its content, once it is known."""
    as_packed: str = ""
    """The name for people, where it is another one."""

    @property
    def shown(self) -> str:
        return printable(self.as_packed or self.name)

    def folders(self, *, in_zip: bool, for_people: bool = False) -> list[str]:
        """The folders that it lies in, from above; zips of Windows may have backslashes between them."""
        name = self.as_packed or self.name if for_people else self.name
        name = name.replace("\\", "/") if in_zip else name
        return [part for part in name.split("/")[:-1] if part not in ("", ".")]


@dataclass(frozen=True)
class Left:
    """A file or folder that is left out, and why."""

    name: str
    why: str
    as_packed: str = ""
    """As of an Item."""

    def __str__(self) -> str:
        return f"{printable(self.as_packed or self.name)}: {self.why}"


@dataclass(frozen=True)
class Source:
    """Files of a folder or zip in the order of their names, those that are left out, and a way to read the others."""

    path: Path
    items: tuple[Item, ...]
    others: tuple[Left, ...]
    read: Callable[[Item, int | None], bytes]
    """(item, bytes from its beginning; None: all)."""
    close: Callable[[], None] = field(default=lambda: None)
    is_zip: bool = False


def list_files(path: Path) -> Source:
    """All files of the folder or zip `path`, but for what its name, size or type leaves out; close it after use.

    Raises UserError where it is neither.
    """
    path = expand(path)
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        near = other_case(path)
        if path.is_symlink():
            raise UserError(
                f"--data {printable(path)}: a link to {printable(path.readlink())}, which is not there; put it right."
            ) from None
        way = f"did you mean {printable(near)}?" if near else f"check the path (from here: {printable(Path.cwd())})."
        raise UserError(f"--data {printable(path)}: there is no such folder or zip; {way}") from None
    except OSError as error:
        raise UserError(f"--data {printable(path)}: it can't be read ({error.strerror}).") from None
    if stat.S_ISDIR(mode):
        return _folder(path)
    if stat.S_ISREG(mode):
        return _zip(path)
    raise UserError(f"--data {printable(path)}: that is neither a folder nor a zip of images; give one of the two.")


def _against(name: str, size: int) -> str:
    """The reason for which a file is not even opened, judged by its name and size; "" where nothing is against it."""
    if hidden(name):
        return "a hidden file"
    if size == 0:
        return "empty"
    return f"huge, {size / 1e6:.0f} MB in one file" if size > MAX_BYTES else ""


# -- folders ------------------------------------------------------------------------------------------------------------


class _Walk:
    """A walk through a folder: first what really lies in it, then what links lead to."""

    def __init__(self, root: Path) -> None:
        self.path, self.root = root, os.fspath(root)
        self.found: dict[str, Item] = {}
        self.left: list[Left] = []
        self.links: list[str] = []
        self.folders: set[tuple[int, int]] = set()
        self.files: dict[tuple[int, int], str] = {}

    def whole(self) -> None:
        """Walk the folder, then each link in the order of the names, with the links behind it."""
        self.folders.add(_key(self.path.stat()))
        self._folder("")
        while self.links:
            self.links.sort()
            self._link(self.links.pop(0))

    def _folder(self, top: str) -> None:
        waiting = [top]
        while waiting:
            short = waiting.pop()
            try:
                with os.scandir(os.path.join(self.root, short) if short else self.root) as entries:
                    ordered = sorted(entries, key=lambda entry: entry.name)
            except OSError as error:
                self.left.append(Left(f"{short}/", unreadable(error)))
                continue
            if short and _is_run({entry.name for entry in ordered}):
                self.left.append(Left(f"{short}/", _A_RUN))
                continue
            inside = []
            for entry in ordered:
                name = f"{short}/{entry.name}" if short else entry.name
                if entry.is_symlink():
                    self._defer(name)
                elif entry.is_dir(follow_symlinks=False):
                    if hidden(name) or self._new_folder(name, entry.stat(follow_symlinks=False)):
                        inside.append(name)
                else:
                    self._file(name)
            waiting += reversed(inside)

    def _defer(self, name: str) -> None:
        if hidden(name):
            self.left.append(Left(name, "a hidden link"))
        else:
            self.links.append(name)

    def _new_folder(self, name: str, status: os.stat_result) -> bool:
        """True if the folder is met for the first time."""
        key = _key(status)
        if status.st_ino and key in self.folders:
            self.left.append(Left(f"{name}/", "a link to a folder that is taken already"))
            return False
        self.folders.add(key)
        return True

    def _link(self, name: str) -> None:
        try:
            status = self._status(name)
        except OSError as error:
            self.left.append(Left(name, unreadable(error)))
            return
        if not stat.S_ISDIR(status.st_mode):
            self._file(name)
        elif self._new_folder(name, status):
            self._folder(name)

    def _status(self, name: str) -> os.stat_result:
        return os.stat(f"{self.root}/{name}")  # noqa: PTH116  # a path object for each of 100,000 files takes a second

    def _file(self, name: str) -> None:
        try:
            status = self._status(name)
        except OSError as error:
            self.left.append(Left(name, unreadable(error)))
            return
        against = _against(name, status.st_size) if stat.S_ISREG(status.st_mode) else "not a plain file"
        if against:
            self.left.append(Left(name, against))
            return
        first = self.files.setdefault(_key(status), name) if status.st_ino else name
        if first != name:
            self.left.append(Left(name, f"a link to {printable(first)}, which is taken already"))
            return
        stamp = f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_ino}"
        self.found[name] = Item(name, status.st_size, stamp)


def _key(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _folder(path: Path) -> Source:
    walk = _Walk(path)
    walk.whole()

    def read(item: Item, limit: int | None) -> bytes:
        with open_regular(path / item.name) as file:  # another file may be there by now than the one that was listed
            return file.read() if limit is None else file.read(limit)

    return _source(path, walk.found.values(), walk.left, read)


def _source(
    path: Path,
    items: Iterable[Item],
    left: list[Left],
    read: Callable[[Item, int | None], bytes],
    close: Callable[[], None] = lambda: None,
    *,
    is_zip: bool = False,
) -> Source:
    ordered = tuple(sorted(items, key=lambda item: item.name))
    return Source(path, ordered, tuple(sorted(left, key=lambda each: each.name)), read, close, is_zip)


# -- zips ---------------------------------------------------------------------------------------------------------------


def _zip(path: Path) -> Source:
    archive = _opened(path)
    infos: dict[str, zipfile.ZipInfo] = {}
    left: list[Left] = []
    status = path.stat()
    spelled: dict[str, str] = {}
    for info in archive.infolist():
        name = info.filename
        if info.is_dir() or (name.endswith("\\") and not info.file_size):
            continue
        same = name if _leads_out(name) else zip_links.plain(name)
        if same in spelled:
            before = infos.pop(spelled[same])
            left.append(Left(spelled[same], "another member of the same name follows", _as_packed(before)))
        spelled[same] = name
        infos[name] = info  # the last one, as unpacking would leave it
    own = f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_ino}"
    items, links = [], {}
    runs = _runs_among(spelled)

    def judge(name: str, info: zipfile.ZipInfo) -> bool:
        """Take the member under this name, or leave it out."""
        in_run = any(zip_links.plain(name).startswith(run) for run in runs)
        if against := _A_RUN if in_run else _against_member(name, info):
            left.append(Left(name, against, _as_packed(info, name)))
            return False
        stamp = f"{info.file_size}:{info.CRC}:{own}"
        items.append(Item(name, info.file_size, stamp, as_packed=_as_packed(info, name)))
        return True

    taken: dict[str, str] = {}
    for name, info in infos.items():
        if stat.S_ISLNK(info.external_attr >> 16) and not _leads_out(name):
            links[zip_links.plain(name)] = info
        elif judge(name, info):
            taken[zip_links.plain(name)] = name
    if links:
        members = {zip_links.plain(name): info for name, info in infos.items()}
        for name, member, why in _through_links(archive, links, members, taken):
            if why:
                left.append(Left(name, why))
            elif judge(name, members[member]):
                infos[name] = members[member]
    lock = threading.Lock()  # threads would move the one file's position under one another

    def read(item: Item, limit: int | None) -> bytes:
        with lock, archive.open(infos[item.name]) as member:
            return member.read() if limit is None else member.read(limit)

    return _source(path, items, left, read, archive.close, is_zip=True)


def _as_packed(info: zipfile.ZipInfo, name: str = "") -> str:
    """A member's name (`name`: that of a link to it) for people, "" where it is the one that Python reads.

    macOS writes UTF-8 and does not say so, which is read in code page 437: `caf├⌐` for `café`. Sets are known by what Python reads.
    """
    name = name or info.filename
    if not info.flag_bits & _SAYS_UTF8 and not name.isascii():
        with suppress(UnicodeError):
            return name.encode("cp437").decode()
    return ""


def _runs_among(names: Iterable[str]) -> set[str]:
    """The folders of runs, each with a slash at its end, that hold members of these plain names."""
    folders: dict[str, set[str]] = defaultdict(set)
    for name in names:
        folder, _, file = name.rpartition("/")
        folders[folder].add(file)
    return {f"{folder}/" for folder, files in folders.items() if folder and _is_run(files)}


def _through_links(
    archive: zipfile.ZipFile,
    links: dict[str, zipfile.ZipInfo],
    members: dict[str, zipfile.ZipInfo],
    taken: dict[str, str],
) -> Iterator[tuple[str, str, str]]:
    """(name, member, why it is left out) of what the links of a zip lead to, as `_Walk` goes through those of a folder."""
    targets: dict[str, str] = {}
    for name, info in links.items():
        with suppress(*READ_ERRORS):
            targets[name] = os.fsdecode(archive.open(info).read(zip_links.LONGEST))
    tree = zip_links.Links(targets, frozenset(members.keys() - links.keys()), hidden, taken)
    for name in sorted(links):
        if hidden(name):
            yield name, "", "a hidden link"
        elif name not in targets:
            yield name, "", unreadable("a damaged link")
        else:
            yield from tree.follow(name)


def _opened(path: Path) -> zipfile.ZipFile:
    """The zip, open. Raises UserError with what is wrong with the file."""
    shown = printable(path)
    try:
        head = first_bytes(path, HEAD)
        archive = zipfile.ZipFile(path) if zipfile.is_zipfile(path) else None
        if archive is None or not _lists_the_whole(archive, head):
            raise UserError(f"--data {shown}: {_no_zip(head)}")
    except (zipfile.BadZipFile, OSError, Damaged, NotImplementedError, ValueError) as error:
        raise UserError(
            f"--data {shown}: a damaged zip: the zip can't be read ({error}); copy or download it again."
        ) from None
    if sum(info.compress_size for info in archive.infolist()) > path.stat().st_size:
        archive.close()
        raise UserError(
            f"--data {shown}: the members of this zip overlap, as in a zip bomb; it is not read. Pack the pictures again."
        )
    return archive


def _lists_the_whole(archive: zipfile.ZipFile, head: bytes) -> bool:
    """False where the list of files is that of a zip inside this one, whose own end is missing."""
    first = min((info.header_offset for info in archive.infolist()), default=None)
    return not head.startswith(b"PK\x03\x04") or first == 0


def _no_zip(head: bytes) -> str:
    """The sentence on a file that begins with `head` and is no whole zip."""
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"):
        return "a damaged zip: its end, with the list of its files, is missing; copy or download it again."
    if not head:
        return "that file is empty; copy or download it again."
    if kind := kind_of(head):
        return f"that is one picture ({kind}); give the folder that it lies in."
    if (what := other_kind(head)) != NO_IMAGE:
        return f"that is {what}, then give the folder or zip of images."
    return "that is neither a folder nor a zip of images; give one of the two."


def _leads_out(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return ".." in parts or parts[0] == "" or bool(re.match(r"[A-Za-z]:[\\/]", name))


def _against_member(name: str, info: zipfile.ZipInfo) -> str:
    """The reason for which a member is not even opened under this name; "" where nothing is against it."""
    if _leads_out(name):
        return "its path leads out of the zip"
    parts = name.replace("\\", "/").split("/")
    against = _against("/".join(part for part in parts if part != "."), info.file_size)
    if against:
        return against
    if info.flag_bits & 1:
        return "encrypted"
    bomb = info.file_size > FREE_BYTES and info.file_size > MAX_RATIO * max(1, info.compress_size)
    return f"huge, {info.file_size / 1e6:.0f} MB packed into {info.compress_size / 1e6:.1f} MB" if bomb else ""
