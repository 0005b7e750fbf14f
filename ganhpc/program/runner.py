"""`python -m ganhpc.program.runner RUN_FOLDER`: one segment of a user's program. Knows nothing of schedulers, and never imports torch.

Exit codes as of a trainer: 0 done; 75 stopped, to be gone on with; 74 ended by something that may pass; 2 refused; 3 already running;
4 gets nowhere; 1 crashed.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
import time
import traceback
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from ganhpc.core import storage_errors, streams
from ganhpc.core.errors import StorageFault, UserError
from ganhpc.core.files import may_pass, open_to_write
from ganhpc.core.files import storage_errors as storing
from ganhpc.core.printable import print_error
from ganhpc.core.streams import print_line
from ganhpc.core.units import counted
from ganhpc.program import (
    descendants,
    ending,
    environment,
    ledger,
    measuring,
    outcome,
    said_figures,
    tensorboard_figures,
)
from ganhpc.program.descendants import Guardian
from ganhpc.program.ending import Ending
from ganhpc.program.environment import Place
from ganhpc.program.nodes import NodeEnd, SegmentNodes
from ganhpc.program.own_files import OwnFiles
from ganhpc.program.processes import Processes, command_of, free_port
from ganhpc.program.stop_plan import Step, StopPlan
from ganhpc.runs import fault_count, file_owner, last_words, placeholders
from ganhpc.runs.job_deadline import Watched
from ganhpc.runs.last_words import LastWords
from ganhpc.runs.run_folder import Run, State
from ganhpc.runs.status_file import write_status
from ganhpc.runs.trainer_protocol import DIE_WITH_PARENT, EXIT_FAULT, EXIT_RESUMABLE, LAUNCH, die_with_parent

_POLL_SECONDS = 0.1
_STATUS_SECONDS = 1.0
_LATE_SECONDS = 0.5
"""Seconds for which a stop request is still looked for once the program has ended without one."""
_OTHERS_SECONDS = 30.0
"""Seconds for which the first node waits for the others' ends once its own part is done."""
_FIGURES_SECONDS, _LAST_FIGURES_SECONDS = 0.25, 120.0
"""Seconds in which figures are read at each look, and at the end: a program may say more than can be read, and its stop comes in time."""
_KEEP_SECONDS = 10.0
"""Seconds between two records of the time that was used: a kill loses no more of it."""


def main(argv: list[str]) -> int:
    """Run one segment of the program in the folder that `argv` names. Returns the exit code."""
    if os.environ.get(DIE_WITH_PARENT):
        die_with_parent()
    words = _words(argv)
    mark = os.urandom(8).hex()
    # Before any thread, and before the run's lock is held: a forked process would hold it too.
    guardian = Guardian(mark)
    descendants.adopt_orphans()
    place = Place(words.tasks, words.nodes, words.node, words.first, words.port if words.nodes > 1 else free_port())
    try:
        run = Run.at(words.folder)
        with ExitStack() as stack:
            if place.node == 0:
                stack.enter_context(run.hold())
                storage_errors.remove_leftovers(run.folder)
                fault_count.reserve(run.folder)
            return _Segment(run, place, mark, guardian.pid).run()
    except OSError as error:
        return _not_begun(Run(words.folder), storage_errors.fault(error, doing="read or write"), place)
    except UserError as error:
        return _not_begun(Run(words.folder), error, place)
    finally:
        guardian.dismiss()


def _not_begun(run: Run, error: UserError, place: Place) -> int:
    """Say why a segment could not begin; returns its exit code."""
    state, code = fault_count.state_and_code(run, error, count=place.node == 0)
    if not last_words.report(state, str(error), code, place.node):
        print_error(error)
    return code


def _words(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ganhpc.program.runner")
    parser.add_argument("folder", type=Path)
    for name, default in (("tasks", 1), ("nodes", 1), ("node", 0), ("port", 29_400)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--first", default="127.0.0.1")
    return parser.parse_args(argv)


class _Segment:
    """One segment of a program, from the first look at its run to the last words."""

    def __init__(self, run: Run, place: Place, mark: str, guardian: int) -> None:
        self.run_folder, self.place, self.mark, self.guardian = run, place, mark, guardian
        self.experiment: Any = run.experiment()
        self.owner = file_owner.mine()
        self.bound = Watched(run.deadline_json)
        self.nodes = SegmentNodes(run, place, self.owner)
        self.account = ledger.Ledger.read(run)
        self.said = said_figures.SaidFigures(run.folder / environment.FIGURES_FILE, self.account.begins())
        self.time_file = environment.TimeFile(run)
        self.own_files: OwnFiles | None = None
        """On the first node."""
        self.plan = StopPlan.make(1.0, 1.0, None)
        self.before = self.account.seconds
        self.started = self.asked_to_stop_at = -math.inf
        self.signals = 0
        """Stop signals that this process has got."""
        self.reason: str | None = None
        """Why the program was told to stop."""
        self.by_request = False
        self.failed_beside: NodeEnd | None = None
        """The part of another node that has failed."""
        self.step = Step.RUN

    @property
    def is_main(self) -> bool:
        return self.place.node == 0

    @property
    def resumable(self) -> frozenset[int]:
        """Exit codes of a program that is to be gone on with."""
        return frozenset({EXIT_RESUMABLE, self.experiment.resumable_exit} - {None})

    # -- from start to end ----------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Start the program where there is time for it, see it through, say what became of it. Returns the exit code."""
        self._handle_signals()
        try:
            ended = self._run()
        except UserError as error:
            ended = self._refused(error)
        except OSError as error:
            ended = self._refused(storage_errors.fault(error, doing="read or write"))
        except Exception as error:
            traceback.print_exception(error)
            ended = Ending(State.CRASHED, f"{type(error).__name__}: {error}", 1)
        self.nodes.end(ended.code, ended.reason)
        self._report(ended)
        return ended.code

    def _refused(self, error: UserError) -> Ending:
        if may_pass(error):
            return self._fault(str(error), [], error.number)
        return Ending(State.REFUSED, str(error), error.exit_code)

    def _run(self) -> Ending:
        if not self.is_main:
            return self._run_beside()
        if self.run_folder.result() is not None:
            return Ending(State.DONE, "", 0)
        self.own_files = OwnFiles(self.run_folder)
        self.own_files.keep()
        self._note_killed_segment()
        if (found := self._gets_nowhere()) is not None:
            return found
        if self._budget_left() <= 1.0:
            return self._done("time")
        self.experiment.check_watched()
        measuring.measure(
            self.run_folder, self.experiment, self.mark, self.guardian, left=self._job_left, asked=self._asked_meanwhile
        )
        if (reason := self.run_folder.stop_reason(self.owner)) is not None:
            return Ending(self._left_state(), f"{reason}; the program was not started", EXIT_RESUMABLE, asked=True)
        return self._see_through()

    def _asked_meanwhile(self) -> str | None:
        """The reason of a stop request while the network is counted; the status, by which other machines know that the run lives, is written."""
        self._status(State.RUNNING, "")
        return self.run_folder.stop_reason(self.owner)

    def _run_beside(self) -> Ending:
        """The part of another node than the first, which keeps the account."""
        # Until the first node holds the run, a request to its holder is one of before.
        found = self.nodes.wait(lambda: self.run_folder.stop_reason(self.owner, holds=False))
        if isinstance(found, NodeEnd):
            return Ending(State.DONE if found.code == 0 else State.RESUMABLE, found.reason, found.code)
        if isinstance(found, str):
            return Ending(self._left_state(), f"{found}; the program was not started", EXIT_RESUMABLE, asked=True)
        self.account = found
        return self._see_through()

    def _see_through(self) -> Ending:
        processes = self._start()
        try:
            self._watch(processes)
            waited = time.monotonic() - self.asked_to_stop_at
        except BaseException:
            processes.kill()
            raise
        finally:
            self._count()  # what is cleared up and read behind it is not its time
            self.before, self.started = self.account.seconds, -math.inf
            code = processes.end()
        if self.reason is not None:
            self.account.stop_seconds = round(waited, 3)
        return self._judge(processes, code)

    def _note_killed_segment(self) -> None:
        """A segment of before that wrote no end was killed."""
        if self.account.open:
            self.account.close(changed=self._changed(), counts=True)

    def _start(self) -> Processes:
        run, experiment, account = self.run_folder, self.experiment, self.account
        account.segments += 1
        if self.is_main:
            for path in (run.checkpoints, run.tensorboard):
                with storing(path):
                    path.mkdir(exist_ok=True)
            with storing(run.folder):
                (run.folder / environment.STOP_FILE).unlink(missing_ok=True)
            # A program would wait for a fifo there until its time is over.
            account.begin(said_figures.end_last_line(run.folder / environment.FIGURES_FILE))
            account.seen = self._digest()
            self.said.begins = account.begins()
            account.write(run)
            self.nodes.begin(account)
        left = self._left()
        self.plan = StopPlan.make(left, experiment.stop_before, account.stop_seconds)
        self._write_time_left()
        folder = run.folder.absolute()
        values = {"run": str(folder), "checkpoints": str(folder / "checkpoints"), "seed": str(experiment.seed)}
        values |= {"segment": str(account.segments), **experiment.in_braces()}
        command = command_of(placeholders.filled(experiment.command, values), experiment.launcher, self.place)
        env = environment.variables(
            run, account.segments, experiment.seed, left - self.plan.ask, self.place, os.environ
        )
        stop = f", told to stop {ending.brief_time(self.plan.ask)} before its end" if math.isfinite(left) else ""
        print_line(f"segment {account.segments} of the program: {ending.brief_time(left)}{stop}")
        self.before, self.started = account.seconds, time.monotonic()
        torchrun = experiment.launcher == "torchrun" and self.place.world > 1
        how: dict[str, Any] = {
            "mark": self.mark,
            "guardian": self.guardian,
            "torchrun": torchrun,
            "resumable": self.resumable,
        }
        made = Processes(command, env, experiment.folder, run.log, self.place, **how)
        self._status(State.RUNNING, "")
        return made

    # -- while it runs ----------------------------------------------------------------------------------------------------

    def _watch(self, processes: Processes) -> None:
        """Tell the program when to stop, and keep the account, until it has ended."""
        next_status = next_keep = 0.0
        pids: list[int] = []
        while processes.running(asked=self.reason is not None) or self._others_save(pids):
            now = time.monotonic()
            if now >= next_status:
                next_status = now + _STATUS_SECONDS
                self._update(processes)
            if now >= next_keep:
                next_keep = now + _KEEP_SECONDS
                self._keep()
            due = self._due()
            if due > self.step:
                pids = self._send_signal(processes, due, pids)
            time.sleep(_POLL_SECONDS)

    def _others_save(self, pids: list[int]) -> bool:
        """True while programs below a shell that ended at the signal still save."""
        return self.step in (Step.ASK, Step.TERM) and any(pid in descendants.below(os.getpid()) for pid in pids)

    def _due(self) -> Step:
        """The step that is due now, and the reason at the first."""
        due = self.plan.step(self._left())
        if due and self.reason is None:
            over = self._budget_left() <= self._job_left()
            self.reason = "out of time" if over else "out of time: the job ends"
        if not self.by_request and (asked := self.run_folder.stop_reason(self.owner)) is not None:
            self.by_request, self.reason = True, asked
        if self.reason is not None and self.asked_to_stop_at < 0:
            self.asked_to_stop_at = time.monotonic()
        if self.by_request:
            waited = time.monotonic() - self.asked_to_stop_at
            due = max(due, self.plan.after_request(waited, self.account.stop_seconds, hurry=self.signals > 1))
        return due

    def _send_signal(self, processes: Processes, due: Step, pids: list[int]) -> list[int]:
        """Send the signal of a step; returns the processes that were asked to stop."""
        before, self.step = self.step, due
        if before is Step.RUN:
            with suppress(UserError), open_to_write(self.run_folder.folder / environment.STOP_FILE) as file:
                file.write(f"{self.reason}\n".encode())
        number = getattr(signal, f"SIG{self.experiment.stop_signal}")
        if due is Step.KILL:
            print_line("the program does not stop: it is killed")
            processes.kill()
            return []
        pids = processes.listeners(number if before is Step.RUN else signal.SIGTERM) or pids
        if before is Step.RUN:
            print_line(f"{self.reason}: the program is told to stop ({number.name})")
            descendants.send(pids, number)
            if not pids:  # torchrun has started none of its workers yet
                descendants.send(list(processes.pids), signal.SIGTERM)
        if due is Step.TERM and (before is not Step.RUN or number != signal.SIGTERM):
            descendants.send(pids, signal.SIGTERM)
        descendants.wake(pids)
        return pids

    def _update(self, processes: Processes) -> None:
        """Take in figures, the other nodes' ends and the time, and write the status."""
        if self.failed_beside is None and (failed := self.nodes.failed()) is not None:
            self.failed_beside = failed
            processes.kill()
        if self.own_files:
            self.own_files.keep()
        self.said.read(seconds=_FIGURES_SECONDS)
        self._count()
        self._write_time_left()
        self._status(State.RUNNING, self.reason or "")

    def _keep(self) -> None:
        if self.is_main:
            with suppress(UserError, OSError):  # a full disk: it is tried again
                self.account.write(self.run_folder, durable=False)

    def _count(self) -> None:
        self.account.seconds = self.before + (time.monotonic() - self.started if self.started > 0 else 0.0)

    def _budget_left(self) -> float:
        budget = self.experiment.budget.time
        if budget is None:
            return math.inf
        running = time.monotonic() - self.started if self.started > 0 else 0.0
        return float(budget) - self.before - running

    def _job_left(self) -> float:
        return self.bound.now().end - time.time()

    def _left(self) -> float:
        return min(self._budget_left(), self._job_left())

    def _write_time_left(self) -> None:
        if self.is_main:
            self.time_file.write(self._budget_left(), self._job_left(), self.plan.ask)

    # -- how it ended -----------------------------------------------------------------------------------------------------

    def _await_late_request(self) -> None:
        """A scheduler's signal reaches every process of a job: the program may have ended by it before the request was seen here."""
        patience = time.monotonic() + _LATE_SECONDS
        while self.reason is None and time.monotonic() < patience:
            if (asked := self.run_folder.stop_reason(self.owner)) is not None:
                self.reason, self.by_request = asked, True
            time.sleep(0.05)

    def _judge(self, processes: Processes, code: int) -> Ending:
        """The ending that the exit code means, by whether the program was told to stop. Closes the account."""
        self._await_late_request()
        if self.own_files:
            self.own_files.keep()
        if code == 0 and self.reason is None and self.is_main and self.place.nodes > 1:
            self.nodes.wait_for_the_others(_OTHERS_SECONDS)
        failed = self.failed_beside or self.nodes.failed()
        changed = self._changed()
        self.account.changes += changed
        lines = processes.log.last_lines(ending.LINES)
        if processes.ended and self.reason is None:
            print_line(f"ended with the program: {processes.ended} of its processes that were left")
        resumable = self.resumable
        by_time = self.reason is not None and not self.by_request
        cut_short = by_time or (self.reason is None and code in resumable)
        by_itself = self.reason is not None and code in (0, *resumable)
        self.account.close(changed=changed, counts=cut_short, saved=by_itself)
        self._write_account()
        # Behind the account, since a job may end while many of them are read.
        self._read_last_figures()
        if self.is_main:
            tensorboard_figures.add_to(self.said, self.run_folder, self.experiment.headline)
        if cut_short and (found := self._gets_nowhere()) is not None:
            return found
        if failed and (self.failed_beside or self.reason is not None or code == 0):
            return Ending(
                State.CRASHED, f"on node {failed.node + 1} of {self.place.nodes}: {failed.reason}", 1, lines=lines
            )
        if code == 0 and self.reason is None:
            return self._done("program")
        if by_time and self._budget_left() <= self.plan.ask + 1.0:
            return self._done("time")
        if self.reason is not None:
            said = "" if code in (0, *resumable) else f" ({ending.code_in_words(code)})"
            return Ending(self._left_state(), f"{self.reason}{said}", EXIT_RESUMABLE, asked=self.by_request)
        if code in resumable:
            sentence = f"the program ended with exit code {code}: to be gone on with"
            return Ending(self._left_state(), sentence, EXIT_RESUMABLE)
        return self._failed(code, processes, lines)

    def _write_account(self) -> None:
        if self.is_main:
            with suppress(UserError, OSError):
                self.account.write(self.run_folder)

    def _gets_nowhere(self) -> Ending | None:
        if self.account.nowhere < ledger.NOWHERE:
            return None
        segments = self.account.nowhere
        self.account.nowhere = 0  # whoever types the command again has changed something
        self._write_account()
        return Ending(State.CRASHED, ending.nowhere(segments), 4)

    def _failed(self, code: int, processes: Processes, lines: list[str]) -> Ending:
        """The end of a program that nobody told to stop: a crash, or a cause that may pass."""
        run, error = self.run_folder, processes.log.error
        if full := ending.full_disk(run.folder, error, lines, run.checkpoints):
            return self._fault(str(full), lines, full.number)
        if ending.signal_of(code) == signal.SIGKILL:
            shell = f" (exit code {code} of its shell)" if code > 0 else ""
            return self._fault(f"the program was killed by SIGKILL from outside{shell}, as for want of memory", lines)
        why = f"; it wrote last: {lines[-1]}" if lines else "; it wrote nothing"
        who = f"rank {processes.first[1]} of the program" if processes.first and self.place.world > 1 else "the program"
        return Ending(State.CRASHED, f"{who} {ending.code_in_words(code)}{why}", 1, lines=lines)

    def _fault(self, sentence: str, lines: list[str], number: int | None = None) -> Ending:
        count, launch = 1, os.environ.get(LAUNCH, "")
        if self.is_main:
            count = fault_count.note(self.run_folder.folder, launch, self.account.changes, number=number)
        if count > fault_count.MOST:
            return Ending(State.CRASHED, f"{sentence} (for the {count}th time without progress)", 1, lines=lines)
        return Ending(self._left_state(), sentence, EXIT_FAULT, lines=lines)

    def _read_last_figures(self) -> None:
        self.said.read(ended=True, seconds=min(_LAST_FIGURES_SECONDS, self._job_left() / 2))

    def _done(self, ended_by: str) -> Ending:
        if self.is_main:
            self._read_last_figures()
            self.said.warn_of_missing(self.experiment.headline)
            outcome.write(self.run_folder, self.experiment, self.account, self.said, ended_by, self.place.world)
        return Ending(State.DONE, "", 0)

    def _left_state(self) -> State:
        return State.RESUMABLE if self.run_folder.has_checkpoint() else State.LOST

    def _changed(self) -> bool:
        """True if the checkpoint folder is not as it was at the start of the segment."""
        return self.account.seen != self._digest()

    def _digest(self) -> str:
        return ledger.digest(self.run_folder.checkpoints)

    # -- signals and status ----------------------------------------------------------------------------------------------

    def _handle_signals(self) -> None:
        def ask(number: int, frame: object) -> None:
            del frame
            self.signals += 1
            self.run_folder.ask_to_stop(f"signal {signal.Signals(number).name}", self.owner)

        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"):
            if name == "SIGTERM" or signal.getsignal(getattr(signal, name)) is not signal.SIG_IGN:
                signal.signal(getattr(signal, name), ask)

    def _report(self, ended: Ending) -> None:
        if ended.state is State.DONE:
            self._status(State.DONE, "")
            print_line(
                f"done: {ending.brief_time(self.account.seconds)} in {counted(self.account.segments, 'segment')}"
            )
            return
        words = LastWords(self.place.node, ended.state, ended.reason, ended.code)
        taken = last_words.report(words.state, words.reason, words.code, words.rank)
        if not taken and self.is_main:
            print(words.sentence, file=sys.stderr if words.failed else sys.stdout, flush=True)
        self._status(ended.state, ended.reason, **ended.keys(by_request=self.by_request))

    def _status(self, state: State, reason: str, **more: Any) -> None:
        if not self.is_main:
            return
        figures: dict[str, Any] = {
            "step": self.account.changes,
            "seconds": round(self.account.seconds, 3),
            "headline": self.said.headline(self.experiment.headline),
            "last": said_figures.without_step(self.said.last),
            **({} if (epoch := self.said.last.get("epoch")) is None else {"epoch": epoch}),
        }
        if self.experiment.budget.time is not None:
            figures["budget_seconds"] = self.experiment.budget.time
        try:
            write_status(self.run_folder, state, reason=reason, **figures, **more)
        except (UserError, OSError) as error:
            number = error.number if isinstance(error, StorageFault) else getattr(error, "errno", None)
            if number in storage_errors.FULL and state is State.RUNNING:
                fault_count.met(self.run_folder.folder, number)


if __name__ == "__main__":
    streams.settle()
    sys.exit(main(sys.argv[1:]))
