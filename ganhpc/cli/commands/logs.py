"""`launch.py logs RUN`: what the trainer and the scheduler said, and with -f what they go on saying."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

import click

from ganhpc.cli.common_options import RUNS, Sections, Whole
from ganhpc.cli.output import say
from ganhpc.cli.views.live_progress import LogTail
from ganhpc.core.errors import UserError
from ganhpc.core.files import open_regular
from ganhpc.core.printable import printable, printable_lines
from ganhpc.launch.schedulers.choice import answering
from ganhpc.launch.submission import job_status
from ganhpc.launch.submission.job_status import RunView
from ganhpc.runs.find_run import find_run
from ganhpc.runs.run_folder import Run, State

MOST_BYTES = 8 * 2**20
"""Only so much of a log's end is looked at."""
_ASK_SECONDS = 10.0
"""Seconds after which a follower asks the scheduler whether more is to come."""


def show(word: str, runs: str, follow: bool, lines: int) -> None:
    """Print the end of a run's log; with `follow`, all that is added until the run is over."""
    run = find_run(word, Path(runs))
    if follow:
        with suppress(KeyboardInterrupt):  # how a person stops to follow
            _follow(run, _last_lines(run, lines))
    elif not _last_lines(run, lines):
        view = _look(run)
        say(f"nothing is written yet: {_stands(view)}", err=True)


def _last_lines(run: Run, lines: int) -> int:
    """Print the last `lines` lines; returns the length of the log in bytes."""
    try:
        with open_regular(run.log) as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - MOST_BYTES))
            data = file.read(MOST_BYTES)
            size = file.tell()
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise UserError(f"{run.log} can't be read ({error.strerror}).") from None
    kept = printable_lines(data.decode(errors="replace"))[-lines:] if lines else []
    for line in kept:
        say(line)
    return size


def _follow(run: Run, offset: int) -> None:
    tail = LogTail(run.log, offset)
    said, asked, view = "", 0.0, None
    while True:
        if run.log.exists():
            for line in tail.lines():
                say(printable(line, 10_000))
        if view is not None and view.run_status.state not in (State.RUNNING, State.WAITING):
            say(_stands(view), err=True)
            return
        if time.monotonic() - asked > _ASK_SECONDS or run.is_done():
            view, asked = _look(run), time.monotonic()
            waits = view.run_status.reason if view.run_status.state is State.WAITING else ""
            if waits and waits != said:
                say(f"waiting {waits} ..", err=True)
            said = waits
        time.sleep(0.3)


def _stands(view: RunView) -> str:
    """The state of a run, why, and what to type next."""
    reason = f" ({view.run_status.reason})" if view.run_status.reason else ""
    return "; ".join(filter(None, (f"the run is {view.run_status.state}{reason}", view.way_on("logs"))))


def _look(run: Run) -> RunView:
    return job_status.look([run], answering)[0][0]


command = Sections(
    "logs",
    callback=lambda **values: show(**values),
    help=("What the trainer and the scheduler said.\n\nRUN is a run's folder, its name, or a part of it."),
)
command.params.append(click.Argument(["word"], metavar="RUN"))
command.add(
    "Options",
    RUNS(),
    click.Option(["--follow", "-f"], is_flag=True, help="go on reading until the run is over, or Ctrl-C"),
    click.Option(
        ["--lines", "-n"],
        type=Whole(0),
        default=50,
        show_default=True,
        metavar="N",
        help="lines of its end to begin with",
    ),
)
