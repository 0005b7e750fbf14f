"""CIFAR-10 as torchvision keeps it: a folder of six pickles, or the archive that has them.

A pickle can run anything, and MD5 can be forged. So the checksum comes first, and then an unpickler that knows numpy's arrays and nothing else.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganhpc.core.files import Damaged, first_bytes, open_regular
from ganhpc.datasets.cifar10.spec import CLASSES, SHAPE, Arrays, Spec, Unavailable
from ganhpc.datasets.tar_members import BadArchive, members

if TYPE_CHECKING:
    from numpy import ndarray

_LONGEST = 64 << 20
"""Bytes of one file; the real ones have 31 million."""


def read_folder(folder: Path, spec: Spec) -> Arrays:
    """The images in torchvision's folder. Raises Unavailable where a file is missing, can't be read or has another checksum."""

    def file(name: str) -> bytes:
        try:
            return first_bytes(folder / name, _LONGEST)
        except OSError as error:
            raise Unavailable(f"{name}: {error.strerror}") from error
        except Damaged as error:
            raise Unavailable(str(error).rstrip(".")) from error

    return assemble(((name, file(name)) for name, _ in (*spec.train_files, spec.test_file)), spec)


def read_archive(path: Path, spec: Spec) -> Arrays:
    """The images in the author's archive, which is not unpacked. Raises Unavailable as above."""
    wanted = {f"{spec.folder}/{name}": _LONGEST for name, _ in (*spec.train_files, spec.test_file)}
    try:
        with open_regular(path) as stream:
            if hashlib.file_digest(stream, _md5).hexdigest() != spec.archive_md5:
                raise Unavailable("its checksum is wrong (a download that broke off?)")
            stream.seek(0)
            return assemble(((name.rpartition("/")[2], data) for name, data in members(stream, wanted)), spec)
    except OSError as error:
        raise Unavailable(f"it can't be read: {error.strerror}") from error
    except (BadArchive, Damaged) as error:
        raise Unavailable(str(error).rstrip(".")) from error


def assemble(files: Iterable[tuple[str, bytes]], spec: Spec) -> Arrays:
    """The arrays of the six files, given as (name, content) in any order. Raises Unavailable where one isn't what it should be."""
    import numpy as np

    sums, read = dict((*spec.train_files, spec.test_file)), {}
    for name, data in files:
        if _md5(data).hexdigest() != sums[name]:
            raise Unavailable(f"the checksum of {name} is wrong")
        read[name] = _batch(name, data, spec.per_file)
    train = [read[name] for name, _ in spec.train_files]
    test_images, test_labels = read[spec.test_file[0]]
    return {
        "train_images": np.concatenate([images for images, _ in train]),
        "train_labels": np.concatenate([labels for _, labels in train]),
        "test_images": test_images,
        "test_labels": test_labels,
    }


def _md5(data: bytes = b"") -> Any:
    return hashlib.md5(data, usedforsecurity=False)


def _batch(name: str, data: bytes, number: int) -> tuple[ndarray, ndarray]:
    """Images uint8 [n, 3, 32, 32] and labels uint8 [n] of one file."""
    import numpy as np

    try:
        tree = _Unpickler(io.BytesIO(data), encoding="latin1").load()
        images, labels = tree["data"], np.array(tree["labels"])
        if (images.dtype, images.size, labels.shape) != (np.uint8, number * 3072, (number,)):
            raise ValueError("another number of images")
        if labels.dtype.kind != "i" or labels.min() < 0 or labels.max() >= len(CLASSES):
            raise ValueError("labels that are none")
        return images.reshape(number, *SHAPE), labels.astype(np.uint8)
    except Exception as error:  # a hostile pickle can raise anything; nothing of it has run
        raise Unavailable(f"{name} is not a file of CIFAR-10 ({error})") from error


class _Unpickler(pickle.Unpickler):
    """Knows how numpy rebuilds an array, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """The named thing, where it is one of three. Raises UnpicklingError otherwise."""
        import numpy as np

        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        if (module, name) in {("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct")}:
            return _reconstruct
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _reconstruct(kind: Any, shape: Any, _code: Any) -> ndarray:
    """An empty array that the pickle then fills, as numpy's own function of this name makes it."""
    import numpy as np

    if kind is not np.ndarray or shape != (0,):
        raise pickle.UnpicklingError("it builds something other than an array")
    return np.ndarray((0,), np.uint8)
