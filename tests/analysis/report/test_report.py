"""What a report says of real tiny runs: each point that the course expects of an account."""

from __future__ import annotations

import html as escaping
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ganhpc.analysis.report import document, render_html, render_markdown, render_pdf, selection
from ganhpc.analysis.report.elements import Code, DefinitionList, Document, Table
from ganhpc.analysis.report.run_data import RunData
from ganhpc.analysis.report.sections.training import _with_share
from ganhpc.analysis.report.sections.variants import Variants, _scan_section
from ganhpc.analysis.report.translation import NO_BREAK, Translator
from ganhpc.runs.run_folder import Run
from ganhpc.scans.scan_record import Field, Scan
from tests.conftest import Launch
from tests.run_folders import done, stopped


def account(*names: str, runs: Path, lang: str = "en") -> Document:
    subjects, _ = selection.find(names, runs)
    return document.document(subjects, Translator(lang), lambda _: None)


def tables(doc: Document, section: str) -> list[Table]:
    return [b for s in doc.sections if s.id == section for b in s.blocks if isinstance(b, Table)]


def text_of(page: str) -> str:
    return " ".join(escaping.unescape(re.sub(r"<(style|script).*?</\1>|<[^>]+>", " ", page, flags=re.DOTALL)).split())


@pytest.mark.parametrize("lang", ["en", "fr"])
def test_a_cifar_report_answers_each_point_of_the_course(cifar: Run, lang: str) -> None:
    doc = account(str(cifar.folder), runs=cifar.folder.parents[1], lang=lang)
    result = json.loads(cifar.result_json.read_text())
    evaluation = json.loads(cifar.evaluation_json.read_text())
    words = Translator(lang)
    page = render_html.render(doc)
    text = text_of(page)
    assert f'<html lang="{lang}">' in page
    # the evaluation before the first epoch and after each
    (epochs,) = tables(doc, "progress")
    assert [row[0].sort for row in epochs.rows] == [0, 1, 2]
    assert [row[1].sort for row in epochs.rows] == [point["test_accuracy"] for point in evaluation["curve"]]
    # each function with its type and hyper-parameters, each tensor and each weight with its dimensions, or none
    (network,) = tables(doc, "network")
    assert [row[0].text for row in network.rows] == [f"F{n}" for n in range(1, 13)]
    first, second = network.rows[0], network.rows[1]
    assert (first[1].text, first[4].text) == ("Conv2d", "X1 6×28×28")
    assert "3→6, 5×5" in first[2].text
    assert first[5].text == "W1: weight 6×3×5×5, bias 6"
    assert (second[1].text, second[5].text) == ("ReLU", {"en": "none", "fr": "nul"}[lang])
    assert network.foot[-1].text == words.count(62_006)
    # operations, split, and what they sum to
    layers, step = tables(doc, "operations")
    assert layers.foot[-1].text == words.count(result["ops"])
    assert step.rows[0][-1].sort == result["step_ops"]
    assert sum(cell.sort for cell in step.rows[0][1:5]) == result["step_ops"]  # type: ignore[misc]
    share = words.per_cent(result["gflops_per_second"] / result["peak_gflops_per_second"], 1)
    assert " ".join(share.split()) in text
    # classes and the confusion matrix
    by_class, matrix = tables(doc, "classes")
    assert [row[1].sort for row in by_class.rows] == list(evaluation["accuracy_by_class"].values())
    assert [[int(cell.text) for cell in row[1:]] for row in matrix.rows] == evaluation["confusion"]
    # budgets, time by phase and epoch, learning rate, seeds, environment
    params, _ = tables(doc, "budgets")[0].rows
    assert (params[1].sort, params[4].text) == (62_006, words("budget.kept"))
    assert "phases" in [getattr(block, "name", "") for s in doc.sections if s.id == "time" for block in s.blocks]
    assert {"aim", "result", "variants", "rate", "seeds", "options", "environment"} <= {s.id for s in doc.sections}
    assert result["device"] in text and result["torch"] in text


@pytest.mark.parametrize("lang", ["en", "fr"])
def test_a_gan_report_shows_log_grids_and_convergence(gan: Run, lang: str) -> None:
    doc = account(gan.folder.as_posix(), runs=gan.folder.parents[1], lang=lang)
    page = render_html.render(doc)
    (log,) = [
        b.text
        for sec in doc.sections
        for b in sec.blocks
        if isinstance(b, Code) and b.caption == Translator(lang)("gan.log")
    ]
    number = r"-?[\d.]+"
    line = rf"\d+ \(5, 1\) \[D loss: \({number}\)\(R {number}, F {number}, G {number}\)\] \[G loss: {number}\]"
    assert [bool(re.fullmatch(line, each)) for each in log.splitlines()] == [True, True]
    assert page.count('src="data:image/') == len(list(gan.samples.glob("step-*.png")))
    ids = [s.id for s in doc.sections]
    assert {"convergence", "samples", "measures", "network"} <= set(ids)
    assert len(tables(doc, "network")) == 2
    assert "classes" not in ids


@pytest.mark.slow  # 4 s of processor time: processes of its own
def test_variants_are_grouped_over_seeds_and_the_best_is_marked(scanned: Path) -> None:
    doc = account("cifar", runs=scanned)
    variants, lost = tables(doc, "variants")
    (best,) = [row for row in variants.rows if row[0].best]
    assert best[1].sort == pytest.approx(0.635)
    assert best[2].sort == pytest.approx(0.01 / 2**0.5)  # (0.63, 0.64): by hand
    assert best[3].sort == pytest.approx(0.01 / 2**0.5 / 0.635)
    assert best[4].text == "2"
    assert "crashed" in [cell.text for cell in lost.rows[0]]


@pytest.mark.slow  # 5 s of processor time: processes of its own
@pytest.mark.parametrize("name", ["rates", "cifar/rates", "file"])
def test_a_scan_has_a_map_and_parallel_coordinates(scanned: Path, name: str) -> None:
    word = str(scanned / "cifar" / "rates.scan.json") if name == "file" else name
    doc = account(word, runs=scanned)
    heat, values = tables(doc, "scan-rates")
    assert [[cell.text for cell in row] for row in heat.rows] == [
        ["0.01", "50.50%", "53.50%"],
        ["0.02", "60.50%", "63.50% ★"],
    ]
    assert len(values.rows) == 4
    page = render_html.render(doc)
    assert "1 of its runs has no folder" in page
    assert 'id="parallel-rates' in page or "parallel-rates-" in page


def test_a_scan_whose_variants_share_one_pair_of_values_has_a_map_of_those_with_a_figure(tmp_path: Path) -> None:
    """As a record has it that came from elsewhere: its options are none of its runs'."""
    runs = tmp_path / "runs"
    whole = [
        done(runs, accuracy, preset="course", data="synthetic", lr=lr) for accuracy, lr in ((0.5, 0.01), (0.6, 0.02))
    ]
    whole += [stopped(runs, "resumable", "out of time", data="synthetic", lr=lr) for lr in (0.005, 0.03)]
    options = [Field(name, f"--{name}", (1, 2)) for name in ("unheard", "other")]
    scan = Scan(runs / "cifar", "odd", "cifar", {}, "product", tuple(options), 1, tuple(run.name for run in whole))
    found = [RunData.of(run) for run in whole]
    for order in (found, found[::-1]):
        section = _scan_section(Variants(order), scan, Translator("en"))
        heat = next(block for block in section.blocks if isinstance(block, Table))
        assert len(heat.rows) == 1 and "%" in heat.rows[0][1].text


def test_classes_of_one_share_are_named_together() -> None:
    shares = {"bird": 0.0, "cat": 0.5, "deer": 0.0}
    assert (_with_share(shares, 0.0), _with_share(shares, 0.5)) == ("bird, deer", "cat")
    assert _with_share({f"c{k}": 0.1 for k in range(8)}, 0.1) == "c0, c1, c2, .."


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("0.1296", "0.1296"),
        ("1.48 s", "1.48 s"),
        ("-3", "-3"),
        ("1. x", r"1\. x"),
        ("12)", r"12\)"),
        ("- x", r"\- x"),
        ("+", r"\+"),
    ],
)
def test_numbers_in_markdown_are_copied_as_they_are_and_nothing_begins_a_list(text: str, shown: str) -> None:
    assert render_markdown._escaped(text) == shown


@pytest.mark.slow  # 5 s of processor time: processes of its own
def test_what_users_typed_is_escaped_everywhere(scanned: Path, tmp_path: Path) -> None:
    doc = account("cifar", runs=scanned)
    page = render_html.render(doc)
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page
    render_markdown.write(doc, tmp_path / "r.md")
    text = (tmp_path / "r.md").read_text()
    assert "<script>" not in text.replace("\\<script\\>", "") and "\\| \\*loss\\*" in text
    assert all(
        (tmp_path / "r_files").joinpath(Path(link).name).is_file()
        for link in re.findall(r"\]\((r_files/[^)]+)\)", text)
    )


@pytest.mark.slow  # 6 s of processor time: processes of its own
def test_a_damaged_run_is_reported_with_what_can_be_read(cifar: Run, tmp_path: Path) -> None:
    copy = tmp_path / "runs" / "cifar" / cifar.name
    shutil.copytree(cifar.folder, copy)
    (copy / "evaluation.json").write_text("{ broken")
    (copy / "description.json").unlink()
    doc = account(str(copy), runs=tmp_path / "runs")
    page = text_of(render_html.render(doc))
    assert "Some files of" in page and "evaluation.json" in page
    (network,) = tables(doc, "network")  # built anew from the definition
    assert len(network.rows) == 12
    (epochs,) = tables(doc, "progress")  # from metrics.jsonl
    assert len(epochs.rows) == 3


@pytest.mark.slow  # 5 s of processor time: processes of its own
def test_an_unfinished_run_is_reported_as_such(scanned: Path) -> None:
    crashed = next(p.parent for p in scanned.glob("cifar/*/log.txt"))
    doc = account(str(crashed), runs=scanned)
    page = text_of(render_html.render(doc))
    assert "No run is finished yet" in page and "crashed" in page
    assert "<b>the end</b>\\e[31m" in page


@pytest.mark.slow  # a second of processor time: it computes
def test_a_pdf_is_written(cifar: Run, tmp_path: Path) -> None:
    doc = account(str(cifar.folder), runs=cifar.folder.parents[1], lang="fr")
    render_pdf.write(doc, tmp_path / "r.pdf")
    assert (tmp_path / "r.pdf").read_bytes().startswith(b"%PDF-")


@pytest.mark.slow  # a second of processor time: it computes
@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="no pdftotext here: apt-get install poppler-utils")
def test_the_pages_of_a_pdf_have_the_same_content(cifar: Run, tmp_path: Path) -> None:
    doc = account(str(cifar.folder), runs=cifar.folder.parents[1], lang="fr")
    render_pdf.write(doc, tmp_path / "r.pdf")
    done = subprocess.run(["pdftotext", "-layout", tmp_path / "r.pdf", "-"], capture_output=True, text=True, check=True)
    for section in doc.sections:
        assert section.title.split(" ")[0] in done.stdout
    assert "6×28×28" in done.stdout


@pytest.mark.slow  # 6 s of processor time: processes of its own
def test_the_command_writes_the_file_and_refuses_what_makes_no_sense(
    launch: Launch, scanned: Path, tmp_path: Path
) -> None:
    done = launch("report", "rates", "--runs", str(scanned), "--lang", "fr")
    assert done.returncode == 0, done.stderr
    assert "Compte rendu" in (tmp_path / "report-rates.html").read_text()
    wrong = launch("report", "nothing", "--runs", str(scanned))
    assert (wrong.returncode, "Traceback" in wrong.stderr) == (2, False) and "'nothing'" in wrong.stderr
    assert "none of html, md, pdf" in launch("report", "rates", "--runs", str(scanned), "--out", "x.doc").stderr


@pytest.mark.parametrize("lang", ["en", "fr"])
def test_a_gallery_of_none_some_and_damaged_runs(launch: Launch, scanned: Path, tmp_path: Path, lang: str) -> None:
    assert "0 runs" in launch("gallery", "--runs", str(tmp_path / "none"), "--lang", lang).stdout
    copy = tmp_path / "copy"
    shutil.copytree(scanned, copy)
    next(copy.glob("cifar/*/result.json")).write_text("{")
    (copy / "cifar" / "stranger").mkdir()
    done = launch("gallery", str(copy), "--lang", lang)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "gallery.html").read_text()
    assert page.count("<h2>") == 9 and "<script>alert" not in page
    assert 'href="copy/cifar/' in page


def test_a_time_that_is_over_its_budget_by_less_than_is_shown_says_by_how_much(cifar: Run, tmp_path: Path) -> None:
    copy = shutil.copytree(cifar.folder, tmp_path / "runs" / "cifar" / cifar.name)
    result = json.loads((copy / "result.json").read_text())
    (copy / "result.json").write_text(json.dumps({**result, "train_seconds": 60.0005, "budget_seconds": 60.0}))
    (table,) = tables(account("cifar", runs=tmp_path / "runs"), "budgets")
    assert table.rows[1][4].text == f"exceeded by 0.0005{NO_BREAK}s"


@pytest.mark.parametrize("lang", ["en", "fr"])
def test_measures_of_a_generator_have_names_and_counts_are_whole(gan: Run, lang: str) -> None:
    doc = account(gan.folder.as_posix(), runs=gan.folder.parents[1], lang=lang)
    (facts,) = [b for s in doc.sections if s.id == "measures" for b in s.blocks if isinstance(b, DefinitionList)]
    result = json.loads(gan.result_json.read_text())
    named = dict(facts.rows)
    names = {key: Translator(lang).name("figure", key) for key in result if key.startswith("lines_")}
    assert names, "the fixture measures lines"
    for key, name in names.items():
        assert name != key.replace("_", " "), f"{key} has no name in {lang}"
    assert named[names["lines_n"]].split()[0] == str(result["lines_n"])


@pytest.mark.slow  # 2 s of processor time: processes of its own
def test_a_run_that_was_moved_keeps_its_title(launch: Launch, cifar: Run, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "renamed"
    shutil.copytree(cifar.folder, moved)
    out = tmp_path / "page.md"
    done = launch("report", moved, "--out", out)
    assert done.returncode == 0, done.stderr
    page = out.read_text()
    assert page.startswith("# Report: cifar") and "elsewhere" not in page.partition("## ")[0]
    seen = json.loads(launch("status", moved, "--json").stdout)["runs"]
    assert seen[0]["experiment"] == "cifar" and seen[0]["next_command"] == f"python launch.py results --runs {tmp_path}"
