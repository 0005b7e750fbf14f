"""Brackets in what users and sites write, which rich would read as its marks: shown as they are, and no traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from ganhpc.cli.main import program


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("PATH", "/nowhere")


def typed(*words: str) -> None:
    program.main(list(words), standalone_mode=False)


def test_values_of_a_scan_are_shown_as_typed(capsys: pytest.CaptureFixture[str]) -> None:
    scan = "x=[a],[/bold],[/],\x1b[31mred"
    typed("program", "--time", "1h", "--on", "local", "--dry-run", "--scan", scan, "--", "p", "{x}")
    shown = capsys.readouterr().out
    for value in ("[a]", "[/bold]", "[/]"):
        assert f"  {value}" in shown
    assert "red" in shown and "\x1b" not in shown


def test_the_title_of_a_policy_and_resources_are_shown_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('title = "rules of [/room] and [red]us"\nmax_job = "1h"\n')
    settings = tmp_path / "settings.toml"
    settings.write_text("resources = \"{a='[/x]'}/nodes=1\"\n")
    monkeypatch.setenv("GANHPC_CONFIG", str(settings))
    typed("program", "--time", "1h", "--on", "oar", "--policy", str(rules), "--dry-run", "--", "true")
    shown = capsys.readouterr().out
    assert "rules of [/room] and [red]us" in shown
    assert "each job asks for {a='[/x]'}/nodes=1" in shown
