"""Writing files so that a reader never sees half of one, and so that a full disk becomes a sentence."""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ganhpc.errors import UserError

_REASONS = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "your disk quota is used up: free some space",
    errno.EFBIG: "the file would be larger than this system allows: raise the limit (ulimit -f)",
    errno.EROFS: "the file system is read-only: choose another folder with --runs DIR",
    errno.EACCES: "permission is denied: choose another folder with --runs DIR",
    errno.EPERM: "permission is denied: choose another folder with --runs DIR",
    errno.EIO: "the device reports an input/output error: choose another folder with --runs DIR",
    errno.ESTALE: "the network file system lost the folder: wait until it is mounted again",
}


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn what a full disk, a quota or a read-only folder raises into a UserError that names `path`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _REASONS:
            raise
        raise UserError(
            f"can't write {path}: {_REASONS[error.errno]}, then type the same command again; earlier files are intact."
        ) from error


@contextmanager
def atomic_open(path: Path, *, durable: bool = True) -> Iterator[IO[bytes]]:
    """A binary file that takes `path`'s place when the block ends well, and vanishes when it does not.

    `durable` waits until the bytes are on the disk, so that a power cut keeps either the old file or the new one.
    Raises UserError where the disk is full or the folder can't be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(3)}.tmp")
    with storage_errors(path):
        try:
            with temporary.open("wb") as file:
                yield file
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        if durable:
            sync_folder(path.parent)


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


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in `path`; None where there is no such file. Raises UserError where it is not whole JSON."""
    try:
        tree = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, IsADirectoryError) as error:
        raise UserError(
            f"{path} is not whole JSON ({error}): move the folder away, or launch again with --new."
        ) from None
    if not isinstance(tree, dict):
        raise UserError(f"{path} does not hold a JSON object: move the folder away, or launch again with --new.")
    return tree
