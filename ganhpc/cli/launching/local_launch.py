"""Training on this machine: the launcher starts the trainer, watches its folder, and passes on a stop request."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from ganhpc.cli.launching import opening
from ganhpc.cli.output import in_markup, screen
from ganhpc.cli.views.live_progress import LogTail, ProgressView
from ganhpc.core import streams
from ganhpc.core.errors import UserError
from ganhpc.core.files import must_be_no_link, open_to_write
from ganhpc.core.printable import shell_word, shown
from ganhpc.datasets import held_data
from ganhpc.launch.schedulers.enclosing_job import Inside, inside
from ganhpc.runs import file_owner, own_experiments, stop_requests, trainer_processes, trainer_protocol
from ganhpc.runs import job_deadline as bounds
from ganhpc.runs.experiment import Experiment
from ganhpc.runs.job_deadline import Bound
from ganhpc.runs.last_words import LastWords
from ganhpc.runs.run_folder import Run, State
from ganhpc.runs.trainer_processes import TrainerProcesses
from ganhpc.runs.trainer_protocol import (
    EXIT_FAULT,
    EXIT_RESUMABLE,
    LAUNCH,
    die_with_parent,
)

_REREAD_SECONDS = 60.0
"""Seconds between two questions to the scheduler for the end of the job in which this is typed."""
_POLITE_SECONDS = 75.0
"""Seconds that a trainer may take after a stop request, before it gets SIGTERM; a second request ends the time at once."""
_TERM_SECONDS = 5.0
"""The time from SIGTERM to SIGKILL."""
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOPPED = tuple(128 + number for number in (*_STOP_SIGNALS, signal.SIGPIPE))
"""Exit codes for the shell of a training that was asked to stop."""


def processes(experiment: Experiment) -> int:
    """Training processes on this machine. Raises UserError for what only a scheduler can give, or they can't share."""
    resources = experiment.resources
    if resources.nodes > 1:
        raise UserError(
            f"--nodes {resources.nodes} needs a scheduler, and this run is on one machine: type --nodes 1, or use --tasks-per-node."
        )
    number = resources.tasks_per_node or resources.gpus_per_node or 1
    experiment.check_processes(number)
    return number


def command_of(run: Run, experiment: Experiment) -> list[str]:
    """The command that trains `run` on this machine."""
    return trainer_processes.command(run.folder, processes(experiment), entry=experiment.ENTRY)


def plan(experiment: Experiment, runs: Path, *, new: bool) -> dict[str, Any]:
    """Preview of launching `experiment`, without doing it."""
    run = Run.planned(runs, experiment, new=new)
    state = run.run_status().state if run.experiment_json.exists() else State.NEW
    opening.compare_data(run, experiment, {})
    command = shlex.join(command_of(run, experiment))
    return {"folder": str(run.folder), "state": str(state), "command": command, "definition": experiment.definition}


def train_all(experiments: list[Experiment], runs: Path, *, new: bool, as_json: bool) -> None:
    """Train (or show) each in turn. One that fails doesn't keep the others from running; the exit code is the worst."""
    from ganhpc.cli.views.run_summary import show_run

    console = screen(stderr=as_json, highlight=False)
    worst, opened = 0, []
    for experiment in experiments:
        processes(experiment)
    for experiment in experiments:
        seen: dict[str, held_data.Contents] = {}  # each training looks again: the one before may have taken long
        run = opening.open_run(runs, experiment, seen, new=new)
        opened.append(run)
        opening.hold_data(run, experiment, console, seen)
        if run.is_done():
            done = run.run_status().state is State.DONE
            word = "[green]already done:[/]" if done else "[red]not trained:[/]"
            console.print(f"{word} {in_markup(run)}  (--new trains it afresh)", soft_wrap=True)
            code = 0
        else:
            code = train(run, experiment, console)
            worst = max(worst, code)
            if code in STOPPED:
                break
        if not as_json:
            show_run(run, console, explained=bool(code))
    if as_json:
        from ganhpc.analysis.results.rows import row

        print(json.dumps([row(run) for run in opened], indent=1))
    if worst:
        sys.exit(worst)


def train(
    run: Run,
    experiment: Experiment,
    console: Console,
    signals: list[int] | None = None,
    bound: Bound | None = None,
) -> int:
    """Run the trainer to its end under the user's eyes. Returns the exit code for the shell.

    `bound`: the end of the trainer's time; None: the end of the job in which this is typed, if any. `signals` takes the numbers of those
    that asked to stop: one that comes at the very end finds the run done, with the code 0.
    """
    if run.is_held():
        raise run.busy()
    command = command_of(run, experiment)
    opening.ensure_data(experiment, console)
    console.print(
        f"[bold]{experiment.NAME}[/] {experiment.variant}, seed {experiment.seed}: {in_markup(run)}", soft_wrap=True
    )
    job = inside() if bound is None else None
    bound = _end_of(job) if job else bound
    if job and bound:
        console.print(
            f"job {job.id} ends at {time.strftime('%H:%M:%S', time.localtime(bound.end))}: it saves before that."
        )
    asked = time.monotonic()
    with _stop_signals(run, console) as heard:
        trainer, tail = _start(run, command, bound)
        with ProgressView(run, console) as view:
            while trainer.run():
                with heard.while_printing():
                    view.update(tail.lines())
                heard.escalate(trainer)
                time.sleep(0.1)
                if job and time.monotonic() - asked > _REREAD_SECONDS:
                    asked, bound = time.monotonic(), _renew_bound(run, job, bound)
            code = trainer.end()
            with heard.while_printing():
                view.update(tail.lines())
        _end_group(trainer.child.pid)
        trainer.note_failure(run, file_owner.process(os.getpid()))
    if signals is not None:
        signals += heard.numbers
    return _ended(run, code, heard.numbers, trainer.words, console)


def _end_of(job: Inside) -> Bound | None:
    """The end of a job in which a training is started by hand; the run need not end with it."""
    end = job.end()
    return Bound(end) if end else None


def _renew_bound(run: Run, job: Inside, before: Bound | None) -> Bound | None:
    """Ask again for the end of the job (scontrol and oarwalltime change it), and tell the trainer a new one."""
    now = _end_of(job)
    if now is None or now == before:
        return before
    with suppress(UserError):  # a full disk: the trainer will say so itself
        bounds.write(run, now, file_owner.process(os.getpid()), said_by_scheduler=True)
    return now


def _start(run: Run, command: list[str], bound: Bound | None) -> tuple[TrainerProcesses, LogTail]:
    """Start the trainer in a session of its own: Ctrl-C reaches the launcher alone, which passes it on through the folder."""
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    # A launch of its own each time: nobody but the user repeats it, and faults of the days before don't count against it.
    env[LAUNCH] = os.urandom(4).hex()
    # Whatever a file of an earlier trainer says, this one is bounded by what stands here alone.
    env |= bounds.environment(file_owner.process(os.getpid()), bound)
    env |= own_experiments.variable()
    env |= trainer_protocol.environment(os.environ, one_machine=True)
    must_be_no_link(run.log)
    with open_to_write(run.log, append=True) as log:
        tail = LogTail(run.log, log.tell())
        trainer = TrainerProcesses(
            command,
            env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
    return trainer, tail


class _Heard:
    """The polite signals that came while a trainer ran, and what is done where it does not end."""

    def __init__(self, run: Run, console: Console) -> None:
        self.numbers: list[int] = []
        self._run, self._console = run, console
        self._owner = file_owner.process(os.getpid())
        self._first = self._last = math.inf
        self._sent: list[int] = []
        self._unwritten = False
        """True while the trainer has yet to hear of a request for which there was no file."""

    def take(self, number: int, frame: object) -> None:
        """A signal handler: the first asks the trainer to save and stop."""
        del frame
        now = time.monotonic()
        first = not self.numbers
        if first:
            self._first = self._last = now
        self.numbers.append(number)
        if now - self._last > 0.5:  # a person's; a terminal and a program may both send the first
            self._last = now
            self._first = min(self._first, now - _POLITE_SECONDS)
        self._ask(f"{signal.Signals(number).name} at the launcher")
        if first:
            with self.while_printing():
                self._console.print("stopping: saving a checkpoint ..  (again: stop without)")

    def _ask(self, reason: str) -> None:
        written = self._run.ask_to_stop(reason, self._owner)
        self._unwritten = self._unwritten or not written

    @contextmanager
    def while_printing(self) -> Iterator[None]:
        """Within the block, output that nobody takes any more (`| head`, a terminal that was closed) asks the trainer to save and stop: an
        error here would end the launcher, and the trainer dies with it."""
        try:
            yield
        except BlockingIOError:
            return  # a reader that is slow: what was not taken is written with the next lines
        except OSError as error:
            streams.leave_unwritable()
            if not self.numbers:
                self._first = self._last = time.monotonic()
                self.numbers.append(signal.SIGPIPE)
                self._ask(f"the launcher's output can't be written ({error.strerror})")

    def escalate(self, trainer: TrainerProcesses) -> None:
        """Send SIGTERM, then SIGKILL to all processes of the trainer where it has not ended in time."""
        if self._unwritten:
            self._unwritten = False
            trainer.interrupt()
        late = time.monotonic() - self._first - _POLITE_SECONDS
        for number, after in ((signal.SIGTERM, 0.0), (signal.SIGKILL, _TERM_SECONDS)):
            if late >= after and number not in self._sent:
                self._sent.append(number)
                with suppress(ProcessLookupError):
                    os.killpg(trainer.child.pid, number)


def _end_group(group: int) -> None:
    """Whatever the trainer has started ends with it."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


@contextmanager
def _stop_signals(run: Run, console: Console) -> Iterator[_Heard]:
    """While the block runs, polite signals ask the trainer to save and stop."""
    heard = _Heard(run, console)
    mine = file_owner.process(os.getpid())
    stop_requests.forget(run.folder, mine)  # to the trainer of this launcher that was before this one
    # Under nohup, hanging up stops nothing.
    kept = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    before: dict[int, Callable[..., Any] | int | None] = {
        number: signal.signal(number, heard.take) for number in _STOP_SIGNALS if not (kept and number == signal.SIGHUP)
    }
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        stop_requests.forget(run.folder, mine)


def _ended(run: Run, code: int, heard: list[int], words: LastWords | None, console: Console) -> int:
    """Say how the trainer ended and what to type next. Returns the exit code for the shell."""
    if run.is_done():  # whatever became of a process after it
        return 0
    try:
        _print_end(run, code, heard, words, console)
    except OSError:  # a terminal that was closed: the training has ended as it did
        streams.leave_unwritable()
    return 128 + heard[0] if heard else code if code > 0 else 1


def _print_end(run: Run, code: int, heard: list[int], words: LastWords | None, console: Console) -> None:
    run_status = run.run_status()
    # What an earlier trainer has said of its own end is no news of this one's.
    silent = run_status.state is not State.DONE and run_status.status.get("owner") != file_owner.process(os.getpid())
    if words:  # They arrive also where the folder can't be written.
        silent, run_status = False, dataclasses.replace(run_status, state=words.state, reason=words.reason)
        with suppress(OSError, UserError), open_to_write(run.log, append=True) as log:
            log.write(f"{words.sentence}\n".encode(errors="backslashreplace"))
    if words and code == 3:
        console.print(f"Error: {in_markup(words.reason)}", soft_wrap=True)
    elif code < 0:
        who = f"the trainer was killed by {signal.Signals(-code).name}: "
        why = words.reason if words else who + ("before it said anything" if silent else run_status.reason)
        console.print(f"[red]killed:[/] {in_markup(why)}.", soft_wrap=True)
    elif silent and code != 3:
        console.print(
            f"[red]the trainer could not start[/] (exit code {code}); its words are in {in_markup(shown(run.log))}.",
            soft_wrap=True,
        )
    elif code not in (EXIT_RESUMABLE, EXIT_FAULT, 3) or run_status.state is State.CRASHED:
        console.print(f"[red]{run_status.state}:[/] {in_markup(run_status.reason)}", soft_wrap=True)
        if code == 1:
            console.print(f"the trainer's words are in {in_markup(shown(run.log))}", soft_wrap=True)
    elif run_status.state in (State.RESUMABLE, State.LOST):
        console.print(f"[yellow]stopped[/] ({in_markup(run_status.reason)}).", soft_wrap=True)
    if heard or code < 0 or code in (EXIT_RESUMABLE, EXIT_FAULT):
        console.print(f"to go on: {in_markup(again())}", soft_wrap=True)
    elif code == 3:
        follow = run.command("logs", "-f")
        console.print(f"to follow it: {in_markup(follow)}", soft_wrap=True)
    # Anything else must fail again: its sentence says what to change.


def again() -> str:
    """The command that was typed, to be typed again: without --new, which would start over."""
    words = sys.argv[1:]
    ours = words.index("--") if "--" in words else len(words)  # what follows is a program's own
    kept = [word for k, word in enumerate(words) if word != "--new" or k > ours]
    return " ".join(["python", "launch.py", *map(shell_word, kept)])
