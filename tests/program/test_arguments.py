"""A program's arguments: as typed, with placeholders, and from a scan."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganhpc.runs import known_experiments, placeholders
from jobs.program import Program
from tests.conftest import Launch
from tests.program.local_runs import defined

WORDS = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=20)


@settings(max_examples=200, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=6))
def test_any_argument_is_kept_exactly(words: list[str]) -> None:
    experiment = defined("program", *words, folder="/")
    tree = json.loads(json.dumps(experiment.to_json()))
    again = known_experiments.from_json(tree)
    assert isinstance(again, Program) and again.command == ("program", *words)
    assert again.signature == experiment.signature
    kept = [word for word in words if "{" not in word]
    assert [
        word for word in placeholders.filled(again.command[1:], {"run": "R"}) if "{" not in word and "R" not in word
    ] == [word for word in kept if "R" not in word]


def test_any_argument_reaches_the_program_as_typed(launch: Launch, tmp_path: Path) -> None:
    words = [
        "a b",
        "it's",
        '"',
        "$HOME",
        "`id`",
        "one\ntwo",
        "é漢",
        "",
        "*",
        "\\",
        "--time",
        "{x}",
        "{{run}}",
        "a;b",
        "-",
    ]
    script = "import json, sys; json.dump(sys.argv[1:], open('said.json', 'w'))"
    done = launch("program", "--on", "local", "--time", "30s", "--", "python", "-c", script, *words)
    assert done.returncode == 0, done.stdout
    words[words.index("{{run}}")] = "{run}"
    assert json.loads((tmp_path / "said.json").read_text()) == words


def test_braces() -> None:
    values = {"run": "R", "lr": "{run}"}
    assert placeholders.filled(["--lr={lr}", "{run}/{{run}}", "{other} {{other}} {", "{{lr}}"], values) == [
        "--lr={run}",
        "R/{run}",
        "{other} {{other}} {",
        "{lr}",
    ]


@pytest.mark.slow  # 4 s in all
def test_a_scan_passes_values_into_arguments(launch: Launch) -> None:
    script = "import sys; from ganhpc.program import figures; figures(step=1, score=-float(sys.argv[1]))"
    words = (
        "program",
        "--on",
        "local",
        "--time",
        "30s",
        "--headline",
        "score",
        "--better",
        "lower",
        "--scan",
        "lr=1e-3,0.01",
    )
    done = launch(*words, "--json", "--", "python", "-c", script, "{lr}")
    assert done.returncode == 0, done.stderr
    assert [(row["state"], row["score"]) for row in json.loads(done.stdout)] == [("done", -0.001), ("done", -0.01)]
    table = launch("results", "--scan", "lr").stdout
    assert "1e-3" in table and "-0.01" in table
    done = launch(*words, "--", "python", "-c", script, "{rate}")
    assert done.returncode == 2 and "no argument of the program takes its values: write {lr}" in done.stderr
