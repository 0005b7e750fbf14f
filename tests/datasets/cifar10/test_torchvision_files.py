"""CIFAR-10 in torchvision's form: read right, checked first, and nothing in a pickle ever runs."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest

from ganhpc.datasets.cifar10.spec import Spec, Unavailable
from ganhpc.datasets.cifar10.torchvision_files import assemble, read_archive, read_folder
from tests.datasets import cifar10_made as made

FIRST = "data_batch_1"


def folder(tmp_path, **changes):
    """torchvision's folder; `changes` are other contents of a file, None to leave it out."""
    place = tmp_path / "cifar-10-batches-py"
    place.mkdir()
    for name, data in {**made.batches(), **changes}.items():
        if data is not None:
            (place / name).write_bytes(data)
    return place


def trusting(data: bytes) -> Spec:
    """A spec whose first file is `data`, as if someone had forged the MD5."""
    files = made.spec().train_files
    return made.spec(train_files=((FIRST, made.md5(data)), *files[1:]))


def test_folder_as_python_2_wrote_it(tmp_path):
    data = made.batches()[FIRST]
    assert b"numpy.core.multiarray\n_reconstruct\n" in data
    assert b"_codecs" not in data
    assert made.is_whole(read_folder(folder(tmp_path), made.spec()))


def test_pickles_of_this_python_are_read_too(tmp_path):
    name, images, labels = next(iter(made.parts()))
    data = pickle.dumps({"labels": labels.tolist(), "data": images.reshape(-1, 3072)}, protocol=4)
    assert name == FIRST
    assert made.is_whole(read_folder(folder(tmp_path, data_batch_1=data), trusting(data)))


def test_torchvision_reads_the_made_folder_alike(tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR10

    folder(tmp_path)
    monkeypatch.setattr(CIFAR10, "_check_integrity", lambda _: True)
    monkeypatch.setattr(CIFAR10, "_load_meta", lambda _: None)
    theirs = CIFAR10(str(tmp_path), train=True)
    assert np.array_equal(theirs.data.transpose(0, 3, 1, 2), made.arrays()["train_images"])
    assert theirs.targets == made.arrays()["train_labels"].tolist()


def test_checksums_are_those_of_torchvision():
    from torchvision.datasets import CIFAR10

    spec = Spec()
    assert [list(pair) for pair in spec.train_files] == CIFAR10.train_list
    assert [list(spec.test_file)] == CIFAR10.test_list
    assert (spec.folder, spec.archive, spec.archive_md5, spec.url) == (
        CIFAR10.base_folder,
        CIFAR10.filename,
        CIFAR10.tgz_md5,
        CIFAR10.url,
    )


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "data_batch_1: No such file"),
        (made.batches()[FIRST][:-1], "checksum of data_batch_1 is wrong"),
        (b"", "checksum of data_batch_1 is wrong"),
    ],
)
def test_a_folder_that_is_not_whole(tmp_path, data, words):
    with pytest.raises(Unavailable, match=words):
        read_folder(folder(tmp_path, data_batch_1=data), made.spec())


class Evil:
    def __init__(self, call, *words):
        self.call, self.words = call, words

    def __reduce__(self):
        return self.call, self.words


@pytest.mark.parametrize(
    "tree",
    [
        Evil(os.system, "touch evil"),
        {"labels": [0] * 20, "data": Evil(eval, "open('evil', 'w')")},
        {"labels": [0] * 20, "data": Evil(np.load, "evil")},
        Evil(getattr, np.ndarray, "tofile"),
    ],
)
def test_a_malicious_pickle_is_refused_even_with_the_right_checksum(tmp_path, monkeypatch, tree):
    monkeypatch.chdir(tmp_path)
    data = pickle.dumps(tree)
    with pytest.raises(Unavailable, match=r"not a file of CIFAR-10 \(it asks for"):
        read_folder(folder(tmp_path, data_batch_1=data), trusting(data))
    assert not (tmp_path / "evil").exists()


def test_a_malicious_pickle_is_not_even_looked_at_with_the_wrong_checksum(tmp_path):
    with pytest.raises(Unavailable, match="checksum of data_batch_1"):
        read_folder(folder(tmp_path, data_batch_1=pickle.dumps(Evil(os.system, "true"))), made.spec())


@pytest.mark.parametrize(
    "tree",
    [
        [],
        {"labels": [0] * 20},
        {"labels": [0] * 19, "data": np.zeros((20, 3072), np.uint8)},
        {"labels": [0] * 20, "data": np.zeros((20, 3072), np.float32)},
        {"labels": [10] * 20, "data": np.zeros((20, 3072), np.uint8)},
        {"labels": ["cat"] * 20, "data": np.zeros((20, 3072), np.uint8)},
    ],
)
def test_another_pickle_is_refused(tree):
    data = pickle.dumps(tree)
    with pytest.raises(Unavailable, match="is not a file of CIFAR-10"):
        assemble([(FIRST, data)], trusting(data))


def test_archive(tmp_path):
    path = tmp_path / "cifar-10-python.tar.gz"
    path.write_bytes(made.archive())
    assert made.is_whole(read_archive(path, made.spec()))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_broken_archive(tmp_path):
    path = tmp_path / "cifar-10-python.tar.gz"
    half = made.archive()[: len(made.archive()) // 2]
    path.write_bytes(half)
    with pytest.raises(Unavailable, match="checksum is wrong"):
        read_archive(path, made.spec())
    with pytest.raises(Unavailable, match="can't be read"):
        read_archive(path, made.spec(archive_md5=made.md5(half)))
    with pytest.raises(Unavailable, match="No such file"):
        read_archive(tmp_path / "none", made.spec())
