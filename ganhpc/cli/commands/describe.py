"""`describe EXPERIMENT`: the networks of an experiment in full, untrained and without its data."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.text import Text

from ganhpc.cli.common_options import SHAPING, Sections
from ganhpc.cli.experiment_command import command as training_command
from ganhpc.cli.output import say, screen
from ganhpc.core.errors import UserError
from ganhpc.core.typed_command import typed_command
from ganhpc.runs import known_experiments
from ganhpc.runs.experiment import Experiment, Kind, from_typed, options

if TYPE_CHECKING:
    from ganhpc.train.describe.describe_experiment import Described


class Describe(click.Group):
    """One command an experiment, with the options of its definition."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return known_experiments.names()

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        return _command(known_experiments.find(cmd_name)) if cmd_name in known_experiments.names() else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-"):
            known_experiments.find(args[0])
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Experiments"):
            formatter.write_dl([(name, known_experiments.summary(name)) for name in self.list_commands(ctx)])


@click.group(cls=Describe, subcommand_metavar="EXPERIMENT [OPTIONS]", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """A network in full: functions Fn, tensors Xn, weights Wn, operations.

    \b
    python launch.py describe cifar --preset tutorial    one of the presets
    python launch.py describe cifar --help               what shapes the network
    """
    if ctx.invoked_subcommand is None:
        say(ctx.get_help())


def _command(cls: type[Experiment]) -> click.Command:
    """The options are those of the training command, so that what is typed there can be described here."""
    text = "Describe the networks of this experiment: functions, tensors, weights, parameters and operations per image."
    made = Sections(cls.NAME, callback=lambda **values: describe(cls, values), help=text)
    own = {o.name for o in options(cls)} - {o.name for o in options(Experiment)}
    training = training_command(cls)
    assert isinstance(training, Sections), "an experiment's options come in sections"
    for title, found in training.sections:
        if kept := [option for option in found if option.name in own | SHAPING]:
            made.add(title, *kept)
    made.add("Output", click.Option(["--json"], is_flag=True, help="print the description as JSON on standard output"))
    return made


def describe(cls: type[Experiment], values: dict[str, Any]) -> None:
    """Print the networks that the typed options stand for."""
    if cls.KIND is Kind.PROGRAM:
        raise UserError(
            f"{cls.NAME} runs a program, whose network is its own affair: --measure MODULE:FUNCTION counts its parameters and operations "
            f"on the node, and `{typed_command('results')}` shows them."
        )
    from ganhpc.train.describe.describe_experiment import build

    found = build(from_typed(cls, values, values["preset"] or "default"), _typed(cls, values))
    if values["json"]:
        say(json.dumps(found.to_json(), indent=1))
        return

    _print(found, screen(highlight=False))


def _typed(cls: type[Experiment], values: dict[str, Any]) -> list[str]:
    return [option.name for option in options(cls) if values.get(option.name) is not None]


def _print(found: Described, console: Console) -> None:
    from ganhpc.analysis.network_tables import render
    from ganhpc.analysis.step_tables import render_step

    experiment = found.experiment
    console.print(
        Text.assemble((f"{experiment.NAME} {experiment.variant}", "bold"), f": {found.network} ({found.why})")
    )
    for name, part in found.parts.items():
        console.print()
        render(part, console, found.network if len(found.parts) == 1 else name)
    if len(found.parts) > 1:
        console.print(f"\n{len(found.parts)} networks together: {found.params:,} trainable parameters")
    render_step(found.step, sum(part.macs for part in found.parts.values()), console)
    for line in found.notes:
        console.print(Text(f"\n! {line}", style="yellow"))
