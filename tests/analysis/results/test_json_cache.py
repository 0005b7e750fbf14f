"""The index: quick, and never believed over the folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ganhpc.analysis.results import json_cache
from ganhpc.analysis.results import rows as results
from ganhpc.runs.run_folder import Run
from tests.conftest import ROOT
from tests.run_folders import done, stopped


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(json_cache, "SMALLEST", 1)
    monkeypatch.setattr(json_cache, "SETTLED", -1.0)


def cache(runs: Path) -> Path:
    return json_cache.place(str(runs), "result")


def test_the_second_call_reads_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = tmp_path / "runs"
    done(runs, 0.6)
    done(runs, 0.7, seed=1)
    first = results.rows(runs)
    read: list[bytes] = []
    real = json_cache.decode
    monkeypatch.setattr(json_cache, "decode", lambda data: read.append(data) or real(data))
    assert results.rows(runs) == first and read == []
    cache(runs).unlink()
    assert results.rows(runs) == first and len(read) == 2, "it can be deleted"


def test_what_changed_in_the_folder_is_seen(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    one, two = done(runs, 0.6), done(runs, 0.7, seed=1)
    results.rows(runs)
    text = one.result_json.read_text()
    times = one.result_json.stat()
    one.result_json.write_text(text.replace('"test_accuracy": 0.6', '"test_accuracy": 0.8'))
    os.utime(one.result_json, ns=(times.st_atime_ns, times.st_mtime_ns))  # the same size and time: ctime tells
    assert sorted(row["test_accuracy"] for row in results.rows(runs)) == [0.7, 0.8]
    two.result_json.unlink()
    assert sorted(row["state"] for row in results.rows(runs)) == ["done", "new"]
    one.folder.rename(one.folder.with_name("moved"))
    assert "moved" in [row["run"] for row in results.rows(runs)]


def test_the_state_of_an_unfinished_run_is_never_kept(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    run = stopped(runs, "running")
    assert results.rows(runs)[0]["state"] == "lost"
    with run.hold():
        assert results.rows(runs)[0]["state"] == "running"
    assert results.rows(runs)[0]["state"] == "lost"
    run.status_json.write_text(json.dumps({"state": "resumable", "seconds": 3.0}))
    assert [results.rows(runs)[0][key] for key in ("state", "train_seconds")] == ["resumable", 3.0]
    run.request_json.write_text(json.dumps({"cancelled": True}))
    assert results.rows(runs)[0]["state"] == "cancelled"


def test_a_file_that_just_changed_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_cache, "SETTLED", 3600.0)
    runs = tmp_path / "runs"
    done(runs, 0.6)
    results.rows(runs)
    assert not cache(runs).exists()


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b"null", b"\xff", b'{"format": 1}', b'{"format": 99, "files": {}}', b"[" * 100_000]
)
def test_a_damaged_index_is_ignored_and_made_again(tmp_path: Path, damage: bytes) -> None:
    runs = tmp_path / "runs"
    done(runs, 0.6)
    first = results.rows(runs)
    good = cache(runs).read_bytes()
    cache(runs).write_bytes(damage)
    assert results.rows(runs) == first and cache(runs).read_bytes() == good


@pytest.mark.parametrize("entry", [3, None, [], ["x", 3], [[1, 2, 3, 4], []], {"a": 1}])
def test_strange_entries_are_ignored(tmp_path: Path, entry: object) -> None:
    runs = tmp_path / "runs"
    done(runs, 0.6)
    first = results.rows(runs)
    tree = json.loads(cache(runs).read_bytes())
    tree["files"] = dict.fromkeys(tree["files"], entry)
    cache(runs).write_text(json.dumps(tree))
    assert results.rows(runs) == first


def test_no_place_for_the_index_is_no_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    runs = tmp_path / "runs"
    done(runs, 0.6)
    before = sorted(path for path in runs.rglob("*"))
    assert len(results.rows(runs)) == len(results.rows(runs)) == 1
    assert sorted(path for path in runs.rglob("*")) == before, "nothing is written among the runs"


def test_many_at_once(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for seed in range(4):
        done(runs, 0.6, seed=seed)
    wanted = results.rows(runs)
    heard: list[bool] = []
    threads = [
        threading.Thread(target=lambda: heard.extend(results.rows(runs) == wanted for _ in range(20))) for _ in range(4)
    ]
    for thread in threads:
        cache(runs).unlink(missing_ok=True)
        thread.start()
    for thread in threads:
        thread.join()
    assert heard == [True] * 80 and not list(cache(runs).parent.glob("*.tmp"))


def test_relative_and_absolute_paths_share_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done(tmp_path / "runs", 0.6)
    results.rows(tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(json_cache, "decode", lambda _: 1 / 0)
    (row,) = results.rows(Path("runs"))
    assert row["folder"].startswith("runs/") and row["test_accuracy"] == 0.6


def test_the_index_needs_no_torch(tmp_path: Path) -> None:
    done(tmp_path, 0.6)
    code = "import sys; from pathlib import Path; from ganhpc.analysis.results import rows as results; assert len(results.rows(Path(sys.argv[1]))) == 1; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=True, timeout=60)


def test_a_run_alone_needs_no_index(tmp_path: Path) -> None:
    run = done(tmp_path, 0.6)
    assert results.row(Run(run.folder))["test_accuracy"] == 0.6
