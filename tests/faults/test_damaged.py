"""One damaged folder hides no other: every damage of every file, and seeded values in their fields, through every verb."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path

import pytest

from ganhpc.runs.run_folder import Run
from tests.faults import folders
from tests.faults.typed import Typed, typed

TIMES = int(os.environ.get("GANHPC_FAULTS", "1"))
OVER_ALL = (
    ("results",), ("results", "--each"), ("results", "--json"), ("results", "--group", "--json"), ("results", "--csv"), ("results", "--md"),
    ("results", "--sort", "lr"), ("results", "--filter", "seed>0"), ("status", "--all"), ("status", "--json"),
)  # fmt: skip
"""Verbs that show all runs: each ends well, and shows those that are whole."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of every state, to be copied."""
    runs = tmp_path_factory.mktemp("whole") / "runs"
    folders.make(runs)
    return runs


@pytest.fixture
def place(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of them in a place of its own."""
    for name in ("STATE", "CACHE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.setenv("GANHPC_CONFIG", "/dev/null")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("GANHPC_RUNS", raising=False)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(whole, tmp_path / "runs", symlinks=True)
    return tmp_path / "runs"


def one(run: str) -> list[tuple[str, ...]]:
    """Verbs on one run: each ends well or with a sentence."""
    return [
        ("logs", run), ("status", run), ("cancel", run), ("resume", run, "--on", "local", "--dry-run"),
        ("resume", run, "--on", "slurm", "--dry-run"), ("policy", "--check", run, "--on", "local"), ("results", "--compare", run, run),
        ("cancel", "--all"),
    ]  # fmt: skip


def by_seed(seed: int, runs: Path) -> Run:
    """The run of a seed."""
    (found,) = (run for run in Run.all(runs) if f'"seed": {seed},' in run.experiment_json.read_text())
    return found


def check(said: Typed, *, well: bool = False) -> None:
    """A command ended with a table or a sentence."""
    about = f"{' '.join(said.words)}: {said.code}\n{said.out[-500:]}\n{said.err[-500:]}"
    assert said.code in ((0,) if well else (0, 1, 2, 3)), about
    assert "Traceback" not in said.out + said.err, about
    assert not said.obeyed(), (said.obeyed(), about)
    assert said.code == 0 or "Error: " in said.err, about


@pytest.mark.slow  # 4 s in all
@pytest.mark.parametrize("damage", sorted(folders.DAMAGES))
@pytest.mark.parametrize("file", ["experiment.json", "request.json", "status.json", "result.json"])
def test_the_other_runs_are_shown(place: Path, file: str, damage: str) -> None:
    bad, good = by_seed(5 if file != "result.json" else 1, place), by_seed(2, place)
    folders.DAMAGES[damage](bad.folder / file)
    for words in (("results", "--each"), ("results", "--json"), ("status", "--all"), ("status", "--json")):
        said = typed(*words, "--runs", str(place))
        check(said, well=True)
        assert good.name[-12:] in said.out or "course" in said.out, said


@pytest.mark.slow
@pytest.mark.parametrize("damage", sorted(folders.DAMAGES))
@pytest.mark.parametrize("file", folders.FILES)
def test_every_damage_of_every_file(place: Path, file: str, damage: str) -> None:
    bad = by_seed({"result.json": 1, "evaluation.json": 2, "description.json": 2}.get(file, 3), place)
    folders.DAMAGES[damage](bad.folder / file)
    for words in OVER_ALL:
        check(typed(*words, "--runs", str(place)), well=True)
    for words in one(str(bad.folder)):
        check(typed(*words, "--runs", str(place)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40 * TIMES))
def test_values_that_no_field_expects(place: Path, seed: int) -> None:
    chance = random.Random(seed)
    bad = by_seed(chance.choice((1, 3, 4, 5)), place)
    for _ in range(chance.choice((1, 1, 3))):
        path = bad.folder / chance.choice([name for name in folders.FILES if name.endswith(".json")])
        if path.exists():
            path.write_bytes(folders.encoded(folders.mutated(json.loads(path.read_bytes()), chance)))
        lines = bad.metrics_jsonl.read_text().splitlines()
        lines[chance.randrange(len(lines))] = folders.encoded(
            folders.mutated(json.loads(chance.choice(lines)), chance)
        ).decode()
        bad.metrics_jsonl.write_text("\n".join(lines) + "\n")
    for words in OVER_ALL:
        check(typed(*words, "--runs", str(place)), well=True)
    for words in one(str(bad.folder)):
        check(typed(*words, "--runs", str(place)))


@pytest.mark.parametrize("key", ["n", "folders", "runs", "states", "seeds", "state", "group", "folder", "run"])
def test_a_figure_named_like_a_field_of_the_tables_hides_no_run(place: Path, key: str) -> None:
    """In the result of a finished run (a program may well have a figure called n), and as the headline of one that goes on."""
    good = by_seed(2, place)
    for bad, change in (
        (by_seed(1, place).result_json, {key: 5}),
        (by_seed(3, place).status_json, {"headline": key, "last": {key: 3}}),
    ):
        bad.write_text(json.dumps({**json.loads(bad.read_text()), **change}))
    for words in (*OVER_ALL, ("gallery", "--out", str(place.parent / "g.html"))):
        check(typed(*words, "--runs", str(place)), well=True)
    rows = json.loads(typed("results", "--json", "--runs", str(place)).out)
    assert {row["folder"] for row in rows} == {str(run.folder) for run in Run.all(place)}
    assert [row["state"] for row in rows if row["run"] == good.name] == ["done"]
    assert not {"n", "folders", "runs"} & {key for row in rows for key in row}
    check(
        typed("results", "--compare", str(by_seed(1, place).folder), str(good.folder), "--runs", str(place)), well=True
    )


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b", "../../x", "/x", "evil\n", "x" * 5000])
def test_a_scheduler_of_a_record_becomes_no_files_name(place: Path, tmp_path: Path, name: str) -> None:
    bad = by_seed(5, place)
    bad.request_json.write_text(json.dumps({**json.loads(bad.request_json.read_text()), "scheduler": name}))
    for words in one(str(bad.folder)):
        check(typed(*words, "--runs", str(place)))
    said = typed("cancel", str(bad.folder), "--runs", str(place))
    assert said.code == 2 and said.err.startswith("Error: there is no scheduler ")
    assert not list(tmp_path.glob("state/**/*.lock"))


def test_a_report_of_phases_that_are_no_numbers(place: Path, tmp_path: Path) -> None:
    run = by_seed(1, place)
    wrong = ("\x1b[2J", None, [], {"a": 1}, True, 10**400, float("nan"), 2.0)
    curve = [
        {"epoch": float(k), "step": k, "seconds": value, "seconds_by_phase": {"data": value, "forward": 1.0 * k}}
        for k, value in enumerate(wrong)
    ]
    run.evaluation_json.write_bytes(folders.encoded({"curve": curve}))
    check(typed("report", str(run.folder), "--out", str(tmp_path / "r.html"), "--runs", str(place)), well=True)
    assert "forward" in (tmp_path / "r.html").read_text()


@pytest.mark.slow  # it draws PDFs
@pytest.mark.parametrize("values", [(1e200, -9e299), (9.9e299, -9.9e299), (1e-320, 2e-320), (10**17, -1e250)], ids=str)
def test_giant_numbers_end_in_tables_and_reports(place: Path, tmp_path: Path, values: tuple[float, float]) -> None:
    """Of both seeds of a variant: their squares, sums and quotients are more than a float holds."""
    runs = by_seed(1, place), by_seed(2, place)
    for run, value in zip(runs, values, strict=True):
        result = json.loads(run.result_json.read_text())
        kept = {key: value if type(x) in (int, float) and key != "seed" else x for key, x in result.items()}
        run.result_json.write_text(json.dumps(kept))
        curve = [{"epoch": k * value, "step": k, "test_accuracy": value * (-1) ** k, "lr": value} for k in range(3)]
        shares = {"accuracy_by_class": {"a": value, "b": -value}, "confusion": [[value, value], [-value, value]]}
        run.evaluation_json.write_text(json.dumps({"curve": curve, **shares}))
    for words in (*OVER_ALL, ("results", "--compare", *(str(run.folder) for run in runs), "--json")):
        said = typed(*words, "--runs", str(place))
        check(said, well=True)
        if "--json" in words:
            json.loads(said.out, parse_constant=lambda text: pytest.fail(text))
    for form in ("html", "md", "pdf"):
        out = str(tmp_path / f"r.{form}")
        check(typed("report", str(runs[0].folder), "--format", form, "--out", out, "--runs", str(place)), well=True)
