"""The Click program: looks up experiments and verbs by name, and turns users' mistakes into one sentence."""

from __future__ import annotations

import importlib
import signal
import sys
from typing import Any

import click

from ganhpc import __version__
from ganhpc.core import streams
from ganhpc.core.errors import UserError, nearest
from ganhpc.core.printable import print_error
from ganhpc.core.storage_errors import fault
from ganhpc.runs import known_experiments

_VERBS = {
    "night": "Several experiments laid into the night, under the rules.",
    "status": "Where runs and their jobs stand, and what to type next.",
    "logs": "What a run says; -f reads along.",
    "cancel": "Take back the jobs of runs.",
    "resume": "Go on with runs.",
    "policy": "The rules for jobs, and whether a run keeps them.",
    "results": "A table of runs.",
    "board": "TensorBoard over the runs, and the tunnel to your laptop.",
    "report": "The account of runs: HTML, Markdown or PDF, in English or French.",
    "gallery": "One page over all runs: picture, figures, links.",
    "describe": "A network in full: functions, tensors, weights, operations.",
    "sample": "Pictures by the generator of a run.",
    "bench": "What this machine does: training speeds beside its ceilings, what fits into an hour.",
    "data": "Where the data lie, whether they are whole, how to get them.",
    "new": "The files of an experiment of your own, with a test.",
    "doctor": "Look over this machine: each line good, or with its fix.",
    "completion": "The line that switches on completion in your shell.",
}
"""The verbs, one module of ganhpc.cli.commands each, with their short help (so that the list imports none of them)."""


class _Program(click.Group):
    """Commands are modules, imported only when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return [*known_experiments.names(), *_VERBS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name in _VERBS:
            made: click.Command = importlib.import_module(f"ganhpc.cli.commands.{cmd_name}").command
            importlib.import_module("ganhpc.cli.common_options").refuse_empty(made)
            return made
        if known_experiments.is_known(cmd_name):
            return importlib.import_module("ganhpc.cli.experiment_command").command(known_experiments.find(cmd_name))
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if not args or args[0].startswith("-"):
            return super().resolve_command(ctx, args)
        # Click's own method would make the command, with all its options, once more.
        command = self.get_command(ctx, args[0])
        if command is None:
            raise UserError(f"there is no experiment or verb {args[0]!r}: {nearest(args[0], self.list_commands(ctx))}.")
        return args[0], command, args[1:]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        for place, lines in known_experiments.summaries():
            with formatter.section(f"Experiments ({place})"):
                formatter.write_dl(lines)
        with formatter.section("Verbs"):
            formatter.write_dl(list(_VERBS.items()))


@click.group(cls=_Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="ganhpc")
def program() -> None:
    """Train networks inside a budget of parameters and time, on this machine, on OAR or on Slurm.

    \b
    python launch.py cifar --budget-params 256k --time 1h    train
    python launch.py cifar --help                            every option of an experiment
    python launch.py results                                 look at what was trained
    """


def main() -> Any:
    """Run the program. Users' mistakes end in one sentence and an exit code, never in a traceback."""
    streams.settle()
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return _run()
    finally:
        streams.leave_unwritable()


def _run() -> Any:
    try:
        result = program(prog_name="python launch.py", standalone_mode=False)
        sys.stdout.flush()  # at its end, Python would tell of an error in words of its own
        return result
    except UserError as error:
        _fail(str(error), error.exit_code)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "python launch.py"
        _fail(f"{error.format_message().rstrip('.')}; `{command} --help` lists what is allowed.", 2)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except (click.Abort, KeyboardInterrupt) as stop:
        first = stop.__cause__ if isinstance(stop, click.Abort) and stop.__cause__ else stop
        _fail(str(first) or "stopped.", 143 if isinstance(first, _Terminated) else 130)
    except BrokenPipeError:
        # The reader of a pipe (head, less) has left: say nothing.
        sys.exit(141)
    except OSError as error:
        refused = fault(error, doing="read or write")
        _fail(str(refused), refused.exit_code)
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code)


class _Terminated(KeyboardInterrupt):
    """SIGTERM ends a command as Ctrl-C does."""


def _terminate(number: int, frame: object) -> None:
    del number, frame
    raise _Terminated


def _fail(sentence: str, code: int) -> None:
    """Print the sentence and leave."""
    print_error(sentence)
    sys.exit(code)
