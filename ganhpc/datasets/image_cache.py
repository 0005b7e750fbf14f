"""Images decoded once and kept: a safetensors file with a checksum in a JSON file beside it.

`cached` gives the tensors of an identity (what they were made from, and how), making them where no good copy is kept. Two processes that
ask at once make them once; a copy that is damaged is made again. Nothing in the cache is ever executed or unpickled. Importing this
module doesn't import torch.
"""

from __future__ import annotations

import glob
import hashlib
import json
import logging
import os
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganhpc.core.digests import short_digest
from ganhpc.core.errors import StorageFault
from ganhpc.core.files import Damaged, handle_path, open_regular, read_bytes, sync_folder
from ganhpc.core.printable import printable
from ganhpc.core.storage_errors import fault
from ganhpc.core.whoami import expand

if TYPE_CHECKING:
    from torch import Tensor

VARIABLE = "GANHPC_DATA"
"""Environment variable that names the cache folder."""
_FORMAT = 1
_log = logging.getLogger(__name__)
WHOLE_NUMBERS = ("uint8", "int8", "int16", "int32", "int64")
"""Types of tensors that hold labels and places."""

Tensors = Mapping[str, Any]
"""Arrays by name: all of torch, or all of numpy."""
Make = Callable[[], "tuple[Tensors, dict[str, Any]]"]
"""Makes what is kept: tensors by name, and facts about them as JSON values."""


@dataclass(frozen=True)
class Cached:
    """Result of `cached`: found or made. `info` are the facts that came with the tensors; `made` says that this call made them, `repaired`
    that it replaced a damaged copy."""

    tensors: dict[str, Tensor]
    info: dict[str, Any]
    path: Path
    made: bool = False
    repaired: bool = False

    def tensor(self, name: str, *shape: int | None, kinds: Collection[str] = ("uint8",)) -> Tensor:
        """The tensor `name`, of one of the types `kinds` and of `shape` (None: a length of 1 or more). Raises Damaged where the copy has no such one."""
        found = self.tensors.get(name)
        if found is None or found.dim() != len(shape) or str(found.dtype).removeprefix("torch.") not in kinds:
            raise strange(self.path)
        if any(
            size != wanted if wanted is not None else not size for size, wanted in zip(found.shape, shape, strict=True)
        ):
            raise strange(self.path)
        return found

    def fact(self, name: str, fits: Callable[[Any], bool]) -> Any:
        """The fact `name`. Raises Damaged where there is none for which `fits` holds."""
        value = self.info.get(name)
        if not fits(value):
            raise strange(self.path)
        return value


def cache_folder() -> Path:
    """`$GANHPC_DATA`, or `~/.cache/ganhpc`. Put it on fast storage that the compute nodes see too."""
    return expand(os.environ.get(VARIABLE) or "~/.cache/ganhpc")


def digest(tree: Any) -> str:
    """A short name for a JSON value: 16 hexadecimal digits."""
    return short_digest(json.dumps(tree, sort_keys=True), 16)


def place(name: str, identity: Mapping[str, Any], folder: Path | None = None) -> Path:
    """The file that holds the tensors of `identity`, in `folder` or else in `cache_folder()`."""
    return (folder or cache_folder()) / f"{name}-{digest(dict(identity))}.safetensors"


def sidecar(path: Path) -> Path:
    """The JSON file beside the tensors in `path`."""
    return path.with_suffix(".json")


def facts(path: Path) -> dict[str, Any] | None:
    """The `info` beside `path`, without a look at the tensors; None where it can't be read."""
    try:
        info = json.loads(read_bytes(sidecar(path)))["info"]
    except (OSError, Damaged, ValueError, KeyError, TypeError, RecursionError):
        return None
    return info if isinstance(info, dict) else None


def cached(name: str, identity: Mapping[str, Any], make: Make, folder: Path | None = None) -> Cached:
    """The tensors and facts of `identity`, from the cache or from `make`.

    `name` begins the file's name, for people who look into the folder; `identity` is made of JSON values. Raises UserError where the
    cache can't be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = place(name, identity, folder)
    made, damage = _have(path, identity, make, checksum=True)
    try:
        # By its handle: what has taken its place since it was checked, such as a fifo, would be waited for.
        with open_regular(path) as file:
            return Cached(load_file(handle_path(file)), facts(path) or {}, path, made, repaired=bool(damage))
    except SafetensorError:
        raise strange(path) from None
    except OSError as error:
        raise fault(error, path, doing="read") from error


def strange(path: Path) -> Damaged:
    """The error on a copy of the right checksum that this program has not made."""
    return Damaged(
        f"the cache {printable(path)} and the file beside it agree, and are none of this program's: remove both, and they are made again."
    )


def ensure(name: str, identity: Mapping[str, Any], make: Make, folder: Path | None = None) -> Path:
    """The file that `cached` reads, made where there is none of the right length. At once where there is: its checksum is left to
    `cached`. Doesn't import torch, where `make` doesn't. Raises UserError where the cache can't be written."""
    path = place(name, identity, folder)
    _have(path, identity, make, checksum=False)
    return path


def check(path: Path, identity: Mapping[str, Any], *, checksum: bool = True) -> tuple[bool, str]:
    """True if `path` holds the whole of `identity`, and what is wrong with it ("" where nothing is, or nothing is kept)."""
    try:
        beside = json.loads(read_bytes(sidecar(path)))
        if (beside["format"], beside["identity"]) != (_FORMAT, json.loads(json.dumps(dict(identity)))):
            return False, "the file beside it speaks of other images"
        # Older versions kept no digest of the facts.
        if not isinstance(beside["info"], dict) or beside.get("facts") not in (None, digest(beside["info"])):
            return False, "the facts in the file beside it are damaged"
        with open_regular(path) as file:
            if os.fstat(file.fileno()).st_size != beside["bytes"]:
                return False, "its length is wrong"
            if checksum and hashlib.file_digest(file, "sha256").hexdigest() != beside["sha256"]:
                return False, "its checksum is wrong"
        return True, ""
    except FileNotFoundError as error:
        return False, "" if Path(error.filename) == sidecar(path) else "it is gone, but the file beside it is not"
    except OSError as error:
        return False, f"it can't be read: {error.strerror}"
    except Damaged as error:
        return False, str(error).rstrip(".")
    except (ValueError, KeyError, TypeError, RecursionError):
        return False, "the file beside it can't be read"


def _have(path: Path, identity: Mapping[str, Any], make: Make, *, checksum: bool) -> tuple[bool, str]:
    """See that `path` is whole; (whether it was made now, what was wrong with the one before)."""
    from filelock import FileLock, Timeout

    if check(path, identity, checksum=checksum)[0]:
        return False, ""
    with storage(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_suffix(".lock"))  # the system frees it when its holder dies
        try:
            lock.acquire(blocking=False)
        except Timeout:
            _log.warning("another process is making %s: waiting for it.", path)
            lock.acquire()
    try:
        whole, damage = check(path, identity, checksum=checksum)
        if whole:
            return False, ""
        if damage:
            _log.warning("the cache %s is damaged (%s): making it again.", path, damage)
        _write(path, identity, *make())
        return True, damage
    finally:
        lock.release()


def _write(path: Path, identity: Mapping[str, Any], tensors: Tensors, info: dict[str, Any]) -> None:
    """Tensors first: without the file beside them they count as absent. The caller holds the lock."""
    from safetensors import SafetensorError

    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(3)}.tmp")
    with storage(path):
        for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):  # by a process that was killed
            left.unlink(missing_ok=True)
        try:
            _save(tensors, temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
                size, checksum = os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest()
            sidecar(path).unlink(missing_ok=True)
            temporary.replace(path)
            tree = {"format": _FORMAT, "identity": dict(identity), "bytes": size, "sha256": checksum, "info": info}
            tree["facts"] = digest(info)
            with temporary.open("w") as beside:
                beside.write(json.dumps(tree, indent=1) + "\n")
                beside.flush()
                os.fsync(beside.fileno())
            path.chmod(temporary.stat().st_mode & 0o777)  # safetensors writes for the owner alone; the umask decides
            temporary.replace(sidecar(path))
            sync_folder(path.parent)
        except SafetensorError as error:
            raise OSError(0, str(error)) from error
        finally:
            temporary.unlink(missing_ok=True)


def _save(tensors: Tensors, path: Path) -> None:
    if all(type(tensor).__module__ == "numpy" for tensor in tensors.values()):
        import safetensors.numpy

        safetensors.numpy.save_file(dict(tensors), path)
    else:
        import safetensors.torch

        safetensors.torch.save_file(dict(tensors), path)


@contextmanager
def storage(path: Path) -> Iterator[None]:
    """Turn an OSError while writing to `path` into a UserError."""
    try:
        yield
    except OSError as error:
        raise StorageFault(
            f"can't write the image cache {path} ({error.strerror or error}): set {VARIABLE} to a folder that can be written and has room.",
            number=error.errno or 0,
            passing=fault(error).passing,
        ) from error
