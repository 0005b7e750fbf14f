"""Pieces that several commands share: options in named sections, and the folder of runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from ganhpc.core import settings, units
from ganhpc.core.errors import UserError
from ganhpc.core.whoami import expand


class Whole(click.IntRange):
    """A whole number in a range, read as every number that is typed."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(_read(self, value, units.parse_whole, param, ctx), param, ctx)


class Number(click.FloatRange):
    """A number in a range, read as every number that is typed."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(_read(self, value, units.parse_float, param, ctx), param, ctx)


def _read(
    kind: click.ParamType,
    value: Any,
    read: Callable[[str], Any],
    param: click.Parameter | None,
    ctx: click.Context | None,
) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return read(value)
    except UserError as error:
        kind.fail(str(error), param, ctx)


class Sections(click.Command):
    """A command whose help lists its options under headings."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sections: list[tuple[str, list[click.Option]]] = []

    def add(self, title: str, *options: click.Option) -> None:
        """Add options under a heading."""
        self.sections.append((title, list(options)))
        self.params.extend(options)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, options in self.sections:
            rows = [record for option in options if (record := option.get_help_record(ctx))]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows, col_max=34)


def cut_at_dashes(command: click.Command, args: list[str]) -> tuple[list[str], list[str]]:
    """(the words of the command itself, those behind its two dashes); two dashes that are the value of an option end nothing."""
    valued = {
        flag for each in command.params if isinstance(each, click.Option) and not each.is_flag for flag in each.opts
    }
    k = 0
    while k < len(args) and args[k] != "--":
        k += 2 if args[k] in valued else 1
    return args[:k], args[k + 1 :]


def refuse_empty(command: click.Command) -> None:
    """Have the options of `command` refuse a value without a sign, which a shell's variable that is not set leaves behind."""
    for param in command.params:
        if isinstance(param, click.Option) and param.callback is None:
            param.callback = _not_empty


def _not_empty(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """The value of an option as it is; for a callback of Click's. Raises UserError."""
    if value == "" or (isinstance(value, tuple) and "" in value):
        raise UserError(
            f"{param.opts[0]} '' names nothing: type {param.make_metavar(ctx)} behind it, or leave it out "
            "(a variable of the shell that is not set leaves nothing behind)."
        )
    return value


class TypedPath(click.ParamType):
    """The path of a file or folder. bash leaves the ~ of --runs=~/runs as it is, and that of a variable in quotes."""

    name = "PATH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        del param, ctx
        return str(expand(value)) if str(value).startswith("~") else str(value)


def RUNS() -> click.Option:
    """--runs DIR: typed, in GANHPC_RUNS, configured, or `runs` here."""
    return click.Option(
        ["--runs"],
        type=TypedPath(),
        metavar="DIR",
        envvar="GANHPC_RUNS",
        default=_configured_runs,
        help="folder of run folders  [default: runs, or as configured]",
    )


def _configured_runs() -> str:
    configured = settings.load().runs
    return str(configured) if configured else "runs"


class _JobType(click.ParamType):
    """The name of a job type, completed from the settings."""

    name = "NAME"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        del ctx, param
        names = dict(settings.load().job_types)
        return [click.shell_completion.CompletionItem(name) for name in names if name.startswith(incomplete)]


def PLACE() -> tuple[click.Option, ...]:
    """The options that say where on a cluster jobs go, instead of the settings (ganhpc.launch.schedulers.typed_requests)."""
    return (
        click.Option(["--queue", "--partition", "queue"], metavar="NAME", help="OAR: queue; Slurm: partition"),
        click.Option(["--account", "--project", "account"], metavar="NAME", help="OAR: project; Slurm: account"),
        click.Option(["--qos"], metavar="NAME", help="Slurm: quality of service"),
        click.Option(["--gpu-model"], metavar="NAME", help="model of the GPUs, by the cluster's name for it"),
        click.Option(["--cluster"], metavar="NAME", help="OAR: cluster of the site"),
        click.Option(["--constraint"], metavar="EXPR", help="Slurm: features of nodes; OAR: a further condition of -p"),
        click.Option(
            ["--type", "job_type"],
            type=_JobType(),
            help="job type: besteffort, exotic, night, or one of job_types in the settings",
        ),
    )


def SEEDS(what: str) -> click.Option:
    """--seeds K: `what` is trained K times, in the words of the command."""
    text = f"{what}, with seeds --seed, --seed + 1, ..  [default: 1]"
    return click.Option(["--seeds"], metavar="K", type=Whole(1, 10_000), default=1, help=text)


def LAUNCHER(on: str, policy: str, envvar: str | None = None, default: str | None = None) -> tuple[click.Option, ...]:
    """The options of commands that launch: --on, --policy, --now, --dry-run, --json. `on` and `policy` say their defaults in the help."""
    from ganhpc.launch.schedulers.registry import CHOICES

    return (
        click.Option(
            ["--on"], type=click.Choice(CHOICES), envvar=envvar, default=default, help=f"where to run  [default: {on}]"
        ),
        click.Option(
            ["--policy"],
            metavar="NAME|FILE",
            help=f"rules for jobs: student, grid5000, none, or a TOML file  [default: {policy}]",
        ),
        click.Option(["--now"], metavar="ISO", help="plan as if it were this moment (with --dry-run)"),
        click.Option(["--dry-run"], is_flag=True, help="print what would run, and write nothing"),
        click.Option(["--json"], is_flag=True, help="print the outcome as JSON on standard output"),
    )


SHAPING = {"preset", "data", "time", "epochs", "budget_params", "device", "batch_size"}
"""The options that every experiment has and that can decide its networks or its training step, beside its own."""
