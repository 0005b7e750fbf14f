"""A small stand-in for CIFAR-10 in every form that it comes in: 100 training and 20 test images of noise. The same bytes in every process."""

from __future__ import annotations

import base64
import functools
import gzip
import hashlib
import io
import json
import pickle
import struct
import tarfile
from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import Image

from ganhpc.datasets.cifar10.spec import Figures, Spec

PER_FILE = 20
TRAIN = [f"data_batch_{k}" for k in range(1, 6)]
Entry = tuple[str, bytes | tarfile.TarInfo]


class Python2Pickler(pickle._Pickler):  # type: ignore[name-defined,misc]
    """Writes text and bytes as Python 2 wrote its strings, and numpy's function under the name that it had then."""

    dispatch = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def _string(self, value: str | bytes) -> None:
        data = value.encode("latin1") if isinstance(value, str) else value
        self.write(pickle.BINSTRING + struct.pack("<i", len(data)) + data)

    def _global(self, value: Any, _name: str | None = None) -> None:
        module = "numpy.core.multiarray" if value.__name__ == "_reconstruct" else value.__module__
        self.write(pickle.GLOBAL + f"{module}\n{value.__name__}\n".encode())

    dispatch[str] = dispatch[bytes] = _string
    save_global = _global
    dispatch[type] = _global
    dispatch[type(len)] = dispatch[type(lambda: 0)] = _global


def dumps(tree: Any) -> bytes:
    out = io.BytesIO()
    Python2Pickler(out, protocol=2).dump(tree)
    return out.getvalue()


@functools.cache
def arrays() -> dict[str, np.ndarray]:
    """What every reader must give."""
    rng = np.random.default_rng(0)
    made = {}
    for part, n in (("train", 5 * PER_FILE), ("test", PER_FILE)):
        made[f"{part}_images"] = rng.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8)
        made[f"{part}_labels"] = rng.permutation(np.arange(n) % 10).astype(np.uint8)
    return made


def parts() -> Iterable[tuple[str, np.ndarray, np.ndarray]]:
    """(name, images, labels) of the six files."""
    made = arrays()
    for k, name in enumerate(TRAIN):
        cut = slice(k * PER_FILE, (k + 1) * PER_FILE)
        yield name, made["train_images"][cut], made["train_labels"][cut]
    yield "test_batch", made["test_images"], made["test_labels"]


@functools.cache
def batches() -> dict[str, bytes]:
    """torchvision's six files."""
    return {
        name: dumps({"batch_label": name, "labels": labels.tolist(), "data": images.reshape(PER_FILE, 3072)})
        for name, images, labels in parts()
    }


def png(images: np.ndarray, form: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.fromarray(images.transpose(0, 2, 3, 1).reshape(len(images), 1024, 3)).save(out, form)
    return out.getvalue()


@functools.cache
def package() -> dict[str, bytes]:
    """The files of the npm package."""
    files = {f"package/{name}.png": png(images) for name, images, _ in parts()}
    labels = {part: json.dumps(arrays()[f"{part}_labels"].tolist()).encode() for part in ("train", "test")}
    lists = {f"package/{part}_lables.json": text for part, text in labels.items()}
    return {"package/package.json": b"{}", **files, **lists}


def tgz(entries: Iterable[Entry]) -> bytes:
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in entries:
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> Entry:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return name, info


@functools.cache
def tarball() -> bytes:
    return tgz(package().items())


@functools.cache
def archive() -> bytes:
    """The author's archive."""
    return tgz((f"cifar-10-batches-py/{name}", data) for name, data in batches().items())


def integrity(data: bytes) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def figures(part: str) -> Figures:
    images, labels = arrays()[f"{part}_images"] / 255.0, arrays()[f"{part}_labels"]
    over = (0, 2, 3)
    return Figures(len(labels), tuple(images.mean(over)), tuple(images.std(over)), tuple(labels[:12].tolist()))


def spec(**changes: Any) -> Spec:
    """What the made copies are held to. The author's page doesn't exist."""
    values: dict[str, Any] = {
        "per_file": PER_FILE,
        "train_files": tuple((name, md5(batches()[name])) for name in TRAIN),
        "test_file": ("test_batch", md5(batches()["test_batch"])),
        "archive_md5": md5(archive()),
        "url": "http://127.0.0.1:9/cifar-10-python.tar.gz",
        "integrity": integrity(tarball()),
        "train": figures("train"),
        "test": figures("test"),
    }
    return Spec(**{**values, **changes})


def is_whole(found: dict[str, np.ndarray]) -> bool:
    return found.keys() == arrays().keys() and all(np.array_equal(found[key], arrays()[key]) for key in found)
