"""Checkpoints: atomic, verified, and always one good one behind the newest."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganhpc.core.errors import StorageFault, UserError
from ganhpc.core.files import atomic_open, may_pass, read_bytes, read_json, write_json
from ganhpc.core.printable import printable
from ganhpc.core.storage_errors import fault

_KEEP = 2
_NAME = re.compile(r"step-[0-9]{10,19}")
FORMAT = 1
MOST_BYTES = 2**36
"""No larger file is read as a checkpoint: 64 GiB."""


def save(folder: Path, step: int, tree: dict[str, Any]) -> Path:
    """Write `tree` (tensors, numbers, strings, and lists and dicts of them) as the checkpoint of `step`.

    The sidecar with the checksum comes last: without it the checkpoint does not exist. Older ones are removed only then.
    Raises UserError where the disk is full or can't be written; earlier checkpoints are intact.
    """
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **tree}, buffer)
    data = buffer.getbuffer()
    path = folder / f"step-{step:010d}.pt"
    with atomic_open(path) as file:
        file.write(data)
    write_json(
        path.with_suffix(".json"), {"step": step, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    )
    # Only older ones make room, and only for a whole one: a broken one, of an earlier or a later step, takes no whole one's place.
    kept = 1
    for old in (each for each in _newest_first(folder) if _step(each) < step):
        if kept == _KEEP:
            old.unlink(missing_ok=True)
            old.with_suffix(".pt").unlink(missing_ok=True)
        elif _verified(old) is not None:
            kept += 1
    return path


class Unusable(Exception):
    """The content of a checkpoint does not fit the run that should go on from it: the one before it may."""


@dataclass(frozen=True)
class _Loaded:
    """The newest checkpoint that could be read, and a sentence for each newer one that could not."""

    tree: dict[str, Any] | None
    name: str
    notes: list[str]
    step: int = 0
    """By its name."""


def load(folder: Path, device: torch.device) -> tuple[dict[str, Any] | None, list[str]]:
    """The newest whole checkpoint below `folder` (None: there is none), and a sentence for each that is broken.

    Raises UserError where the newest whole one was written in another format, and StorageFault where none is left but some could not be read.
    """
    found = newest(folder, device)
    return found.tree, found.notes


def newest(folder: Path, device: torch.device, without: Collection[str] = (), signature: str = "") -> _Loaded:
    """The newest whole checkpoint below `folder` that is not one of `without`, by their names, nor says that it is of a run with another
    `signature`: its weights would become this run's result. Raises UserError as `load` does.
    """
    notes: list[str] = []
    faults: list[StorageFault] = []
    for sidecar in _newest_first(folder):
        if sidecar.stem in without:
            continue
        data = _verified(sidecar, faults)
        tree = None if data is None else _content(data, device)
        why = "its checksum does not match" if data is None else "it does not hold what a checkpoint does"
        if tree is not None and _is_of_another(tree, signature):
            tree, why = None, "it is of another run"
        if tree is None:
            notes.append(f"checkpoint {printable(sidecar.stem)} is broken ({why}): going back to the one before")
            continue
        if tree["format"] != FORMAT:
            raise UserError(
                f"{sidecar.with_suffix('.pt')} is of format {tree['format']!r} and this version reads format {FORMAT}: "
                "use the version that made it, or launch again with --new."
            )
        return _Loaded(tree, sidecar.stem, notes, _step(sidecar))
    if faults:
        raise faults[0]  # to start over would throw away what may be read again in a moment
    if notes or without:
        notes.append("no whole checkpoint is left: starting over")
    return _Loaded(None, "", notes)


def _is_of_another(tree: Mapping[str, Any], signature: str) -> bool:
    """True if a checkpoint's content says that it is of a run with another signature. Those of older versions don't tell their run."""
    said = tree.get("signature")
    return bool(signature) and isinstance(said, str) and said not in ("", signature)


def _newest_first(folder: Path) -> list[Path]:
    """The sidecars of checkpoints. Files of other names, such as somebody's copies, are none: they are neither read nor removed."""
    return sorted((path for path in folder.glob("step-*.json") if _NAME.fullmatch(path.stem)), key=_step, reverse=True)


def _step(sidecar: Path) -> int:
    return int(sidecar.stem.removeprefix("step-"))


def _verified(sidecar: Path, faults: list[StorageFault] | None = None) -> bytes | None:
    """The bytes of a checkpoint, or None where they are not those that were written, or can't be read; `faults` takes a fault that may pass."""
    try:
        said, path = read_json(sidecar), sidecar.with_suffix(".pt")
        # A look first: a file of another length may have more bytes than there is memory for.
        if not said or said.get("bytes") not in (None, path.stat().st_size):
            return None
        data = read_bytes(path, MOST_BYTES)
    except FileNotFoundError:
        return None
    except (UserError, OSError, MemoryError) as error:
        if isinstance(error, MemoryError):
            error = OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        found = fault(error, sidecar, doing="read") if isinstance(error, OSError) else error
        if may_pass(found) and faults is not None:
            faults.append(found)
        return None
    return data if hashlib.sha256(data).hexdigest() == said.get("sha256") else None


def _content(data: bytes, device: torch.device) -> dict[str, Any] | None:
    """Contents that `save` wrote, or None where `data` is anything else. Runs no code of the file, and takes no more memory than the file."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as parts:
            # Ours are stored as they are; a compressed part may hold a thousand times its size.
            if sum(part.file_size for part in parts.infolist()) > len(data):
                return None
        tree = torch.load(io.BytesIO(data), map_location=device, weights_only=True)
    except Exception:  # torch raises whatever its readers of zip files and pickles meet
        return None
    return tree if isinstance(tree, dict) and type(tree.get("format")) is int else None


def weights_sha256(weights: Mapping[str, Tensor]) -> str:
    """A checksum of the values, types and shapes of `weights`, in the order of their names. The same on any machine."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        value = weights[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
