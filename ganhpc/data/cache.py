"""Images decoded once and kept: a safetensors file with a checksum in a JSON file beside it.

`cached` gives the tensors of an identity (what they were made from, and how), making them where no good copy is kept. Two processes that
ask at once make them once; a copy that is damaged is made again. Nothing in the cache is ever executed or unpickled. Importing this
module doesn't import torch.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganhpc.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

VARIABLE = "GANHPC_DATA"
"""Environment variable that names the cache folder."""
_FORMAT = 1
_log = logging.getLogger(__name__)

Make = Callable[[], "tuple[dict[str, Tensor], dict[str, Any]]"]
"""Makes what is kept: tensors by name, and facts about them as JSON values."""


@dataclass(frozen=True)
class Cached:
    """What `cached` found or made. `info` are the facts that came with the tensors; `made` says that this call made them, `repaired`
    that it replaced a damaged copy."""

    tensors: dict[str, Tensor]
    info: dict[str, Any]
    path: Path
    made: bool = False
    repaired: bool = False


def cache_folder() -> Path:
    """`$GANHPC_DATA`, or `~/.cache/ganhpc`. Put it on fast storage that the compute nodes see too."""
    return Path(os.environ.get(VARIABLE) or "~/.cache/ganhpc").expanduser()


def digest(tree: Any) -> str:
    """A short name for a JSON value: 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:16]


def place(name: str, identity: Mapping[str, Any]) -> Path:
    """The file that holds the tensors of `identity`."""
    return cache_folder() / f"{name}-{digest(dict(identity))}.safetensors"


def sidecar(path: Path) -> Path:
    """The JSON file beside the tensors in `path`."""
    return path.with_suffix(".json")


def facts(path: Path) -> dict[str, Any] | None:
    """The `info` beside `path`, without a look at the tensors; None where it can't be read."""
    try:
        info = json.loads(sidecar(path).read_bytes())["info"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return info if isinstance(info, dict) else None


def cached(name: str, identity: Mapping[str, Any], make: Make) -> Cached:
    """The tensors and facts of `identity`, from the cache or from `make`.

    `name` begins the file's name, for people who look into the folder; `identity` is made of JSON values. Raises UserError where the
    cache can't be written.
    """
    from filelock import FileLock, Timeout

    path = place(name, identity)
    found, _ = _read(path, identity)
    if found:
        return found
    with _storage(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_suffix(".lock"))
        try:
            lock.acquire(blocking=False)
        except Timeout:
            _log.warning("another process is making %s: waiting for it.", path)
            lock.acquire()
    try:
        found, damage = _read(path, identity)
        if found:
            return found
        if damage:
            _log.warning("the cache %s is damaged (%s): making it again.", path, damage)
        tensors, info = make()
        _write(path, identity, tensors, info)
        return Cached(tensors, info, path, made=True, repaired=bool(damage))
    finally:
        lock.release()


def _read(path: Path, identity: Mapping[str, Any]) -> tuple[Cached | None, str]:
    """(what is kept, "") or (None, what is wrong with it, "" where nothing is kept)."""
    try:
        beside = json.loads(sidecar(path).read_bytes())
        if (beside["format"], beside["identity"]) != (_FORMAT, json.loads(json.dumps(dict(identity)))):
            return None, "the file beside it speaks of other images"
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size != beside["bytes"]:
                return None, "its length is wrong"
            if hashlib.file_digest(file, "sha256").hexdigest() != beside["sha256"]:
                return None, "its checksum is wrong"
        from safetensors.torch import load_file

        return Cached(load_file(path), beside["info"], path), ""
    except FileNotFoundError as error:
        return None, "" if Path(error.filename) == sidecar(path) else "it is gone, but the file beside it is not"
    except OSError as error:
        return None, f"it can't be read: {error.strerror}"
    except (ValueError, KeyError, TypeError):
        return None, "the file beside it can't be read"


def _write(path: Path, identity: Mapping[str, Any], tensors: dict[str, Tensor], info: dict[str, Any]) -> None:
    """Tensors first: without the file beside them they count as absent."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(3)}.tmp")
    with _storage(path):
        try:
            save_file(tensors, temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
                size, checksum = os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest()
            sidecar(path).unlink(missing_ok=True)
            temporary.replace(path)
            tree = {"format": _FORMAT, "identity": dict(identity), "bytes": size, "sha256": checksum, "info": info}
            temporary.write_text(json.dumps(tree, indent=1) + "\n")
            path.chmod(temporary.stat().st_mode & 0o777)  # safetensors writes for the owner alone; the umask decides
            temporary.replace(sidecar(path))
        except SafetensorError as error:
            raise OSError(0, str(error)) from error
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def _storage(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"can't write the image cache {path} ({error.strerror or error}): set {VARIABLE} to a folder that can be written and has room."
        ) from error
