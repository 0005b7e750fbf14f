"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from ganhpc.cli.commands.gallery import command as gallery
from ganhpc.cli.commands.report import command as report
from ganhpc.cli.commands.sample import command as sample
from ganhpc.cli.common_options import TypedPath


def options() -> list[tuple[click.Command, str]]:
    paths = ("--runs", "--out", "--onnx", "--input")
    found = [(each, param) for each in (sample, report, gallery) for param in each.params]
    return [(each, param.opts[0]) for each, param in found if param.opts[0] in paths]


@pytest.mark.parametrize(("command", "option"), options())
def test_a_tilde_that_the_shell_has_left_is_the_home(
    command: click.Command, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    words = [] if command is gallery else ["run"]
    with command.make_context("x", [*words, f"{option}=~/made/here.png"], resilient_parsing=True) as context:
        (value,) = (context.params[param.name] for param in command.params if option in param.opts and param.name)
        assert value == f"{tmp_path}/made/here.png"


def test_another_path_stays_as_it_was_typed() -> None:
    assert [TypedPath().convert(path, None, None) for path in ("a/~b", "./~", "-")] == ["a/~b", "./~", "-"]
