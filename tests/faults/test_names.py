"""Hostile names through every verb: of experiments' and runs' folders, of networks and figures, of scans."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
import torch  # noqa: F401 (before any command is bounded in time)

from ganhpc.core.files import write_json
from ganhpc.core.printable import in_csv
from tests.faults.folders import encoded
from tests.faults.test_damaged import OVER_ALL, by_seed, check, one, place, whole  # noqa: F401 (fixtures)
from tests.faults.typed import typed

NAMES = (
    "\x1b]0;evil\x07\x1b[31mred", "a\nError: b\r\x08", "\u202egnp.exe", "\x9b2J", "caf\udce9", "[red]x[bold]", "$x^{2$", "<script>alert(1)<script>",
    "a|b`c", "=1+1", "-rf", "--all", "it's $(touch PWN) `touch PWN`; \"x\" & y", "a b", " ", "..x", "x" * 200, "\u200b\ufeff", "東京é", "%s{0}", "~", "*?[",
)  # fmt: skip
"""Names that a file system takes."""


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_run_of_any_name(place: Path, tmp_path: Path, name: str) -> None:  # noqa: F811
    for seed in (1, 3, 5):
        run = by_seed(seed, place)
        run.folder.rename(run.folder.with_name(f"{name}{seed}"[:220]))
    shutil.copytree(place / "cifar", place / f"{name}k"[:200])
    (place / f"{name}.scan.json"[-200:]).write_text('{"format": 1, "\\u001b[2J": 1}')
    for words in OVER_ALL:
        check(typed(*words, "--runs", str(place)), well=True)
    for words in one(str(place / "cifar" / f"{name}3"[:220])):
        check(typed(*words, "--runs", str(place)))
    for word in (name, f"{name}3", f"cifar/{name}3"):
        if not word.startswith("-"):
            check(typed("status", word, "--runs", str(place)))
            check(typed("sample", word, "--runs", str(place)))
    assert not (tmp_path / "PWN").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["\x1b[31m[red]$x^{2$", "<img src=x onerror=alert(1)>|`", "\u202e\ud800\n# x"], ids=ascii
)
@pytest.mark.parametrize("form", ["html", "md"])
def test_a_report_of_any_names(place: Path, tmp_path: Path, name: str, form: str) -> None:  # noqa: F811
    """Names of runs, figures, classes and devices: shown, and neither HTML, nor a formula, nor an order to the terminal."""
    run = by_seed(1, place)
    lines = [{"kind": "train", "step": k, "epoch": k / 10, name: 1.0 / (k + 1), f"loss {name}": 2.0} for k in range(30)]
    run.metrics_jsonl.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = json.loads(run.result_json.read_bytes())
    write_json(
        run.result_json, {**result, "device": name, "network": name, "variant": name, "headline": name, name: 1.5}
    )
    write_json(
        run.evaluation_json, {"curve": [{"epoch": 1.0, "step": 10, name: 0.5}], "accuracy_by_class": {name: 0.5}}
    )
    said = typed(
        "report", str(run.folder), "--format", form, "--out", str(tmp_path / f"r.{form}"), "--runs", str(place)
    )
    check(said, well=True)
    text = (tmp_path / f"r.{form}").read_text()
    assert "<img src=x" not in text.replace("\\<", "")
    assert not {"\x1b", "\u202e"} & set(text)
    if form == "html":
        check(typed("gallery", "--out", str(tmp_path / "g.html"), "--runs", str(place)), well=True)
        assert not {"\x1b", "\u202e"} & set((tmp_path / "g.html").read_text())
        assert "<img src=x" not in (tmp_path / "g.html").read_text()


def test_a_table_in_markdown_has_no_html_and_one_in_csv_no_formula(place: Path) -> None:  # noqa: F811
    run = by_seed(1, place)
    result = json.loads(run.result_json.read_bytes())
    write_json(run.result_json, {**result, "variant": "<b>x|y", "device": "=HYPERLINK(1)", "group": "@a\x1b[2J"})
    markdown = typed("results", "--each", "--md", "--runs", str(place)).out
    assert "\\<b\\>x\\|y" in markdown
    rows = list(csv.DictReader(io.StringIO(typed("results", "--csv", "--runs", str(place)).out)))
    row = next(row for row in rows if row["variant"] == "<b>x|y")
    assert (row["device"], row["group"]) == ("'=HYPERLINK(1)", "'@a\\e[2J")


TYPED = ("[red]x[/red][/]", "=cmd|' /C calc'!A0", "\uff1d1", " \t@x", "\x1b]0;x\x07", "\u202e\u2066abc", "$\\frac{", "<script>alert(1)</script>", "[x](javascript:x)", "\ud800", "{{7}}%s")  # fmt: skip


@pytest.mark.parametrize("text", TYPED, ids=ascii)
def test_figures_of_any_name_that_are_asked_for_by_name(place: Path, text: str) -> None:  # noqa: F811
    """In the heads of tables, to sort and to filter by, in every form that `results` has."""
    run = by_seed(1, place)
    result = json.loads(run.result_json.read_bytes())
    run.result_json.write_bytes(encoded({**result, text: 1.5, "variant": text, "device": text}))
    for words in (("--sort", text), ("--filter", f"{text}>1"), ("--sort", f"-{text}", "--each")):
        for form in ((), ("--md",), ("--csv",), ("--json",)):
            check(typed("results", *words, *form, "--runs", str(place)))
    check(typed("results", "--compare", str(run.folder), by_seed(2, place).name, "--runs", str(place)))


@pytest.mark.parametrize(
    "text", ["=1", " =1", "\u00a0=1", "\uff1d1", "\uff0b1", "\uff0d1", "\uff20x", "-1+2", "\t=1", "@x", "=1\n2"]
)
def test_no_cell_is_a_formula_in_any_spreadsheet(text: str) -> None:
    cell = in_csv(text)
    assert isinstance(cell, str) and cell.startswith(("'", "\\"))  # or shown as an escape
    assert in_csv("a=1") == "a=1" and in_csv("") == "" and in_csv(-1) == -1
