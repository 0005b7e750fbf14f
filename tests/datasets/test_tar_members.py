"""Archives are read in memory, and dishonest or broken ones are refused."""

from __future__ import annotations

import io
import tarfile

import pytest

from ganhpc.datasets.tar_members import BadArchive, members
from tests.datasets.cifar10_made import link, tgz

GOOD = [("package/a", b"one"), ("package/b", b"two"), ("package/other", b"x" * 100)]
WANTED = {"package/a": 10, "package/b": 10}


def read(entries, wanted=WANTED):
    return dict(members(io.BytesIO(tgz(entries)), wanted))


def test_only_what_is_wanted_is_given():
    assert read(GOOD) == {"package/a": b"one", "package/b": b"two"}


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([*GOOD, ("../../evil", b"")], "leads out"),
        ([*GOOD, ("package/../../evil", b"")], "leads out"),
        ([*GOOD, ("/etc/evil", b"")], "leads out"),
        ([GOOD[0], link("package/b", "/etc/passwd")], "link or a device"),
        ([GOOD[0], link("package/b", "package/a", tarfile.LNKTYPE)], "link or a device"),
        ([*GOOD, link("package/pipe", "", tarfile.FIFOTYPE)], "link or a device"),
        ([GOOD[0]], "has no package/b"),
        ([*GOOD, GOOD[0]], "twice"),
        ([GOOD[0], ("package/b", b"x" * 11)], "longer than 10 bytes"),
    ],
)
def test_others_are_refused(entries, words):
    with pytest.raises(BadArchive, match=words):
        read(entries)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_a_cut_archive_is_refused(share):
    data = tgz([("package/a", bytes(range(256)) * 300), ("package/b", b"two")])
    with pytest.raises(BadArchive):
        list(members(io.BytesIO(data[: int(share * len(data))]), {"package/a": 1 << 20, "package/b": 10}))


@pytest.mark.parametrize(
    "headers",
    [
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "x"},
        {"GNU.sparse.map": "1,x"},
        {"GNU.sparse.size": "many"},
        {"GNU.sparse.map": "1,2,3"},
        {"size": "-5"},
        {"hdrcharset": "no such charset"},
    ],
)
def test_extended_headers_of_nonsense_are_refused_or_mean_nothing(headers):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        for name, data in GOOD:
            entry = tarfile.TarInfo(name)
            entry.size, entry.pax_headers = len(data), headers if name == "package/b" else {}
            archive.addfile(entry, io.BytesIO(data))
    try:
        assert dict(members(io.BytesIO(made.getvalue()), WANTED)).keys() == WANTED.keys()
    except BadArchive:
        pass


def test_what_is_no_archive_is_refused():
    with pytest.raises(BadArchive, match="can't be read"):
        list(members(io.BytesIO(b"<html>please log in</html>"), WANTED))
