"""A cache of small JSON files that were read before, for folders of thousands of runs

The folder stays the truth: a file is taken from here only while its times, size and inode are those of when it was read, and whether
a file exists is always asked of the folder. Only result.json and experiment.json are kept, which are written once; where a run
stands (status, lock, request) is read anew each time.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import orjson

from ganhpc.core.digests import short_digest
from ganhpc.core.errors import UserError
from ganhpc.core.files import LARGE, SMALL, atomic_open, open_regular, parse_json, read_bytes, too_deep
from ganhpc.core.whoami import base_folder

_FORMAT = 1
SMALLEST = 200
"""Below so many files, reading them is as quick."""
SETTLED = 2.0
"""A file that changed within so many seconds of being read may change again without its times telling: it is not kept."""

_MANY = 40
"""A file with no more brackets needs no look at its depth."""

_Tree = dict[str, Any]
_Stamp = list[int]


def place(runs: str, kind: str) -> Path:
    """The file that keeps the `kind` (result or experiment) of the runs in the folder `runs`."""
    root = base_folder("XDG_CACHE_HOME", "~/.cache")
    name = short_digest(os.fsencode(os.path.realpath(runs)), 16)
    return root / "ganhpc" / "results" / f"{name}-{kind}.json"


def decode(data: bytes) -> Any:
    """The JSON in `data` as `files.parse_json` reads it, but quickly. Raises ValueError for anything else."""
    try:
        tree = orjson.loads(data)
    except ValueError:
        return parse_json(data)
    if data.count(b"[") + data.count(b"{") > _MANY and too_deep(tree):
        raise ValueError("nested too deeply")
    return tree


class Index:
    """The files <run folder>/<kind>.json below `runs`, read through the cache."""

    def __init__(self, runs: str, kind: str) -> None:
        self._file, self._name = place(runs, kind), f"/{kind}.json"
        self._root = os.path.realpath(runs) if os.path.islink(runs) else os.path.abspath(runs)  # noqa: PTH100, PTH114
        self._typed = len(runs.rstrip("/")) + 1
        self._known = self._load()
        self._fresh: dict[str, tuple[_Stamp, _Tree]] = {}
        self._used: dict[str, tuple[_Stamp, _Tree]] = {}

    def _load(self) -> dict[str, Any]:
        """The kept files; nothing where that is not whole, of another version, or not readable."""
        try:
            tree = orjson.loads(read_bytes(self._file, LARGE))
            files = tree["files"] if tree["format"] == _FORMAT and tree["runs"] == self._root else {}
            return files if isinstance(files, dict) else {}
        except (OSError, UserError, ValueError, KeyError, TypeError):
            return {}

    def read(self, folder: str) -> _Tree:
        """The object in the file of the run `folder`; the caller must not change it. Raises FileNotFoundError and Damaged as
        reading does, ValueError where it is no JSON and TypeError where it is no object."""
        path, key = folder + self._name, folder[self._typed :]
        kept = self._known.get(key)
        if kept is not None:
            try:
                stamp, tree = kept
                if stamp == _stamp(os.stat(path)) and type(tree) is dict:  # noqa: PTH116
                    self._used[key] = kept
                    return tree
            except (ValueError, TypeError):
                pass  # the cache has something else there
        with open_regular(path, SMALL) as file:
            stat = os.fstat(file.fileno())
            tree = decode(file.read(stat.st_size))
        if type(tree) is not dict:
            raise TypeError(f"it holds {type(tree).__name__}, not an object")
        if time.time() - max(stat.st_mtime, stat.st_ctime) > SETTLED:
            self._fresh[key] = (_stamp(stat), tree)
        return tree

    def save(self) -> None:
        """Keep what was read, in one step; two programs that do so at once leave the file of one of them. A cache that can't be
        written is none."""
        if len(self._fresh) + len(self._used) < SMALLEST or not (self._fresh or len(self._used) < len(self._known)):
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            data = orjson.dumps({"format": _FORMAT, "runs": self._root, "files": {**self._used, **self._fresh}})
            with atomic_open(self._file, durable=False) as file:
                file.write(data)
        except (OSError, UserError, TypeError, ValueError):
            return


def _stamp(stat: os.stat_result) -> _Stamp:
    return [stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino]
