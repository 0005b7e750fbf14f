"""One command per experiment, its options generated from the typed definition."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from ganhpc.cli.common_options import LAUNCHER, PLACE, RUNS, SEEDS, Sections, Whole, refuse_empty
from ganhpc.cli.output import say
from ganhpc.core.errors import UserError
from ganhpc.runs.experiment import Experiment, from_typed, options
from ganhpc.runs.known_experiments import summary
from ganhpc.runs.options import Option
from ganhpc.scans.named import named_scans


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


class _PresetType(click.ParamType):
    """A preset's name. Whether there is one is for the definition to say, with the nearest names."""

    name = "NAME"

    def __init__(self, cls: type[Experiment]) -> None:
        self.cls = cls

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        del ctx, param
        return [click.shell_completion.CompletionItem(p) for p in self.cls.presets() if p.startswith(incomplete)]


def command(cls: type[Experiment]) -> click.Command:
    """The Click command of the experiment `cls`."""
    # The words of a program's command line are its own: options end at the first of them.
    settings = {"allow_interspersed_args": not cls.TAKES_COMMAND}
    made = Sections(cls.NAME, callback=lambda **values: run(cls, values), help=_help(cls), context_settings=settings)
    common = {f.name for f in dataclasses.fields(Experiment)}
    preset_names = ", ".join(cls.presets())
    made.add("Budget", *(_click_option(o, cls) for o in options(cls) if o.path[0] == "budget"))
    made.add(
        "Common",
        click.Option(
            ["--preset"],
            metavar="NAME",
            type=_PresetType(cls),
            help=f"exact, named variant: {preset_names}  [default: default]",
        ),
        *(_click_option(o, cls) for o in options(cls) if o.name in common and o.path[0] not in ("budget", "resources")),
        SEEDS("train K runs"),
    )
    made.add("Scan", *scan_options(cls))
    made.add(
        f"Of {cls.NAME}",
        *_command_options(cls, made),
        *(
            _click_option(o, cls)
            for o in options(cls)
            if o.name not in common and o.path[0] not in ("budget", "resources")
        ),
    )
    made.add("Machine", *(_click_option(o, cls) for o in options(cls) if o.path[0] == "resources"))
    made.add(
        "Launcher",
        RUNS(),
        *LAUNCHER(
            "auto: OAR or Slurm where one is here, else this machine",
            "student on OAR and Slurm, none here",
            envvar="GANHPC_ON",
            default="auto",
        ),
        click.Option(
            ["--segments"],
            type=Whole(1, 1000),
            metavar="N",
            help="jobs of the longest length to chain, where --epochs alone bounds the run  [default: one, repeated until it is done where the rules allow]",
        ),
        click.Option(["--new"], is_flag=True, help="start afresh in a new folder, even if this run exists"),
    )
    made.add("On a cluster", *PLACE())
    refuse_empty(made)
    return made


def _command_options(cls: type[Experiment], made: click.Command) -> list[click.Option]:
    """The words of a program's command line, and the options beside them that are no fields."""
    if not cls.TAKES_COMMAND:
        return []
    made.params.append(
        click.Argument(["command"], nargs=-1, type=click.UNPROCESSED, metavar="-- PROGRAM [ARGUMENT]...")
    )
    return command_options()


def command_options() -> list[click.Option]:
    """The options of programs that are no fields of their definition."""
    watched = "file of the program that belongs to its definition: another content is another run (may be repeated)"
    return [
        click.Option(["--folder"], metavar="DIR", help="folder in which the program runs  [default: this one]"),
        click.Option(["--watch-file", "watch_files"], multiple=True, metavar="FILE", help=watched),
    ]


def _help(cls: type[Experiment]) -> str:
    return f"{summary(cls.NAME)}\n\nThe same command again shows the finished run, or goes on with an interrupted one."


def _click_option(option: Option, cls: type[Experiment]) -> click.Option:
    """`option` on the command line; None means that the preset decides. Defaults shown are those of the default preset."""
    shown = option.show(option.get(cls.presets()["default"]))
    unit = f" ({option.unit})" if option.unit else ""
    help = f"{option.help}{unit}  [default: {shown}]"
    if option.type is bool:
        return click.Option([f"{option.flag}/--no-{option.flag[2:]}", option.name], default=None, help=help)
    return click.Option([option.flag, option.name], type=DefinitionType(option), default=None, help=help)


def scan_options(cls: type[Experiment] | None) -> tuple[click.Option, ...]:
    """--scan and --zip; the help has the scans that the file of `cls` names."""
    names = ", ".join(named_scans(cls)) if cls else ""
    ready = f"; or by name: {names}" if names else "; or by its name in the experiment's file" if cls is None else ""
    return (
        click.Option(
            ["--scan", "scans"],
            multiple=True,
            metavar="FIELD=V1,V2|NAME",
            shell_complete=lambda *words: _scans_like(cls or Experiment, words[-1]),
            help=f"one run for each value, several options each with each: lr=1e-4,2e-4, lr=1e-5:1e-3:log5, conv=6x16,12x32{ready}",
        ),
        click.Option(
            ["--zip", "zipped"], is_flag=True, help="pair the values of several --scan, the first with the first"
        ),
    )


def _scans_like(cls: type[Experiment], word: str) -> list[Any]:
    """Completions: scans by name, and the fields that can be scanned."""
    from click.shell_completion import CompletionItem

    fields = [o.name for o in options(cls) if o.path[0] != "resources" and o.name not in ("seed", "name")]
    words = [*named_scans(cls), *(f"{name}=" for name in fields)]
    return [CompletionItem(w) for w in words if w.startswith(word)]


def run(cls: type[Experiment], values: dict[str, Any]) -> None:
    """Train here, or submit; or show what was trained, or would be."""
    from ganhpc.core import settings as site
    from ganhpc.launch.schedulers.choice import pick
    from ganhpc.launch.schedulers.typed_requests import asked

    if values["scans"] or values["zipped"]:
        from ganhpc.cli.launching import scan_launch

        scan_launch.launch(cls, values)
        return
    base = from_typed(cls, values, values["preset"] or "default")
    experiments = [base.replace(seed=base.seed + k) for k in range(values["seeds"])]
    runs, dry_run = Path(values["runs"]), values["dry_run"]
    settings = site.load()
    scheduler, why = pick(values["on"], settings, dry_run=dry_run)
    asked(scheduler, values)
    if scheduler is None:
        if values["on"] == "auto":
            say(f"this machine: {why}", err=True)
        if remark := base.remark(None):
            say(remark, err=True)
        _run_here(experiments, runs, values)
        return
    from ganhpc.cli.launching import scheduler_launch
    from ganhpc.launch.submission.launch_context import LaunchContext

    if values["now"] and not dry_run:
        raise UserError("--now plans from another moment and can't submit: add --dry-run, or leave it out.")
    if values["segments"] and base.budget.time is not None:
        raise UserError("--segments is for runs bounded by --epochs alone: --time says how many jobs there are.")
    say(f"{scheduler.name}: {why}", err=True)
    place = LaunchContext.of(scheduler, values["policy"], values["now"], settings)
    if remark := base.remark(place.policy.max_job):
        say(remark, err=True)
    scheduler_launch.launch(
        experiments,
        runs,
        place,
        new=values["new"],
        dry_run=dry_run,
        as_json=values["json"],
        segments=values["segments"],
    )


def _run_here(experiments: list[Experiment], runs: Path, values: dict[str, Any]) -> None:
    from ganhpc.cli.launching import local_launch

    if not values["dry_run"]:
        local_launch.train_all(experiments, runs, new=values["new"], as_json=values["json"])
        return
    plans = [local_launch.plan(e, runs, new=values["new"]) for e in experiments]
    if values["json"]:
        say(json.dumps({"runs": plans}, indent=1))
        return
    for plan in plans:
        say(f"run      {plan['folder']}  ({plan['state']})")
        say(f"command  {plan['command']}")
        for name, value in plan["definition"].items():
            say(f"  {name:<18} {json.dumps(value)}")
