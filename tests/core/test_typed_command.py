"""Commands to type next: words quoted, --runs where it is needed, and no sentence that writes one by itself."""

from __future__ import annotations

import ast
import os
import re
import shlex
from pathlib import Path

import pytest

from ganhpc.analysis.results.rows import row
from ganhpc.core.errors import UserError
from ganhpc.core.settings import ROOT
from ganhpc.core.typed_command import typed_command
from ganhpc.runs.find_run import find_run
from ganhpc.runs.run_folder import Run
from jobs.cifar import Cifar

ASKING = ("results", "status", "resume", "cancel", "logs", "report", "board", "sample")
"""Verbs that look for runs in the folder of --runs."""


@pytest.fixture(autouse=True)
def usual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GANHPC_RUNS", raising=False)
    monkeypatch.setenv("GANHPC_CONFIG", "/dev/null")


def test_words_are_quoted_and_runs_is_named_where_it_is_not_the_usual_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert typed_command("logs", "a b", "-f", runs=Path("runs")) == "python launch.py logs 'a b' -f"
    assert typed_command("results", runs=tmp_path / "runs/") == "python launch.py results"
    assert (
        typed_command("results", runs=tmp_path / "my runs") == f"python launch.py results --runs '{tmp_path}/my runs'"
    )
    assert typed_command("describe", "cifar") == "python launch.py describe cifar"


def test_a_usual_folder_of_runs_that_is_a_loop_of_links_is_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to("loop")
    monkeypatch.setenv("GANHPC_RUNS", str(loop))
    assert typed_command("results", runs=tmp_path / "runs") == f"python launch.py results --runs {tmp_path}/runs"
    assert typed_command("results", runs=loop) == "python launch.py results"
    monkeypatch.setenv("GANHPC_RUNS", str(tmp_path / "other"))
    assert typed_command("results", runs=tmp_path / "other") == "python launch.py results"
    assert typed_command("results", runs=Path("runs")) == "python launch.py results --runs runs"


@pytest.mark.parametrize("inside", ["own runs", "own runs/cifar", "own runs/cifar/NAME", "elsewhere", ""])
def test_a_run_known_by_any_path_is_found_again_by_its_command(
    inside: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder of runs is two levels up, also of a path of one word, of `.` and of one that goes up."""
    run = Run.open(tmp_path / "own runs", Cifar(data="synthetic"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / inside.replace("NAME", run.name))
    words = shlex.split(Run(Path(os.path.relpath(run.folder))).command("logs", "-f"))
    assert words[:6] == ["python", "launch.py", "logs", run.name, "-f", "--runs"], words
    assert find_run(words[3], Path(words[6])).folder.resolve() == run.folder


def test_sentences_on_runs_that_are_not_there_name_the_folder_of_runs(tmp_path: Path) -> None:
    runs = tmp_path / "own runs"
    for seed in range(9):
        Run.open(runs, Cifar(data="synthetic", seed=seed))
    (runs / "cifar" / "empty").mkdir()
    wanted = re.escape(f"`python launch.py results --runs '{runs}'`")
    with pytest.raises(UserError, match=wanted):
        find_run("qqqqqq", runs)
    with pytest.raises(UserError, match=wanted):
        find_run(str(runs / "cifar" / "empty"), runs)
    with pytest.raises(UserError, match=wanted):
        row(Run(runs / "cifar" / "empty"))
    with pytest.raises(UserError, match=wanted):
        Run.at(runs / "cifar" / "empty")


def sentences(source: str) -> list[str]:
    """The texts of a module that are no docstrings."""
    tree = ast.parse(source)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
    ]


def test_no_sentence_writes_such_a_command_by_itself() -> None:
    written = re.compile(rf"launch\.py (?!.*{{)({'|'.join(ASKING)})\b(?!  )")
    found = [
        f"{path.relative_to(ROOT)}: {text.strip()}"
        for path in sorted((ROOT / "ganhpc").rglob("*.py"))
        for text in sentences(path.read_text())
        if path.name != "typed_command.py" and written.search(text)
    ]
    assert not found, found
    for report in (ROOT / "templates" / "report").glob("*.toml"):
        assert not written.search(report.read_text()), report


def test_the_look_for_such_sentences_sees_one() -> None:
    assert sentences('"""Doc."""\nsay(f"type `python launch.py results` {x}")') == ["type `python launch.py results` "]
