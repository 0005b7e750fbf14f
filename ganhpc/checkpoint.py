"""Checkpoints: atomic, verified, and always one good one behind the newest."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganhpc.errors import UserError
from ganhpc.files import atomic_open, read_json, write_json

KEEP = 2
FORMAT = 1


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
    for old in _newest_first(folder)[KEEP:]:
        old.unlink(missing_ok=True)
        old.with_suffix(".pt").unlink(missing_ok=True)
    return path


def load(folder: Path, device: torch.device) -> tuple[dict[str, Any] | None, list[str]]:
    """The newest whole checkpoint below `folder` (None: there is none), and a sentence for each that is broken.

    Raises UserError where the newest whole one was written in another format.
    """
    notes: list[str] = []
    for sidecar in _newest_first(folder):
        data = _verified(sidecar)
        if data is None:
            notes.append(
                f"checkpoint {sidecar.stem} is broken (its checksum does not match): going back to the one before"
            )
            continue
        tree = torch.load(io.BytesIO(data), map_location=device, weights_only=True)
        if tree.get("format") != FORMAT:
            raise UserError(
                f"{sidecar.with_suffix('.pt')} is of format {tree.get('format')!r} and this version reads format {FORMAT}: "
                "use the version that made it, or launch again with --new."
            )
        return tree, notes
    if notes:
        notes.append("no whole checkpoint is left: starting over")
    return None, notes


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.json"), reverse=True)


def _verified(sidecar: Path) -> bytes | None:
    """The bytes of a checkpoint, or None where they are not those that were written."""
    try:
        said = read_json(sidecar)
        data = sidecar.with_suffix(".pt").read_bytes()
    except (UserError, OSError):
        return None
    return data if said and hashlib.sha256(data).hexdigest() == said.get("sha256") else None


def weights_sha256(weights: Mapping[str, Tensor]) -> str:
    """A checksum of the values, types and shapes of `weights`, in the order of their names. The same on any machine."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        value = weights[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
