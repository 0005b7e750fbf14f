"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from ganhpc.cli.commands.gallery import command as gallery
from ganhpc.cli.commands.report import command as report
from ganhpc.cli.commands.sample import command as sample
from ganhpc.cli.common_options import TypedPath
from ganhpc.cli.main import program
from ganhpc.core.errors import UserError


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


@pytest.mark.parametrize(
    "words",
    [
        ("cifar", "--preset", ""),
        ("cifar", "--name", " "),
        ("cifar", "--runs="),
        ("cifar", "--policy", ""),
        ("sdpc-gan", "--from", ""),
        ("program", "--folder", "", "--", "true"),
        ("program", "--watch-file", "", "--", "true"),
        ("program", "--headline", "", "--", "true"),
        ("describe", "cifar", "--preset", ""),
        ("night", "program", "--name", "", "--", "true"),
        ("new", "zig", "--into", ""),
        ("results", "--compare", "", "b"),
        ("status", "--runs", ""),
    ],
    ids=lambda words: " ".join(words[:3]),
)
def test_an_empty_value_of_an_option_is_refused_and_not_taken_for_none(words: tuple[str, ...]) -> None:
    """`--runs "$RUNS"` with a variable that is not set wrote runs into the present folder, and `--folder` and `--preset` meant another one."""
    option = next(word for word in words if word.startswith("--")).rstrip("=")
    with pytest.raises(UserError, match=f"{option} '' names nothing: type "):
        program.main(list(words), standalone_mode=False)


def test_an_empty_list_is_none_of_numbers() -> None:
    for typed in ("", ",", " "):
        with pytest.raises(UserError, match="--conv takes whole numbers such as 6,16"):
            program.main(["cifar", "--conv", typed, "--on", "local", "--dry-run"], standalone_mode=False)
