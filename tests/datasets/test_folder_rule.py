"""Which files of a folder or zip are taken: the rule of docs/gans.md, on both."""

from __future__ import annotations

import io
import os
import re
import stat
import struct
import zipfile
from pathlib import Path

import pytest

from ganhpc.core.errors import UserError
from ganhpc.datasets.folder_index import find, fingerprint_of, listed
from ganhpc.datasets.image_decoding import inspect
from ganhpc.datasets.image_folder import list_files
from ganhpc.datasets.types import DataRequest
from ganhpc.train.data.image_folder import load
from tests.train.data.test_image_folder import encoded, make, picture


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    monkeypatch.setenv("GANHPC_DATA", str(tmp_path / "kept"))


def names(path) -> list[str]:
    return [item.name for item in find(path).items]


def left(path) -> dict[str, str]:
    return {each.name: each.why for each in listed(path).others}


HIDDEN = (
    ".a.png", "._a.png", "b/.thumbnails/a.png", ".Trash-1000/files/a.png", "c/@eaDir/a.png", "c/@EADIR/d/a.png", "__MACOSX/c/a.png",
    "x/.ipynb_checkpoints/a-checkpoint.png", "lost+found/a.png", "$RECYCLE.BIN/a.png", "#recycle/a.png", "System Volume Information/a.png",
    "d/Thumbs.db", "d/desktop.ini", ".git/objects/ab/cd",
)  # fmt: skip
SEEN = ("a.png", "eaDir/a.png", "d/thumbs/a.png", "e f/ü.png", "MACOSX/a.png")


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_anything_hidden_on_any_level_is_left_out_and_named(tmp_path, kind):
    files = {name: encoded(picture(i)) for i, name in enumerate((*HIDDEN, *SEEN))}
    path = make(tmp_path, kind, files)
    assert names(path) == sorted(SEEN)
    assert left(path) == dict.fromkeys(HIDDEN, "a hidden file")


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_run_among_its_own_pictures_is_none_of_them(tmp_path, kind):
    """As after `cd photos` and `--data .`: its samples would be pictures, and the run's next job refuse them as added."""
    for name in ("before", "after", "mine"):
        (tmp_path / name).mkdir()
    files = {f"{n}.png": encoded(picture(n)) for n in range(3)}
    before = fingerprint_of(find(make(tmp_path / "before", kind, files)))
    files |= {f"runs/dcgan/x-1/{name}": b"{}" for name in ("experiment.json", "data.json", "status.json")}
    files |= {f"runs/dcgan/x-1/samples/step-{n}.png": encoded(picture(9 + n)) for n in range(2)}
    mine = {"mine/experiment.json": b"{}", "mine/a.png": encoded(picture(5))}
    path = make(tmp_path / "after", kind, files)
    assert names(path) == ["0.png", "1.png", "2.png"] and fingerprint_of(find(path)) == before
    assert set(left(path).values()) == {"a run of this program, no pictures to learn from"}
    assert "mine/a.png" in names(make(tmp_path / "mine", kind, files | mine)), "a folder of the user's with such a file"


def test_a_folder_of_samples_that_is_asked_for_is_read(tmp_path):
    files = {"experiment.json": b"{}", "status.json": b"{}"} | {f"samples/{n}.png": encoded(picture(n)) for n in (1, 2)}
    path = make(tmp_path, "folder", files)
    assert names(path) == ["samples/1.png", "samples/2.png"] and names(path / "samples") == ["1.png", "2.png"]


def test_a_hidden_folder_that_is_asked_for_is_read(tmp_path):
    path = tmp_path / ".hidden/@eaDir"
    path.mkdir(parents=True)
    (path / "a.png").write_bytes(encoded(picture(1)))
    assert names(path) == ["a.png"]


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_the_bytes_decide_what_a_file_is(tmp_path, kind):
    jpeg, png = encoded(picture(0), "JPEG"), encoded(picture(1))
    good = {
        "a.jfif": jpeg,
        "b": png,
        "c.txt": png,
        "d.JPG": png,
        "e.PnG": jpeg,
        "f.": png,
        "g.webp": encoded(picture(2), "WEBP"),
    }
    bad = {
        "h.txt": b"words", "i.png": b"words", "j.heic": b"\0\0\0\x18ftypheic\0\0\0\0", "k.psd": b"8BPS\0\1", "l.pdf": b"%PDF-1.4", "m.png": b"", "n.svg": b"<svg xmlns",
        "o.npy": b"\x93NUMPY\1\0", "p.mp4": b"\0\0\0\x18ftypisom", "q.zip": b"PK\x03\x04abc",
    }  # fmt: skip
    path = make(tmp_path, kind, {**good, **bad})
    assert names(path) == sorted(good)
    assert inspect(path).usable == len(good)
    why = left(path)
    assert why.keys() == bad.keys()
    assert why["h.txt"] == "not an image"
    assert why["i.png"].startswith("unreadable (not an image")
    assert why["m.png"] == "empty"
    for name, word in {
        "j.heic": "HEIC",
        "k.psd": "Photoshop",
        "l.pdf": "PDF",
        "n.svg": "SVG",
        "o.npy": "NumPy",
        "p.mp4": "film",
        "q.zip": "by its path",
    }.items():
        assert word in why[name]


@pytest.mark.parametrize(
    ("kind", "name"),
    [("TGA", "TGA"), ("PCX", "PCX"), ("SGI", "SGI"), ("DDS", "DDS"), ("ICO", "icon"), ("ICNS", "ICNS"), ("EPS", "PostScript"), ("PDF", "PDF"), ("BLP", "BLP"), ("MSP", "MSP"), ("XBM", "XBM"), ("DIB", "DIB"), ("PALM", "PALM"), ("SPIDER", "SPIDER")],
)  # fmt: skip
def test_pictures_of_other_kinds_are_refused_by_name(tmp_path, kind, name):
    """As Pillow itself writes them."""
    image = {"BLP": "P", "MSP": "1", "XBM": "1", "PALM": "P", "SPIDER": "F"}.get(kind)
    made = picture(0).convert(image) if image else picture(0)
    path = make(tmp_path, "folder", {f"a.{kind.lower()}": encoded(made, kind), "b.png": encoded(picture(1))})
    (why,) = left(path).values()
    assert name in why and "not read" in why


@pytest.mark.parametrize(
    ("file", "head", "name"),
    [
        ("a.tga", b"\0\0\3\0" + bytes(8) + b"\x20\0\x20\0\x08\0", "TGA"),  # grey: no ending, no sign
        ("a.TGA", b"\4\1\1\0\0\0\1\x18", "TGA"),
        ("a", b"\x59\xa6\x6a\x95" + bytes(28), "Sun raster"),
        ("a.flc", bytes(4) + b"\x12\xaf" + bytes(122), "FLI"),
        ("a.gbr", b"\0\0\0\x1c\0\0\0\2" + bytes(12) + b"GIMP", "GIMP brush"),
        ("a.cr3", b"\0\0\0\x18ftypcrx \0\0\0\1", "raw file"),
        ("a.hdf", b"\x0e\3\x13\1" + bytes(20), "HDF"),
    ],
)
def test_more_kinds_are_refused_by_name(tmp_path, file, head, name):
    path = make(tmp_path, "zip", {file: head, "b.png": encoded(picture(1))})
    (why,) = left(path).values()
    assert name in why and "not read" in why


def test_links_are_followed_once(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder in (root / "real", outside / "deep"):
        folder.mkdir(parents=True)
    for name, i in (("real/a.png", 1), ("../outside/b.png", 2), ("../outside/deep/c.png", 3), ("z.png", 4)):
        (root / name).write_bytes(encoded(picture(i)))
    (root / "again").symlink_to(root / "real")
    (root / "far").symlink_to(outside)
    (root / "near").symlink_to(outside / "deep")
    (root / "a-link.png").symlink_to(root / "z.png")
    (root / "only.png").symlink_to(tmp_path / "single.png")
    (tmp_path / "single.png").write_bytes(encoded(picture(5)))
    (outside / "back").symlink_to(root)
    (outside / "self").symlink_to(outside)
    (root / "gone.png").symlink_to(tmp_path / "nowhere")
    (root / "loop").symlink_to(root / "loop")
    (root / ".secret").symlink_to(outside)
    os.link(root / "real/a.png", root / "real/hard.png")
    assert names(root) == ["far/b.png", "far/deep/c.png", "only.png", "real/a.png", "z.png"]
    why = left(root)
    assert (
        why["again/"]
        == why["near/"]
        == why["far/back/"]
        == why["far/self/"]
        == "a link to a folder that is taken already"
    )
    assert why["a-link.png"] == "a link to z.png, which is taken already"
    assert why["real/hard.png"] == "a link to real/a.png, which is taken already"
    assert why["gone.png"].startswith("unreadable (No such file")
    assert why["loop"].startswith("unreadable (Too many levels")
    assert why[".secret"] == "a hidden link"
    assert len(why) == 9


def test_names_of_any_bytes(tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    wild = [
        os.fsdecode(b"\xff\xfe.png"),
        "new\nline.png",
        "esc\x1b[2J.png",
        "ü.png",
        "\u202egnp.png",
        " .png",
        "-n.png",
    ]
    for i, name in enumerate(wild):
        (folder / name).write_bytes(encoded(picture(i)))
    data = load(DataRequest(str(folder), image_size=16))
    assert len(data.images) + len(data.test_images) == len(wild)
    for text in (data.name, data.note, *data.skipped):
        assert text.isprintable()
        text.encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for i in range(4):
            archive.writestr(f"caf#{i}.png", encoded(picture(i)))
    path = tmp_path / os.fsdecode(b"zip\xe9.zip")
    path.write_bytes(buffer.getvalue().replace(b"caf#", b"caf\xe9"))
    assert inspect(path, 16).usable == 4


def test_members_that_a_zip_should_not_have(tmp_path):
    path = tmp_path / "odd.zip"
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/", b"")
        archive.writestr("folder/a.png", encoded(picture(1)))
        with pytest.warns(UserWarning):
            archive.writestr("folder/a.png", encoded(picture(2)))
        archive.writestr("./b.png", encoded(picture(3)))
        archive.writestr(link, "folder/a.png")
        archive.writestr("../c.png", encoded(picture(4)))
        archive.writestr("x/../../c.png", encoded(picture(4)))
        archive.writestr("bomb.bmp", b"BM" + b"\0" * 30_000_000)
    assert names(path) == ["./b.png", "folder/a.png"]
    why = left(path)
    assert why["folder/a.png"] == "another member of the same name follows"
    assert why["link.png"] == "a link to folder/a.png, which is taken already"
    assert why["../c.png"] == why["x/../../c.png"] == "its path leads out of the zip"
    assert why["bomb.bmp"] == "huge, 30 MB packed into 0.0 MB"
    found = find(path)
    assert found.read(found.items[1], None) == encoded(picture(2)), (
        "the last of one name is taken, as unpacking leaves it"
    )


def test_a_zip_whose_members_overlap_is_refused(tmp_path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", encoded(picture(1, (200, 200))))
    data = path.read_bytes()
    at, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    entry, tail = data[at:end], bytearray(data[end:])
    many = b"".join(entry.replace(b"a.png", b"%c.png" % (97 + i)) for i in range(20))
    struct.pack_into("<HHI", tail, 8, 20, 20, len(many))
    path.write_bytes(data[:at] + many + bytes(tail))
    with pytest.raises(UserError, match="members of this zip overlap, as in a zip bomb"):
        find(path)


def bare_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def test_each_unusable_source_has_its_sentence(tmp_path):
    whole = bare_zip(tmp_path / "whole.zip", {f"{i}.png": encoded(picture(i)) for i in range(3)}).read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    for inner, data in (
        ("a-zip", whole),
        ("an-empty-zip", b"PK\x05\x06" + bytes(18)),
    ):  # its list is not the outer one's
        outer = bare_zip(
            tmp_path / "outer.zip", {"0.png": encoded(picture(9)), "in.zip": data, "1.png": encoded(picture(8))}
        )
        (tmp_path / f"cut-behind-{inner}.zip").write_bytes(outer.read_bytes()[:-200])
    (tmp_path / "zero.zip").write_bytes(b"")
    (tmp_path / "holder").mkdir()
    (tmp_path / "holder/few.zip").write_bytes(whole)
    (tmp_path / "blank").mkdir()
    (tmp_path / "notes.tar").write_bytes(b"x" * 600)
    os.mkfifo(tmp_path / "pipe")
    for name, words in {
        "cut.zip": "a damaged zip",
        "cut-behind-a-zip.zip": "a damaged zip: its end, with the list of its files, is missing",
        "cut-behind-an-empty-zip.zip": "a damaged zip: its end, with the list of its files, is missing",
        "zero.zip": "that file is empty",
        "holder": r"there is a zip in it: give it by its path, --data .*holder/few\.zip",
        "blank": "the folder is empty",
        "notes.tar": "neither a folder nor a zip",
        "pipe": "neither a folder nor a zip",
        bare_zip(tmp_path / "nothing.zip", {}).name: "the zip is empty",
        bare_zip(
            tmp_path / "text.zip", {"a.txt": b"x"}
        ).name: r"its one file is no image that can be used \(first: a.txt: not an image\)",
        bare_zip(tmp_path / "inner.zip", {"b.zip": whole}).name: "a zip of its own",
    }.items():
        with pytest.raises(UserError, match=words):
            find(tmp_path / name)


def test_truncated_and_huge_pictures_are_named(tmp_path):
    files = {f"{i}.png": encoded(picture(i)) for i in range(3)}
    files |= {
        f"cut.{kind.lower()}": encoded(picture(9, (200, 200)), kind)[:700]
        for kind in ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")
    }
    seen = inspect(make(tmp_path, "folder", files))
    assert seen.usable == 3
    assert {line.split(": ")[0] for line in seen.skipped} == {name for name in files if name.startswith("cut")}


def test_the_real_sets_are_taken_whole():
    folder = Path(os.environ.get("GANHPC_TEST_DATA") or Path(__file__).resolve().parents[2].parent / "shared/data")
    path = folder / "simpsons28.zip"
    if not path.is_file():
        pytest.skip(f"the real pictures are not in {folder}")
    found = find(path)
    assert (len(found.items), found.others) == (10_000, ())


@pytest.mark.parametrize(
    ("head", "word"),
    [
        (b"\x1f\x8b\x08\0" + bytes(60), "a gzip file: unpack it"),
        (bytes(257) + b"ustar\0" + bytes(300), "a tar archive: unpack it"),
        (b"BZh91AY" + bytes(60), "a bzip2 file"),
        (b"\xfd7zXZ\0" + bytes(60), "an xz file"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(60), "a 7z archive"),
        (b"Rar!\x1a\x07\x01\0" + bytes(60), "a rar archive"),
        (b"%PDF-1.4", "a PDF"),
        (encoded(picture(0)), "one picture (PNG); give the folder"),
        (b"hello", "neither a folder nor a zip"),
        (b"", "empty"),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) else "",
)
def test_a_file_that_is_no_zip_is_named(tmp_path, head, word):
    for cut in (head, head[: len(head) // 2 + 1]) if b"ustar" not in head else (head,):
        (tmp_path / "set.zip").write_bytes(cut)
        with pytest.raises(UserError, match=re.escape(word)):
            list_files(tmp_path / "set.zip")


def test_a_link_to_nothing_is_named(tmp_path):
    (tmp_path / "faces").symlink_to("away")
    with pytest.raises(UserError, match=r"a link to away, which is not there"):
        list_files(tmp_path / "faces")
    with pytest.raises(UserError, match=r"check the path"):
        list_files(tmp_path / "faces" / "more")


def test_folders_of_a_zip_have_one_spelling(tmp_path):
    """Windows programs write backslashes, tar-like ones ./ in front."""
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as file:
        for name in ("cat/a.png", "./cat/b.png", "cat//c.png", "cat\\d.png", "e.png", "./f.png"):
            file.writestr(name, encoded(picture(ord(name[-5]))))
    source = list_files(tmp_path / "set.zip")
    assert sorted(item.folders(in_zip=True) for item in source.items) == [[], [], ["cat"], ["cat"], ["cat"], ["cat"]]
    source.close()


def test_a_zip_of_windows_is_read_as_it_unpacks(tmp_path):
    """Folders that end in a backslash are no files, and one file in several spellings is taken once, as the last one."""
    members = ("cat\\", "cat\\a.png", "cat/a.png", "./cat//a.png", "cat/b.png", "k:b.png", "K:\\b.png", "odd\\")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as file:
        for k, name in enumerate(members):
            file.writestr(name, b"" if name == "cat\\" else b"no picture" if name == "odd\\" else encoded(picture(k)))
    found = find(tmp_path / "set.zip")
    assert [item.name for item in found.items] == ["./cat//a.png", "cat/b.png", "k:b.png"]
    assert found.read(found.items[0], None) == encoded(picture(3))
    assert [str(each) for each in found.others] == [
        "K:\\b.png: its path leads out of the zip",
        "cat/a.png: another member of the same name follows",
        "cat\\a.png: another member of the same name follows",
        "odd\\: not an image",
    ]
    found.close()


LINKS = {
    "view": ".store/set",
    "again": "real",
    "also": ".store/set/deep",
    "one.png": ".store/blob",
    "two.png": ".store/blob",
    "real/near.png": "../real/a.png",
    "chain.png": "next.png",
    "next.png": ".store/chained",
    ".secret": "real",
    "real/.thumbnails/b.png": "../a.png",
    "top": ".",
    "gone.png": "nowhere.png",
    "loop": "loop",
}
"""A link -> what is written in it."""


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_names_on_the_way_decide_what_is_hidden_not_where_a_link_leads(tmp_path, kind):
    """As in stores of contents: `.git/annex`, a model hub's blobs."""
    hidden_ones = (
        ".store/set/a.png",
        ".store/set/deep/b.png",
        ".store/set/.cache/c.png",
        ".store/blob",
        ".store/chained",
    )
    files = {name: encoded(picture(i)) for i, name in enumerate(("real/a.png", *hidden_ones))}
    path = make(tmp_path, kind, files)
    if kind == "zip":
        with zipfile.ZipFile(path, "a") as archive:
            for name, target in LINKS.items():
                info = zipfile.ZipInfo(name)
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
                archive.writestr(info, target)
    else:
        for name, target in LINKS.items():
            (path / name).parent.mkdir(exist_ok=True)
            (path / name).symlink_to(target)
    assert names(path) == ["also/b.png", "chain.png", "one.png", "real/a.png", "view/a.png"]
    found = find(path)
    assert [found.read(item, None) for item in found.items] == [
        files[name]
        for name in (".store/set/deep/b.png", ".store/chained", ".store/blob", "real/a.png", ".store/set/a.png")
    ]
    found.close()
    why = left(path)
    assert why["two.png"] == "a link to one.png, which is taken already"
    assert why["next.png"] == "a link to chain.png, which is taken already"
    assert why["real/near.png"] == "a link to real/a.png, which is taken already"
    assert why["again/"] == why["top/"] == "a link to a folder that is taken already"
    assert why[".secret"] == why["real/.thumbnails/b.png"] == "a hidden link"
    assert all(why[name] == "a hidden file" for name in hidden_ones)
    assert "gone.png" in why and "loop" in why


def test_links_that_lead_out_of_a_zip_or_are_damaged_are_named(tmp_path):
    path = make(tmp_path, "zip", {"a.png": encoded(picture(0)), ".b/c.png": encoded(picture(1))})
    secret = tmp_path / "secret.png"
    secret.write_bytes(encoded(picture(2)))
    with zipfile.ZipFile(path, "a") as archive:
        for name, target in {
            "up.png": "../secret.png",
            "far.png": str(secret),
            "x": ".b/../..",
            "round.png": ".b/../.b/c.png",
            "odd": "\0\xff",
        }.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, target)
    assert names(path) == ["a.png", "round.png"]
    why = left(path)
    assert why["up.png"] == why["far.png"] == why["x"] == "a link that leads out of the zip"
    assert why["odd"] == "a link to nothing in the zip"
