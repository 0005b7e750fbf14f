"""`launch.py results` as a user types it: table, JSON, CSV, and what goes wrong."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import click.testing
import pytest
from rich.cells import cell_len

from ganhpc.cli.commands.results import command
from ganhpc.core.errors import UserError
from ganhpc.runs.run_folder import State
from ganhpc.scans import scan_record
from ganhpc.scans.scan_record import Field, Scan
from tests.conftest import ROOT, Launch
from tests.run_folders import done, stopped


class Shown:
    """What the command printed."""

    def __init__(self, result: click.testing.Result) -> None:
        self.out, self.err, self.code = result.stdout, result.stderr, result.exit_code
        self.lines = self.out.splitlines()


def results(folder: Path, *words: str, **env: str) -> Shown:
    """Run the command in this process; a user's mistake is raised as it is."""
    runner = click.testing.CliRunner(env={"COLUMNS": "", "GANHPC_RUNS": str(folder), **env})
    return Shown(runner.invoke(command, list(words), catch_exceptions=False, standalone_mode=False))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished seeds of a variant, another finished variant with a long name, a crashed run and a stopped one."""
    folder = tmp_path_factory.mktemp("place") / "runs"
    for seed in range(2):
        done(folder, 0.60 + seed / 100, seed=seed)
    done(folder, 0.7, lr=0.5, label_smoothing=0.25, weight_decay=1e-05, figures={"images_per_second": 123_456.7})
    stopped(folder, "crashed", "the loss is not finite at step 20", lr=7.0)
    stopped(folder, "resumable", "SIGINT at the launcher", seed=2)
    return folder


# -- the table ------------------------------------------------------------------------------------------------------------


def test_the_table_has_what_was_promised(runs: Path) -> None:
    shown = results(runs)
    header = shown.lines[0].split()
    wanted = "experiment variant seed state accuracy params MACs ops time epochs images/s GFLOP/s device"
    assert [word for word in header if word in wanted.split()] == wanted.split()
    (group,) = [line for line in shown.lines if "2 runs" in line]
    for figure in (
        "done",
        "60.50 %",
        "0.71 %",
        "1.17 %",
        "62,006",
        "652 k",
        "1.31 M",
        "4m58s",
        "12",
        "1,006",
        "3.26",
        "AMD EPYC, 2 cores",
    ):
        assert figure in group
    assert "70.00 %" in shown.out and "123,457" in shown.out
    assert "crashed  " in shown.out and "the loss is not finite at step 20" in shown.out
    assert shown.err == "" and shown.code == 0


@pytest.mark.parametrize("width", [60, 80, 120, 160])
@pytest.mark.parametrize("words", [[], ["--each"], ["--group"], ["--sort", "-weight-decay"]])
def test_the_table_keeps_to_the_window_and_its_figures_whole(runs: Path, width: int, words: list[str]) -> None:
    shown = results(runs, "--filter", "state!=crashed", *words, COLUMNS=str(width))
    if width >= 80:
        assert max(map(cell_len, shown.lines)) <= width
    together = " ".join(shown.lines)
    for figure in ("70.00 %", "62,006", "652 k", "1.31 M", "4m58s", "123,457", "3.26"):
        assert figure in together
    assert ("60.00 %" in together) == (words == ["--each"])
    folded = "".join(line.strip() for line in shown.lines)
    assert "labelsmoothing0.25" in folded.replace(" ", "")


def test_a_pipe_has_no_width(runs: Path) -> None:
    shown = results(runs, "--filter", "lr=0.5")
    assert len(shown.lines) == 2, "a line of names and one a run, whatever their length"
    assert "lr0.5" in shown.lines[1] and "AMD EPYC, 2 cores" in shown.lines[1] and "\x1b" not in shown.out


def test_each_lists_runs_and_group_lists_variants(runs: Path) -> None:
    each = results(runs, "--each")
    assert "60.00 %" in each.out and "61.00 %" in each.out and "±" not in each.out
    group = results(runs, "--group")
    assert "2 done, 1 resumable" in group.out and "60.50 %" in group.out
    assert len(group.lines) == 1 + 3


def test_a_field_that_is_asked_for_gets_its_column(runs: Path) -> None:
    shown = results(runs, "--sort", "-weight-decay", "--filter", "lr>0.1")
    assert {"weight_decay", "lr"} <= set(shown.lines[0].split())
    assert "1e-05" in shown.lines[1] and "lr0.5" in shown.lines[1]


def test_sort_orders_the_table(runs: Path) -> None:
    up, down = (
        results(runs, "--sort", field, "--filter", "state=done").lines[1:]
        for field in ("test_accuracy", "-test_accuracy")
    )
    assert ["60.50" in line for line in up] == [True, False]
    assert down == up[::-1]
    assert "2 runs" in results(runs, "--sort", "-n").lines[1]


def test_the_limit_says_how_many_more(tmp_path: Path) -> None:
    first = stopped(tmp_path, "resumable").folder
    for number in range(2, 106):
        shutil.copytree(first, first.with_name(f"{first.name}-{number}"))
    shown = results(tmp_path)
    assert len(shown.lines) == 52 and shown.lines[-1].startswith("55 more: --limit N")
    assert len(results(tmp_path, "--limit", "3").lines) == 5
    assert len(json.loads(results(tmp_path, "--json").out)) == 105
    assert len(json.loads(results(tmp_path, "--json", "--limit", "7").out)) == 7
    assert len(results(tmp_path, "--csv").lines) == 106


def test_foreign_text_cannot_drive_the_terminal(tmp_path: Path) -> None:
    done(tmp_path, 0.6, figures={"variant": "[red]\x1b[2Jx", "device": "[/]\x07"})
    for env in ({}, {"COLUMNS": "80"}):
        shown = results(tmp_path, **env)
        assert "[red]\\e[2Jx" in shown.out and "[/]\\a" in shown.out and "\x1b" not in shown.out


# -- JSON and CSV -----------------------------------------------------------------------------------------------------------


def test_json_lists_runs_and_group_json_lists_variants(runs: Path) -> None:
    listed = json.loads(results(runs, "--json").out)
    assert len(listed) == 5 and {row["state"] for row in listed} <= {state.value for state in State}
    assert next(row for row in listed if row["seed"] == 1)["test_accuracy"] == 0.61
    variants = json.loads(results(runs, "--group", "--json", "--sort", "-n").out)
    assert [variant["n"] for variant in variants] == [2, 1, 0]
    assert variants[0]["test_accuracy"] == pytest.approx(
        {"n": 2, "mean": 0.605, "std": 0.0070710678, "cv": 0.0116877154}
    )


def test_a_field_of_the_definition_is_shared_by_a_variant(runs: Path) -> None:
    (variant,) = json.loads(results(runs, "--group", "--json", "--filter", "lr=0.5").out)
    assert variant["lr"] == 0.5, "the same in all its runs, and no measure"


def test_csv_reads_back(runs: Path) -> None:
    read = list(csv.DictReader(io.StringIO(results(runs, "--csv", "--sort", "test_accuracy").out)))
    assert [row["test_accuracy"] for row in read] == ["0.25", "0.25", "0.6", "0.61", "0.7"]
    assert read[0]["params"] == "" and json.loads(read[2]["seconds_by_phase"])["data"] == 3.0
    (group, *_) = csv.DictReader(io.StringIO(results(runs, "--csv", "--group", "--sort", "-n").out))
    assert float(group["test_accuracy_mean"]) == pytest.approx(0.605) and group["test_accuracy_n"] == group["n"] == "2"
    assert sorted(json.loads(group["seeds"])) == [0, 1, 2]


# -- nothing to show, and mistakes ----------------------------------------------------------------------------------------------


def test_no_runs_is_a_sentence_that_says_what_to_type(tmp_path: Path) -> None:
    for folder, words in ((tmp_path / "none", "does not exist yet"), (tmp_path, "holds no runs yet")):
        shown = results(folder)
        assert (
            shown.code == 0
            and words in shown.out
            and "`python launch.py cifar" in shown.out
            and "--runs DIR" in shown.out
        )
        as_json = results(folder, "--json")
        assert json.loads(as_json.out) == [] and words in as_json.err
        assert results(folder, "--csv").out.startswith("experiment,variant,run,state")


def test_filters_that_nothing_passes_are_a_sentence(runs: Path) -> None:
    assert "none of the 5 runs" in results(runs, "--filter", "test_accuracy>0.99").out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--sort", "-test_acuracy"], "--sort test_acuracy: no run has such a field; did you mean 'test_accuracy"),
        (["--sort", "n", "--each"], "--sort n: no run has such a field"),
        (["--filter", "accuracy"], "--filter 'accuracy' can't be read"),
        (["--filter", "params>many"], "params is a number, and 'many' is none"),
        (["--each", "--group"], "--each and --group exclude each other"),
        (["--json", "--csv"], "--json and --csv exclude each other"),
    ],
)
def test_mistakes_are_sentences(runs: Path, words: list[str], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        results(runs, *words)
    assert sentence in str(caught.value)


def test_broken_folders_stand_in_the_table_or_in_a_warning(tmp_path: Path) -> None:
    done(tmp_path, 0.6)
    done(tmp_path, 0.6, seed=1).result_json.write_text('{"test_acc')
    (tmp_path / "cifar" / "notes").mkdir()
    shown = results(tmp_path)
    assert "60.00 %" in shown.out and "refused  " in shown.out and "result.json can't be read" in shown.out
    assert shown.err.startswith("Warning: 1 folder without a run left out") and "notes" in shown.err
    assert len(json.loads(results(tmp_path, "--json").out)) == 2


# -- as a program -----------------------------------------------------------------------------------------------------------


def test_a_reader_that_leaves_is_no_error(runs: Path) -> None:
    program = [sys.executable, str(ROOT / "launch.py"), "results", "--runs", str(runs)]
    for how in ("--json", "--csv", "--each"):
        read, write = os.pipe()
        os.close(read)
        with os.fdopen(write) as gone:
            done = subprocess.run([*program, how], stdout=gone, stderr=subprocess.PIPE, text=True, timeout=60)
        assert "Traceback" not in done.stderr and "Exception" not in done.stderr


def test_json_is_the_same_in_every_locale(tmp_path: Path) -> None:
    """JSON is UTF-8, and an output in ASCII would show a name's letters as ?."""
    done(tmp_path, 0.5, figures={"data": "/home/étés"})
    out = results(tmp_path, "--json").out
    assert out.isascii() and json.loads(out)[0]["data"] == "/home/étés"


def test_results_imports_neither_torch_nor_numpy_and_json_no_rich(runs: Path) -> None:
    code = (
        "import sys; from ganhpc.cli.main import program\n"
        "program(sys.argv[1:], standalone_mode=False)\n"
        "print({m for m in ('torch', 'numpy', 'rich', 'torchvision') if m in sys.modules}, file=sys.stderr)"
    )
    for words, heavy in ((["--json"], "set()"), ([], "{'rich'}"), (["--csv", "--sort", "lr"], "set()")):
        command = [sys.executable, "-c", code, "results", "--runs", str(runs), *words]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and done.stderr.strip() == heavy, done.stderr


def test_help_lists_every_option_once(launch: Launch) -> None:
    text = launch("results", "--help").stdout
    for option in ("--runs", "--filter", "--sort", "--limit", "--each", "--group", "--json", "--csv"):
        assert sum(line.strip().startswith(option + " ") for line in text.splitlines()) == 1


# -- more than a table --------------------------------------------------------------------------------------------------


def test_the_best_has_a_star_and_the_title_the_way(runs: Path) -> None:
    shown = results(runs)
    assert "accuracy ↑" in shown.lines[0]
    assert [line for line in shown.lines if "★" in line] == [line for line in shown.lines if "70.00 % ★" in line] != []


def test_options_that_differ_have_columns_and_budgets_their_share(tmp_path: Path) -> None:
    for lr in (0.1, 0.2):
        done(tmp_path, lr, lr=lr, conv=(8, 16), figures={"budget_params": 256_000})
    shown = results(tmp_path)
    assert {"lr", "%params", "%time"} <= set(shown.lines[0].split()) and "conv" not in shown.lines[0].split()
    assert all(" 24.2% " in line and " 99.2% " in line for line in shown.lines[1:])


def test_markdown_reads_as_a_table(runs: Path) -> None:
    shown = results(runs, "--md", "--filter", "state=done")
    widths = {line.count(" | ") for line in shown.lines}
    assert (
        len(widths) == 1 and shown.lines[0].startswith("| experiment | variant |") and set(shown.lines[1]) <= set("| -")
    )


def test_compare_prints_both(runs: Path) -> None:
    (name,) = [row["run"] for row in json.loads(results(runs, "--json", "--filter", "lr=0.5").out)]
    shown = results(runs, "--compare", "default", name)
    assert "cifar/default (2 runs)" in shown.out and "0.605 ± 0.0071 (n 2)" in shown.out and "+0.095" in shown.out
    assert json.loads(results(runs, "--json", "--compare", "default", name).out)["definition"]["lr"] == [0.12, 0.5]


def test_gans_have_their_own_columns(tmp_path: Path) -> None:
    gan = {
        "experiment": "began",
        "valid": 0.5,
        "convergence": 0.12345,
        "train_k": 0.07,
        "train_loss_g": 0.2,
        "train_loss_d": 0.1,
        "frechet-net": 12.5,
    }
    done(tmp_path, 0.6, figures={**gan, "test_accuracy": None, "test_accuracy_no_tta": None})
    shown = results(tmp_path)
    header = shown.lines[0].split()
    assert {"FD", "valid", "k", "M"} <= set(header) and "accuracy" not in header
    assert all(figure in shown.lines[1] for figure in ("12.5", "50.00 %", "0.07", "0.1235"))


def test_watch_without_a_terminal_prints_once(runs: Path) -> None:
    assert results(runs, "--watch").out == results(runs).out


def test_an_unknown_scan_is_a_sentence(runs: Path) -> None:
    with pytest.raises(UserError, match="scan"):
        results(runs, "--scan", "none")


def test_a_scan_is_in_its_order_and_told_by_its_values(tmp_path: Path) -> None:
    made = [
        done(tmp_path, 0.6 + k / 100, lr=lr, crop=crop) for k, (lr, crop) in enumerate(((0.5, 4), (0.5, 1), (0.1, 4)))
    ]
    done(tmp_path, 0.9, lr=0.7)
    fields = (Field("lr", "--lr", (0.5, 0.1)), Field("crop", "--crop", (4, 1)))
    scan_record.record(
        Scan(
            tmp_path / "cifar",
            "rates",
            "cifar",
            {"preset": "default"},
            "product",
            fields,
            1,
            tuple(r.name for r in made),
        )
    )
    shown = results(tmp_path, "--scan", "rates")
    assert shown.lines[0].split()[:6] == ["experiment", "variant", "seed", "state", "lr", "crop"]
    assert [line.split()[1:6] for line in shown.lines[1:]] == [
        ["default", "0", "done", "0.5", "4"], ["default", "0", "done", "0.5", "1"], ["default", "0", "done", "0.1", "4"],
    ]  # fmt: skip
    assert "★" in shown.lines[3], "the best of the scan, whatever other runs have"
    rows = json.loads(results(tmp_path, "--scan", "rates", "--json").out)
    assert [row["run"] for row in rows] == [run.name for run in made]
    assert rows[2]["variant"] == made[2].experiment().variant
