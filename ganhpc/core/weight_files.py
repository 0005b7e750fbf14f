"""Files of weights (safetensors), read without torch: the definition that an exported network carries, and a digest of its weights."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import IO, Any

from ganhpc.core.files import Damaged, open_regular, parse_json

_MOST_HEADER = 2**24
_PIECE = 2**20


def definition_of(path: Path) -> dict[str, Any]:
    """The definition of the exported network in `path`; {} where the file holds weights alone.

    Raises FileNotFoundError, and Damaged where it is no whole file of weights.
    """
    with open_regular(path) as file:
        return _definition(_header(file, path), path)


def digest_of(path: Path) -> str:
    """24 hexadecimal digits for an exported network: its definition, and each tensor's name, type, shape and values. The order in which the file
    has them, and the version that wrote it, don't count.

    Raises as `definition_of`.
    """
    import hashlib  # loads OpenSSL, and most commands need no digest

    found = hashlib.blake2b(digest_size=12)
    with open_regular(path) as file:
        header = _header(file, path)
        start = file.tell()
        found.update(json.dumps(_definition(header, path), sort_keys=True).encode())
        for name in sorted(header.keys() - {"__metadata__"}):
            about = header[name]
            found.update(json.dumps([name, about["dtype"], about["shape"]]).encode())
            first, end = about["data_offsets"]
            file.seek(start + first)
            for at in range(first, end, _PIECE):
                found.update(file.read(min(_PIECE, end - at)))
    return found.hexdigest()


def _header(file: IO[bytes], path: Path) -> dict[str, Any]:
    """The file's first part: what it says of itself, and of each tensor. The file stands at its weights afterwards."""
    size = os.fstat(file.fileno()).st_size
    try:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(_MOST_HEADER, size - 8):
            raise ValueError
        tree = parse_json(file.read(length))
        total = 0
        for name, about in tree.items():
            if name == "__metadata__":
                continue
            first, end = about["data_offsets"]
            if type(first) is not int or type(end) is not int or not isinstance(about["shape"], list):
                raise TypeError
            if not 0 <= first <= end <= size - 8 - length:
                raise ValueError
            total += end - first
            str(about["dtype"])
        if total > size - 8 - length:  # no two share their values: reading them takes as long as the file is
            raise ValueError
    except (ValueError, TypeError, KeyError, AttributeError, OSError):
        raise Damaged(f"{path} is no whole file of weights.") from None
    return tree


def _definition(header: dict[str, Any], path: Path) -> dict[str, Any]:
    about = header.get("__metadata__")
    text = about.get("definition") if isinstance(about, dict) else None
    if text is None:
        return {}
    try:
        tree = parse_json(text) if isinstance(text, str) else None
    except ValueError:
        tree = None
    if not isinstance(tree, dict):
        raise Damaged(f"{path} has a definition that can't be read.")
    return tree
