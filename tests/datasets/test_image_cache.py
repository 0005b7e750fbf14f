"""The cache of decoded images: made once, checked, repaired, shared by processes, and honest about a folder that can't be written."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from PIL import Image

from ganhpc.core.errors import UserError
from ganhpc.datasets import image_cache, image_decoding
from ganhpc.datasets.folder_index import find

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GANHPC_DATA", str(tmp_path / "kept"))
    return tmp_path / "kept"


class Maker:
    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return {"images": torch.arange(12, dtype=torch.uint8).view(3, 4)}, {"skipped": ["a: b"]}


def get(make, **identity):
    return image_cache.cached("set", {"size": 4, **identity}, make)


def test_made_once_and_read_again():
    make = Maker()
    first, second = get(make), get(make)
    assert (make.calls, first.made, second.made) == (1, True, False)
    assert torch.equal(second.tensors["images"], first.tensors["images"])
    assert second.info == {"skipped": ["a: b"]} == image_cache.facts(first.path)
    get(make, version=2)
    assert make.calls == 2
    assert not [p.name for p in first.path.parent.iterdir() if p.name.startswith(".")]


def flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def change(path, **values):
    beside = image_cache.sidecar(path)
    beside.write_text(json.dumps(json.loads(beside.read_text()) | values))


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (flip, "its checksum is wrong"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "its length is wrong"),
        (lambda path: path.unlink(), "it is gone"),
        (lambda path: image_cache.sidecar(path).write_text('{"format": 1'), "the file beside it can't be read"),
        (lambda path: image_cache.sidecar(path).write_text("[]"), "the file beside it can't be read"),
        (
            lambda path: image_cache.sidecar(path).write_text(
                json.dumps(json.loads(image_cache.sidecar(path).read_text()) | {"identity": {}})
            ),
            "speaks of other images",
        ),
        (lambda path: change(path, info={}), "the facts in the file beside it are damaged"),
        (lambda path: change(path, info={"skipped": [7]}), "the facts in the file beside it are damaged"),
        (lambda path: change(path, info=None), "the facts in the file beside it are damaged"),
        (lambda path: change(path, facts=5), "the facts in the file beside it are damaged"),
    ],
)
def test_a_damaged_copy_is_made_again_with_a_sentence(harm, words, caplog):
    make = Maker()
    path = get(make).path
    harm(path)
    again = get(make)
    assert (make.calls, again.made, again.repaired) == (2, True, True)
    assert words in caplog.text
    assert not get(make).made


def test_a_copy_of_an_older_version_is_taken_which_kept_no_digest_of_its_facts(caplog):
    make = Maker()
    change(get(make).path, facts=None)
    assert get(make).info == {"skipped": ["a: b"]} and make.calls == 1 and not caplog.records


@pytest.mark.parametrize("data", [b"", b"\0" * 64, b"\x10" + b"\0" * 7 + b"{" * 16])
def test_a_foreign_copy_of_the_right_checksum_is_a_sentence(data):
    path = get(Maker()).path
    path.write_bytes(data)
    change(path, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    with pytest.raises(UserError, match=r"are none of this program's: remove both, and they are made again\.$"):
        get(Maker())


@pytest.mark.parametrize(
    "info", [{}, {"converted": 5}, {"usable": "7"}, {"undecoded": [1]}, {"seconds": None}, {"warnings": {"a": 1}}]
)
def test_facts_that_are_not_whole_are_none(tmp_path, info):
    for name, colour in (("a", 10), ("b", 200)):
        (tmp_path / "set").mkdir(exist_ok=True)
        Image.new("RGB", (24, 24), (colour, 0, 0)).save(tmp_path / "set" / f"{name}.png")
    source = find(tmp_path / "set")
    seen = image_decoding.survey(source, 16, lambda _, __: None)
    whole = json.loads(json.dumps(image_decoding.to_facts(source, seen)))
    assert image_decoding.from_facts(source, whole) == seen
    assert image_decoding.from_facts(source, {**whole, **info} if info else {}) is None


def test_tensors_without_the_file_beside_them_count_as_absent(caplog):
    make = Maker()
    image_cache.sidecar(get(make).path).unlink()
    assert not get(make).repaired
    assert not caplog.records
    assert make.calls == 2


def test_a_failure_leaves_nothing_behind_and_frees_the_lock(folder):
    def fail():
        raise UserError("no")

    with pytest.raises(UserError, match="no"):
        get(fail)
    assert not list(folder.glob("*.safetensors"))
    assert get(Maker()).made


def test_others_may_read_what_the_umask_allows():
    before = os.umask(0o022)
    try:
        assert get(Maker()).path.stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(before)


def test_a_folder_that_can_not_be_written_is_a_sentence(folder):
    folder.write_text("a file")
    with pytest.raises(UserError, match="set GANHPC_DATA to a folder"):
        get(Maker())


def test_a_full_disk_is_a_sentence_and_no_half_file(folder, monkeypatch):
    import safetensors.torch
    from safetensors import SafetensorError

    def full(_, path):
        Path(path).write_bytes(b"half")
        raise SafetensorError("No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(UserError, match="No space left on device"):
        get(Maker())
    assert [p.suffix for p in folder.iterdir()] == [".lock"]


def test_threads_that_ask_at_once_make_it_once(caplog):
    make = Maker()

    def slowly():
        limit = time.monotonic() + 60
        while "waiting for it" not in caplog.text and time.monotonic() < limit:
            time.sleep(0.02)
        return make()

    with ThreadPoolExecutor(4) as pool:
        said = sorted(found.made for found in pool.map(lambda _: get(slowly), range(4)))
    assert said == [False, False, False, True]
    assert "waiting for it" in caplog.text


@pytest.mark.slow
def test_processes_that_ask_at_once_make_it_once(folder):
    program = textwrap.dedent("""
        import sys, time, torch
        from pathlib import Path
        from ganhpc.datasets.image_cache import cached
        def make():
            with open(sys.argv[1], "a") as log: log.write("made\\n")
            time.sleep(0.5)
            return {"images": torch.zeros(1)}, {}
        Path(sys.argv[2]).touch()
        while len(list(Path(sys.argv[2]).parent.glob("ready*"))) < 2: time.sleep(0.01)
        print(cached("set", {"size": 4}, make).made)
    """)
    folder.mkdir()
    log = folder / "log"
    children = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(log), str(folder / f"ready{rank}")],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = sorted(child.communicate(timeout=300)[0].strip() for child in children)
    assert said == ["False", "True"]
    assert log.read_text() == "made\n"


def test_the_login_half_can_use_it_without_torch():
    program = "import sys, ganhpc.datasets.image_cache, ganhpc.datasets.image_decoding; print({'torch', 'numpy', 'PIL'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"


@pytest.mark.parametrize("which", ["tensors", "sidecar", "lock"])
@pytest.mark.parametrize("kind", ["fifo", "device", "deep", "giant", "folder"])
def test_what_is_no_cache_is_neither_waited_for_nor_read(which, kind):
    make = Maker()
    path = get(make).path
    place = {"tensors": path, "sidecar": path.with_suffix(".json"), "lock": path.with_suffix(".lock")}[which]
    place.unlink(missing_ok=True)
    if kind == "giant":
        with place.open("wb") as file:
            file.truncate(2**40)
    else:
        ways = {"fifo": os.mkfifo, "device": lambda p: p.symlink_to("/dev/zero"), "folder": Path.mkdir}
        ways.get(kind, lambda p: p.write_text('{"info":' * 100_000))(place)
    if kind == "folder" and which != "lock":
        with pytest.raises(UserError, match=re.escape(str(path))):
            get(make)
    else:
        again = get(make)
        assert torch.equal(again.tensors["images"], torch.arange(12, dtype=torch.uint8).view(3, 4))
        assert again.info == {"skipped": ["a: b"]}
        assert make.calls == (1 if which == "lock" else 2)
