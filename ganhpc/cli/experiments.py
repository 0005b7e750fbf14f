"""One command per experiment, its options generated from the typed definition."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from ganhpc.cli.params import RUNS, Sections
from ganhpc.errors import UserError
from ganhpc.experiment import Budget, Experiment, Option, Resources, options


class DefinitionType(click.ParamType):
    """The value of one option of a definition, parsed and checked as the definition says."""

    def __init__(self, option: Option) -> None:
        self.option = option
        kinds = {"duration": "TIME", "count": "COUNT"}
        names = {int: "N", float: "X", tuple: "N,N,..", str: "TEXT"}
        self.name = option.metavar or kinds.get(option.kind) or "|".join(option.choices) or names[option.type]

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        del param, ctx
        return self.option.parse(value) if isinstance(value, str) else value

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        del param, ctx
        return self.name

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        del ctx, param
        return [click.shell_completion.CompletionItem(c) for c in self.option.choices if c.startswith(incomplete)]


def command(cls: type[Experiment]) -> click.Command:
    """The Click command of the experiment `cls`."""
    made = Sections(cls.NAME, callback=lambda **values: run(cls, values), help=_help(cls))
    common = {f.name for f in dataclasses.fields(Experiment)}
    preset_names = ", ".join(cls.presets())
    made.add("Budget", *(click_option(o, cls) for o in options(cls) if o.path[0] == "budget"))
    made.add(
        "Common",
        click.Option(["--preset"], metavar="NAME", default="default", show_default=True, help=f"exact, named variant: {preset_names}"),
        *(click_option(o, cls) for o in options(cls) if o.name in common and o.path[0] not in ("budget", "resources")),
        click.Option(["--seeds"], metavar="K", type=click.IntRange(1, 10_000), default=1, help="train K runs, with seeds --seed, --seed + 1, ..  [default: 1]"),
    )  # fmt: skip
    made.add(
        f"Of {cls.NAME}", *(click_option(o, cls) for o in options(cls) if o.name not in common and len(o.path) == 1)
    )
    made.add("Machine", *(click_option(o, cls) for o in options(cls) if o.path[0] == "resources"))
    made.add(
        "Launcher",
        RUNS(),
        click.Option(["--new"], is_flag=True, help="start afresh in a new folder, even if this run exists"),
        click.Option(["--dry-run"], is_flag=True, help="print what would run, and write nothing"),
        click.Option(["--json"], is_flag=True, help="print the outcome as JSON on standard output"),
    )
    return made


def _help(cls: type[Experiment]) -> str:
    from ganhpc.cli.main import summary

    return f"{summary(cls.NAME)}\n\nThe same command again shows the finished run, or goes on with an interrupted one."


def click_option(option: Option, cls: type[Experiment]) -> click.Option:
    """`option` on the command line; None means that the preset decides. Defaults shown are those of the default preset."""
    shown = option.show(option.get(cls.presets()["default"]))
    unit = f" ({option.unit})" if option.unit else ""
    help = f"{option.help}{unit}  [default: {shown}]"
    if option.type is bool:
        return click.Option([f"{option.flag}/--no-{option.flag[2:]}"], default=None, help=help)
    return click.Option([option.flag], type=DefinitionType(option), default=None, help=help)


def definition(cls: type[Experiment], values: dict[str, Any]) -> Experiment:
    """The definition that the typed options stand for: the preset's, with what was typed in its place."""
    base = cls.from_preset(values["preset"])
    typed = {o.name: values[o.name] for o in options(cls) if values.get(o.name) is not None}
    if "epochs" in typed and "time" not in typed:
        typed["time"] = None  # The number of epochs is the budget then.
    return base.replace(**typed)


def run(cls: type[Experiment], values: dict[str, Any]) -> None:
    """Train, or show what was trained."""
    from ganhpc.cli import local

    base = definition(cls, values)
    seeds = [base.replace(seed=base.seed + k) for k in range(values["seeds"])]
    if values["dry_run"]:
        _dry_run(seeds, values)
        return
    local.train_all(seeds, Path(values["runs"]), new=values["new"], as_json=values["json"])


def _dry_run(experiments: list[Experiment], values: dict[str, Any]) -> None:
    from ganhpc.cli import local

    plans = [local.plan(e, Path(values["runs"]), new=values["new"]) for e in experiments]
    if values["json"]:
        click.echo(json.dumps({"runs": plans}, indent=1))
        return
    for plan in plans:
        click.echo(f"run      {plan['folder']}  ({plan['state']})")
        click.echo(f"command  {plan['command']}")
        for name, value in plan["definition"].items():
            click.echo(f"  {name:<18} {json.dumps(value)}")
