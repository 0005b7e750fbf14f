"""Writing files so that a reader never sees half of one; reading files that anybody may have put there, within bounds."""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, TypeGuard

from ganhpc.core.errors import StorageFault, UserError
from ganhpc.core.storage_errors import fault, remove_leftovers_once, temporary_name

SMALL = 4 * 2**20
"""Most bytes of a file that describes something: status, request, definition, sidecar."""
LARGE = 256 * 2**20
"""Most bytes of a file that grows with a run: metrics, evaluation, description, log."""
DEEPEST = 50
"""Deepest nesting of objects and lists in a JSON file."""
_DIGITS = 19
"""Whole numbers of so many characters need not fit into 64 bits."""


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn any error of the file system into a StorageFault that names `path`."""
    try:
        yield
    except OSError as error:
        raise fault(error, path) from error


@contextmanager
def atomic_open(path: Path, *, durable: bool = True) -> Iterator[IO[bytes]]:
    """A binary file that takes `path`'s place when the block ends well, and vanishes when it does not.

    `durable` waits until the bytes are on the disk, so that a power cut keeps either the old file or the new one.
    What processes that were killed have left half-written in the folder is removed at the first write into it.
    Raises UserError where the disk is full or the folder can't be written, and Damaged for a device, whose place no file may take.
    """
    _must_be_no_device(path)
    remove_leftovers_once(path.parent)
    temporary = path.with_name(temporary_name(path.name))
    with storage_errors(path):
        try:
            with temporary.open("wb") as file:
                yield file
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        if durable:
            sync_folder(path.parent)


def _must_be_no_device(path: Path) -> None:
    """Raise Damaged where `path` is a device itself, such as /dev/null: the system's administrator could replace it for every program."""
    with suppress(OSError, ValueError):
        mode = path.lstat().st_mode
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            raise Damaged(f"{path} is a device: name a file.")


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, tree: Any, *, durable: bool = True) -> None:
    """Write `tree` to `path` in one step."""
    data = json.dumps(tree, indent=1, allow_nan=False, default=str) + "\n"
    with atomic_open(path, durable=durable) as file:
        file.write(data.encode())


# -- reading ------------------------------------------------------------------------------------------------------------


class Damaged(UserError):
    """A file that is there and can't be used: not readable, not a regular file, too large, or not what it should hold."""


class Unreadable(Damaged, StorageFault):
    """A file that the file system does not give: damaged for a table of runs, and for work that needs it a fault, which may pass."""


def may_pass(error: BaseException) -> TypeGuard[StorageFault]:
    """True if `error` is a fault of the file system that may pass: what such a file holds is not known, and it is not to be taken for one that
    is missing or damaged."""
    return isinstance(error, StorageFault) and error.passing


def raise_passing(error: UserError) -> None:
    """Raise `error` where it may pass (`may_pass`)."""
    if may_pass(error):
        raise error


def _unreadable(path: Path | str, error: OSError) -> Unreadable:
    said = fault(error, path, doing="read")
    return Unreadable(f"{path} can't be read ({error.strerror}).", number=said.number, passing=said.passing)


def open_regular(path: Path | str, most: int | None = None) -> BufferedReader:
    """The regular file `path`, open to read bytes. Never waits: a fifo, a device or a socket in its place is Damaged.

    Raises FileNotFoundError where there is none, and Damaged for anything else, for one a file of more than `most` bytes.
    """
    try:
        # A look first, since opening alone has effects on some devices; then O_NONBLOCK, should the file change in between.
        _must_be_regular(path, os.stat(path).st_mode)  # noqa: PTH116
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        file = os.fdopen(handle, "rb")
        found = os.fstat(handle)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(error.errno, error.strerror, str(path)) from None
    except OSError as error:
        raise _unreadable(path, error) from None
    except ValueError as error:  # a null character in the name
        raise Damaged(f"{path} can't be read ({error}).") from None
    try:
        _must_be_regular(path, found.st_mode)
        if most is not None and found.st_size > most:
            raise Damaged(f"{path} is too large for what it should hold ({found.st_size:,} bytes, at most {most:,}).")
    except Damaged:
        file.close()
        raise
    return file


def handle_path(file: IO[bytes]) -> str:
    """A path to the open file, for a library that opens files by their names: whatever has taken its own path since."""
    return f"/proc/self/fd/{file.fileno()}"


def open_to_write(path: Path, *, append: bool = False) -> IO[bytes]:
    """The regular file `path`, made where it is missing, open to be written without a buffer. Never waits for a fifo or a device.

    Raises StorageFault for what the file system says, and Damaged for anything else in the file's place, a link among them.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY | (os.O_APPEND if append else 0)
    must_be_no_link(path)
    flags |= os.O_NOFOLLOW  # should a link take its place in between
    with storage_errors(path):
        with suppress(FileNotFoundError):
            _must_be_regular(path, path.stat().st_mode)
        file = os.fdopen(os.open(path, flags, 0o644), "wb", buffering=0)
    try:
        _must_be_regular(path, os.fstat(file.fileno()).st_mode)
    except Damaged:
        file.close()
        raise
    return file


def must_be_no_link(path: Path) -> None:
    """Raise Damaged where `path` is a link: what is written through one that came with somebody's folder would go into a file outside of it."""
    if os.path.islink(path):  # noqa: PTH114 (Path.is_symlink raises for a name that no file can have)
        raise Damaged(f"{path} is a link, and what is written there would go into another file: move the link away.")


def _must_be_regular(path: Path | str, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a fifo"), (stat.S_ISSOCK, "a socket"))
        kind = next((name for test, name in kinds if test(mode)), "a device")
        raise Damaged(f"{path} is {kind}, not a file.")


def is_regular(path: Path) -> bool:
    """True if a regular file is there. Raises StorageFault where the file system doesn't say."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError as error:
        raise fault(error, path, doing="read") from error


def read_bytes(path: Path | str, most: int = SMALL) -> bytes:
    """The bytes of the regular file `path`. Raises FileNotFoundError and Damaged, as `open_regular` does."""
    try:
        with open_regular(path, most) as file:
            # Asked for as many bytes as there are: a buffer of `most` might not fit into memory.
            data = file.read(os.fstat(file.fileno()).st_size + 1)
            while len(data) <= most and (more := file.read(min(2**20, most + 1 - len(data)))):
                data += more
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _unreadable(path, error) from None
    if len(data) > most:  # it grows, or it is of a file system that tells no sizes (/proc)
        raise Damaged(f"{path} is too large for what it should hold (more than {most:,} bytes).")
    return data


def first_bytes(path: Path | str, most: int) -> bytes:
    """The first bytes of the regular file `path`, `most` or all that there are. Raises FileNotFoundError and Damaged."""
    try:
        with open_regular(path) as file:
            return file.read(most)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _unreadable(path, error) from None


def read_gzip(path: Path, most: int = LARGE) -> bytes:
    """The unpacked contents of the gzipped file `path`, `most` bytes at most. Raises FileNotFoundError and Damaged, also for one that is broken
    or unpacks to more."""
    import gzip
    import zlib

    try:
        with open_regular(path, most) as packed, gzip.GzipFile(fileobj=packed) as file:
            data = file.read(most + 1)
    except FileNotFoundError:
        raise
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise Damaged(f"{path} can't be read ({error}).") from None
    except OSError as error:
        raise _unreadable(path, error) from None
    if len(data) > most:
        raise Damaged(f"{path} is too large for what it should hold (more than {most:,} bytes unpacked).")
    return data


def read_text(path: Path | str, most: int = SMALL) -> str:
    """The text of the regular file `path`, what is not UTF-8 replaced. Raises FileNotFoundError and Damaged."""
    return read_bytes(path, most).decode(errors="replace")


def parse_json(data: bytes | str) -> Any:
    """The JSON in `data`. Numbers that JSON does not know or a float does not hold are None, whole ones of more than 64 bits floats.

    Raises ValueError for anything that is not JSON in UTF-8, or nested deeper than DEEPEST.
    """
    text = data.decode() if isinstance(data, bytes) else data
    # Depth is bounded by the number of brackets: only a text of many is walked through.
    many = text.count("[") + text.count("{") > DEEPEST
    try:
        tree = json.loads(text, parse_int=_whole, parse_float=_real, parse_constant=lambda _: None)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if many and too_deep(tree):
        raise ValueError("nested too deeply")
    return tree


def too_deep(tree: Any) -> bool:
    """True if objects and lists in `tree` are nested deeper than DEEPEST."""
    level = [tree] if isinstance(tree, dict | list) else []
    for _ in range(DEEPEST):
        items = (item for each in level for item in (each.values() if isinstance(each, dict) else each))
        level = [item for item in items if isinstance(item, dict | list)]
    return bool(level)


def _whole(text: str) -> float | None:
    return int(text) if len(text) < _DIGITS else _real(text)


def _real(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


def read_json(path: Path, most: int = SMALL) -> dict[str, Any] | None:
    """The object in `path`; None where there is no such file. Raises Damaged where it is not whole JSON, see `parse_json`."""
    try:
        tree = parse_json(read_bytes(path, most))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise Damaged(
            f"{path} is not whole JSON ({error}): move the folder away, or launch again with --new."
        ) from None
    if not isinstance(tree, dict):
        raise Damaged(f"{path} does not hold a JSON object: move the folder away, or launch again with --new.")
    return tree


def is_copy(folder: Path, original: object) -> bool:
    """True if `folder` is a copy: `original`, the path that it had once, is there and is another folder. One that was moved is none."""
    if not isinstance(original, str) or not original or original == str(folder.absolute()):
        return False
    try:
        return Path(original).is_dir() and not folder.samefile(original)
    except (OSError, ValueError):
        return False


def subfolders(folder: Path | str) -> list[str]:
    """The paths of the visible folders in `folder`, sorted; a link that leads nowhere is none.

    Raises FileNotFoundError where `folder` is not there, and Damaged where it can't be listed.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.path for entry in entries if entry.name[0] != "." and _is_folder(entry))
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise Damaged(f"can't list {folder} ({why}): name another folder with --runs DIR.") from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of links, or what lies behind the link may not be looked at
        return False


def folders_below(
    folder: Path, most: int, on_error: Callable[[OSError], object] | None = None
) -> Iterator[tuple[str, list[str]]]:
    """(path, names of its files) of `folder` and of each one below it, in order; links to folders are followed, and none is listed twice.

    It ends after `most` files and folders. `on_error` hears of folders that can't be listed.
    """
    seen: set[tuple[int, int]] = set()
    number = 0
    for place, folders, names in os.walk(folder, onerror=on_error, followlinks=True):
        try:
            found = os.stat(place)  # noqa: PTH116 (a walk of many folders)
        except OSError:
            continue
        if (found.st_dev, found.st_ino) in seen:
            folders.clear()
            continue
        seen.add((found.st_dev, found.st_ino))
        folders.sort()
        yield place, sorted(names)
        number += 1 + len(names)
        if number > most:
            return


def raise_error(error: OSError) -> None:
    """Raise it: for `folders_below` where a folder that can't be listed must not pass for an empty one."""
    raise error
