"""`launch.py night`: several experiments laid into a night, as a timeline, as a script, and, once agreed to, as jobs."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from ganhpc.cli.common_options import LAUNCHER, PLACE, RUNS, SEEDS, Sections, cut_at_dashes
from ganhpc.cli.experiment_command import DefinitionType, command_options, scan_options
from ganhpc.cli.launching import scan_launch, scheduler_launch
from ganhpc.cli.output import say, screen
from ganhpc.cli.views.scan_preview import Planned, show
from ganhpc.cli.views.scan_preview import planned as planned_scan
from ganhpc.core import settings as site
from ganhpc.core.errors import UserError
from ganhpc.core.typed_command import typed_command
from ganhpc.core.units import counted
from ganhpc.launch.planner.planning_window import Window
from ganhpc.launch.policy.calendar import parse_instant
from ganhpc.launch.schedulers.base import Job
from ganhpc.launch.schedulers.choice import pick
from ganhpc.launch.schedulers.enclosing_job import inside
from ganhpc.launch.schedulers.registry import named, title
from ganhpc.launch.schedulers.typed_requests import asked
from ganhpc.launch.submission import night_script
from ganhpc.launch.submission import prepare as submit
from ganhpc.launch.submission.launch_context import LaunchContext
from ganhpc.runs.experiment import Experiment, from_typed, options
from ganhpc.runs.known_experiments import find, is_known
from ganhpc.runs.options import Option
from ganhpc.runs.run_folder import Run
from jobs.program import Program


def night(words: tuple[str, ...], **values: Any) -> None:
    """Plan the night of the named experiments; submit it where the user agrees."""
    if values["now"] and values["yes"]:
        raise UserError("--now plans from another moment and can't submit: leave out --yes.")
    _check_options(words, values)
    settings = site.load()
    dry_run = values["dry_run"] or bool(values["now"])
    on = values["on"] or "auto"
    scheduler, why = pick(on, settings, dry_run=dry_run)
    if on == "auto" and (job := inside()):
        raise UserError(
            f"this is inside job {job.id} of {title(job.scheduler)}, and what it leaves in a queue of this machine ends with it: type "
            f"--on {job.scheduler} to submit the night there, or --on local to use the time that is left of this job."
        )
    asked(scheduler, values)
    scheduler = scheduler or named("local", settings)
    place = LaunchContext.of(scheduler, values["policy"], values["now"], settings)
    console = screen(stderr=values["json"], highlight=False)
    console.print(f"{scheduler.name}: {why}", markup=False) if not values["json"] else None
    scans = _scans(words, values) if values["scans"] or values["zipped"] else []
    made = _each_once([e for found in scans for e in found.experiments]) if scans else definitions(words, values)
    for found in scans:
        show(found, place, console)
    wanted = planned(made, Path(values["runs"]), new=values["new"])
    window = window_of(place, values["begin"], values["until"])
    submission, _, said = _plan(wanted, place, window)
    if values["dry_run"]:
        if not values["json"]:
            scheduler_launch.print_lines(said, console)
        _show(submission, console, values["json"], said)
        return
    _agree(wanted, scans, place, window, console, values)


def definitions(words: Sequence[str], values: dict[str, Any]) -> list[Experiment]:
    """The experiments that were typed as NAME or NAME:PRESET, each with those of the options that it takes. Raises UserError."""
    made = []
    for word in words:
        name, _, preset = word.partition(":")
        base = from_typed(cls := find(name), _typed_for(cls, values), preset or "default")
        made += [base.replace(seed=base.seed + k) for k in range(values["seeds"])]
    return _each_once(made)


def _typed_for(cls: type[Experiment], values: dict[str, Any]) -> dict[str, Any]:
    """The typed values that belong to the definition of `cls`; options of the night itself with the same names do not."""
    names = {o.name for o in options(Experiment)}
    names |= {o.name for o in _PROGRAM_OPTIONS} if issubclass(cls, Program) else set()
    names |= {"command", "folder", "watch_files"} if cls.TAKES_COMMAND else set()
    return {name: value for name, value in values.items() if name in names}


def _check_options(words: Sequence[str], values: dict[str, Any]) -> None:
    """Raise UserError for an option of every experiment that one of those named does not take, for one of a program where no program is
    named, and for a command that is for none of them."""
    classes: list[type[Experiment]] = []
    for word in words:
        name = word.partition(":")[0]
        if not is_known(name) and classes and classes[-1].TAKES_COMMAND:
            raise UserError(
                f"{word!r} is no experiment; the command of a program stands behind two dashes: "
                f"python launch.py night {classes[-1].NAME} -- {shlex.join(words[len(classes) :])}."
            )
        classes.append(find(name))
    for cls in classes:
        known = {o.name for o in options(cls)}
        if odd := next(
            (o for o in options(Experiment) if values.get(o.name) is not None and o.name not in known), None
        ):
            raise UserError(
                f"{odd.flag} is no option of {cls.NAME}: leave it out, or plan {cls.NAME} by a `night` of its own."
            )
    programs = [cls for cls in classes if cls.TAKES_COMMAND]
    flags = []
    if not any(issubclass(cls, Program) for cls in classes):
        flags += [o.flag for o in _PROGRAM_OPTIONS if values.get(o.name) is not None]
    if not programs:
        needless = (("folder", "--folder"), ("watch_files", "--watch-file"), ("command", "--"))
        flags += [flag for name, flag in needless if values.get(name)]
    if flags:
        raise UserError(
            f"{flags[0]} is for programs that are typed behind two dashes, and {words[0]} is none: "
            "type `python launch.py night program -- python train.py`, or leave it out."
        )
    if programs and not values.get("command"):
        raise UserError(
            f"{programs[0].NAME} needs the command of your program, behind two dashes: "
            f"python launch.py night {programs[0].NAME} --time 6h -- python train.py."
        )


def _scans(words: Sequence[str], values: dict[str, Any]) -> list[Planned]:
    """The scan around each of the experiments that were typed as NAME or NAME:PRESET. Raises UserError."""
    found = []
    for word in words:
        name, _, preset = word.partition(":")
        cls = find(name)
        typed = {
            **_typed_for(cls, values),
            "scans": values["scans"],
            "zipped": values["zipped"],
            "preset": preset or None,
        }
        grid, base = scan_launch.read(cls, typed)
        found.append(planned_scan(grid, base, values["seeds"], Path(values["runs"]), new=values["new"]))
    return found


def _each_once(made: list[Experiment]) -> list[Experiment]:
    """The same, checked. Raises UserError where one is there twice."""
    counts = Counter(e.signature for e in made)
    if same := next((e for e in made if counts[e.signature] > 1), None):
        raise UserError(f"{same.NAME} {same.variant} is named twice: leave one out, or type --seeds 2.")
    return made


def planned(experiments: Sequence[Experiment], runs: Path, *, new: bool) -> list[submit.Wanted]:
    """The runs that are not done. Raises UserError where all are."""
    wanted = [submit.Wanted(Run.planned(runs, e, new=new), e) for e in experiments]
    scheduler_launch.compare_data(wanted)
    left = [w for w in wanted if not w.run.is_done()]
    if not left:
        raise UserError(
            f"all of it is done already: `{typed_command('results', runs=runs)}` shows it, --new trains it afresh."
        )
    return left


def window_of(
    place: LaunchContext, begin: str | None, until: str | None
) -> Callable[[Sequence[Job], dt.datetime], Window]:
    """Function that makes the window from the jobs there are and the moment: tonight, or as --from and --until say."""
    typed = place.now
    first = parse_instant(begin, place.tz, typed, "--from", this_minute=True) if begin else None
    last = parse_instant(until, place.tz, first or typed, "--until", later=True) if until else None

    def window(queue: Sequence[Job], now: dt.datetime) -> Window:
        night = submit.tonight_of(place.scheduler, place.policy, now, queue)
        start, end = first or min(night.start, last or night.start), last or night.end
        if begin is None and last is not None and last <= night.start:
            start = now  # it ends before the night begins: from now on
        opens = "at the time of --from" if first else night.opens
        closes = "at the time of --until" if last else night.closes
        return dataclasses.replace(night, start=start, end=end, opens=opens, closes=closes)

    return window


def _plan(
    wanted: Sequence[submit.Wanted],
    place: LaunchContext,
    window: Callable[[Sequence[Job], dt.datetime], Window],
    *,
    noting: bool = False,
) -> tuple[submit.Submission, list[submit.Wanted], list[str]]:
    """(the plan of this moment, the runs in it, sentences on those that are submitted already). `noting` as in `to_send`."""
    queue = scheduler_launch.queue_if_here(place.scheduler)
    todo, said = scheduler_launch.to_send(wanted, place.scheduler, queue, noting=noting)
    now = place.now
    return submit.prepare(todo, place.scheduler, place.policy, now, queue, window(queue, now)), todo, said


def _show(submission: submit.Submission, console: Console, as_json: bool, said: Sequence[str] = ()) -> None:
    if as_json:
        say(json.dumps({**submission.plan.to_json(), "said": list(said)}, indent=1))
        return
    console.print(scheduler_launch.timeline(submission))
    scheduler_launch.print_remaining(submission, console)


def _agree(
    wanted: Sequence[submit.Wanted],
    scans: Sequence[Planned],
    place: LaunchContext,
    window: Callable[[Sequence[Job], dt.datetime], Window],
    console: Console,
    values: dict[str, Any],
) -> None:
    """Show the plan, write it as a script, and send it where the user says yes."""
    runs = Path(values["runs"])
    for found in scans:
        scan_launch.record(found, runs)
    opened = scheduler_launch.open_runs(runs, [w.experiment for w in wanted], console, new=values["new"])
    todo: Sequence[submit.Wanted] = opened

    def agree(submission: submit.Submission) -> bool:
        _show(submission, console, values["json"])
        path = night_script.write(submission, todo, Path.cwd(), place.policy_source)
        console.print(f"written: {path.name}; `bash {path.name}` submits it by hand.", soft_wrap=True, markup=False)
        return not values["now"] and _confirmed(submission, values["json"])

    def agree_again(submission: submit.Submission) -> bool:
        console.print("the plan is another one by now:", style="bold")
        return agree(submission)

    shown = None
    if not values["yes"]:
        # Folders of --new have their names only now. The script takes the place of jobs in the record that have no number yet.
        shown, todo, said = _plan(opened, place, window, noting=True)
        # A script of runs that are submitted already would submit them once more.
        scheduler_launch.print_lines(said, console)
        if not todo and values["json"]:
            _show(shown, console, as_json=True, said=said)
        if not todo:
            return
        if not shown.plan.slots:  # a script without a job would end as if it had submitted some
            submit.check_whole(shown)
        if not agree(shown):
            return
    scheduler_launch.send(
        opened,
        place,
        console,
        as_json=values["json"],
        window=window,
        part=True,
        folder=Path.cwd(),
        shown=shown,
        agree=agree_again,
    )


def _confirmed(submission: submit.Submission, as_json: bool) -> bool:
    if as_json or not sys.stdin.isatty():
        say("nothing is submitted: --yes submits without a question.", err=True)
        return False
    n = len(submission.jobs)
    return click.confirm(f"submit {'these' if n > 1 else 'this'} {counted(n, 'job')} to {submission.scheduler.title}?")


def _option(option: Option) -> click.Option:
    """`option` for all experiments; where it is not typed, each preset decides."""
    unit = f" ({option.unit})" if option.unit else ""
    return click.Option(
        [option.flag, option.name], type=DefinitionType(option), default=None, help=f"{option.help}{unit}"
    )


class _Night(Sections):
    """The words behind two dashes are a program's command line, and no experiments."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ours, behind = cut_at_dashes(self, args)
        left = super().parse_args(ctx, ours)
        ctx.params["command"] = tuple(behind)
        return left


_PROGRAM_OPTIONS = tuple(o for o in options(Program) if o not in options(Experiment))
"""The options that programs have beside those of every experiment."""
command = _Night(
    "night",
    callback=lambda **values: night(**values),
    help=(
        "Lay experiments into the night at hand, one job after another under the policy, and submit them once you agree.\n\n"
        "EXPERIMENT is a name such as cifar, a name and a preset such as cifar:course, or program, whose command stands behind two dashes. "
        "What does not fit is left for another night."
    ),
)
command.params.append(
    click.Argument(["words"], nargs=-1, required=True, metavar="EXPERIMENT... [-- PROGRAM [ARGUMENT]...]")
)
command.add(
    "Night",
    click.Option(
        ["--from", "begin"],
        metavar="TIME",
        help="not before this moment: 17:40, or ISO  [default: when the night begins, or now]",
    ),
    click.Option(
        ["--until"], metavar="TIME", help="all over by this moment: 07:00, or ISO  [default: when the night ends]"
    ),
    click.Option(["--yes", "-y"], is_flag=True, help="submit without a question"),
    click.Option(["--new"], is_flag=True, help="start afresh in new folders, even if these runs exist"),
    SEEDS("K runs of each"),
    RUNS(),
    *LAUNCHER(
        "auto: OAR or Slurm where one is here, else this machine's queue",
        "student on OAR and Slurm, none here",
        "GANHPC_ON",
    ),
)
command.add("On a cluster", *PLACE())
command.add("Scan", *scan_options(None))
command.add("Of every experiment", *(_option(o) for o in options(Experiment)))
command.add("Of a program", *command_options(), *(_option(o) for o in _PROGRAM_OPTIONS))
