"""Files read out of a tar archive in one pass, in memory: nothing is ever unpacked."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import IO


class BadArchive(Exception):
    """The archive is broken, lacks a file, or holds what no honest archive of data holds; the message is a clause."""


def members(file: IO[bytes], wanted: Mapping[str, int]) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of the files of a gzipped tar that are named in `wanted`, in the archive's order.

    `wanted` gives the most bytes that each may have. Raises BadArchive, at the latest after the last one, where one is missing, twice
    there or too long, or where any entry of the archive is a link or a device or has a path that leads out of it.
    """
    missing = set(wanted)
    try:
        with tarfile.open(fileobj=file, mode="r|gz") as tar:
            for entry in tar:
                _refuse(entry)
                if entry.name not in wanted:
                    continue
                if entry.name not in missing or not entry.isfile() or entry.size > wanted[entry.name]:
                    raise BadArchive(f"{entry.name} is there twice, or is longer than {wanted[entry.name]:,} bytes")
                missing.discard(entry.name)
                inside = tar.extractfile(entry)
                assert inside is not None, "a regular file can be read"
                data = inside.read()
                if len(data) != entry.size:
                    raise BadArchive("it is cut short")
                yield entry.name, data
    # tarfile lets through what its readers of extended headers meet, such as a number that is none.
    except (
        tarfile.TarError,
        EOFError,
        zlib.error,
        OSError,
        ValueError,
        LookupError,
        ArithmeticError,
        MemoryError,
    ) as error:
        raise BadArchive(f"it can't be read to its end ({error})") from error
    if missing:
        raise BadArchive(f"it has no {', '.join(sorted(missing))}")


def _refuse(entry: tarfile.TarInfo) -> None:
    path = PurePosixPath(entry.name)
    if path.is_absolute() or ".." in path.parts:
        raise BadArchive(f"the path {entry.name!r} in it leads out of it")
    if not (entry.isfile() or entry.isdir()):
        raise BadArchive(f"{entry.name!r} in it is a link or a device")
