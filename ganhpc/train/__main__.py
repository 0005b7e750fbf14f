"""`python -m ganhpc.train RUN_FOLDER`: train one run from where it stands. Knows nothing of schedulers.

Exit codes: 0 done; 75 stopped, to be resumed; 74 ended by an error of a file system that may pass; 2 refused; 3 already running;
4 non-finite; 1 a bug or a crash.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NoReturn

from ganhpc.core import storage_errors, streams
from ganhpc.core.errors import StorageFault, UserError
from ganhpc.core.printable import print_error
from ganhpc.core.storage_errors import remove_leftovers
from ganhpc.core.units import counted
from ganhpc.runs import cores, fault_count, file_owner, last_words
from ganhpc.runs.last_words import LastWords
from ganhpc.runs.run_files import StopCause
from ganhpc.runs.run_folder import Run, State
from ganhpc.runs.status_file import write_status
from ganhpc.runs.trainer_protocol import DIE_WITH_PARENT, EXIT_FAULT, EXIT_RESUMABLE, LAUNCH, die_with_parent
from ganhpc.train.runtime import failure_notice
from ganhpc.train.runtime.stop_watch import Arrivals, Doing, Interrupted, StopWatch, leave_now

_CONSEQUENCE_SECONDS = 1.5
"""Seconds for which a process that failed looks whether it is being ended since another one has failed before it."""
_KILLED_SECONDS = 4.0
"""Seconds that torchrun on another machine may take to tell of a process that was killed there."""


def main(argv: list[str]) -> int:
    """Train the run in the folder that `argv` names. Returns the exit code."""
    begun = time.monotonic()
    if os.environ.get(DIE_WITH_PARENT):
        die_with_parent()
    if len(argv) != 1:
        print("usage: python -m ganhpc.train RUN_FOLDER", file=sys.stderr)
        return 2
    try:
        run = Run.at(Path(argv[0]))
        with ExitStack() as stack:
            if _is_main():
                stack.enter_context(run.hold())
                _clear_up(run)
            return Process(run, begun).train()
    except OSError as error:
        return _not_begun(Run(Path(argv[0])), storage_errors.fault(error, doing="read or write"))
    except UserError as error:
        return _not_begun(Run(Path(argv[0])), error)


def _shown(code: int) -> int:
    """The exit code to end with: torchrun takes any but 0 for a failure, and whoever started it has the last words of a polite stop."""
    several = os.environ.get("WORLD_SIZE", "1") != "1" and last_words.VARIABLE in os.environ
    return 0 if several and code == EXIT_RESUMABLE else code


def _start_of_several() -> str:
    """A word that the processes of this start of a training share; empty where this one is alone."""
    several = os.environ.get("WORLD_SIZE", "1") != "1"
    return f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}" if several else ""


def _is_main() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _not_begun(run: Run, error: UserError) -> int:
    """Say why a process could not begin; returns its exit code."""
    state, code = fault_count.state_and_code(run, error, count=_is_main())
    if not last_words.report(state, str(error), code) and _is_main():
        print_error(error)  # of several processes that are refused the same, one says so
    return code


def _clear_up(run: Run) -> None:
    """Remove what trainers that were killed have left half-written: nobody else writes below the folder while its lock is held."""
    remove_leftovers(run.folder)
    for folder in (run.checkpoints, run.samples, run.tensorboard):
        remove_leftovers(folder, mine=True)
    fault_count.reserve(run.folder)


class Process:
    """One process that trains a run, from its first look at the run to its last words."""

    def __init__(self, run: Run, begun: float) -> None:
        """`begun`: when the process started (time.monotonic)."""
        self.run, self.begun = run, begun
        self.trainer: Any = None
        self.process_group: Any = None
        self.told = False
        """True if a signal has come."""
        self.owner = file_owner.mine()
        self.arrivals: Arrivals | None = None
        self.watch = StopWatch(self._asked, self._doing, self._leave)

    def train(self) -> int:
        """Build and fit; write what became of it into status.json. Returns the exit code."""
        self._handle_signals()
        self.watch.start()
        try:
            code = self._fit()
            self.watch.end()
            return code
        except (Interrupted, Exception) as error:
            self.watch.end()
            reason = self.watch.reason or self.run.stop_reason(self.owner)
            if reason is not None and not isinstance(error, UserError):
                # Interrupted by our own watch; or another process of this run was, and the connection to it has broken.
                return self._stopped(reason)
            return self._ended_by(error)
        finally:
            # After the last words: the other processes fail once they miss this one.
            if self.process_group:
                self.process_group.close()

    def _ended_by(self, error: BaseException) -> int:
        if isinstance(error, OSError):
            error = storage_errors.fault(error, doing="read or write")
        if isinstance(error, StorageFault):
            return self._fault(error)
        if isinstance(error, UserError):
            self._finish(State.CRASHED if self._trained() else State.REFUSED, str(error), error.exit_code)
            return error.exit_code
        words = None
        if isinstance(error, RuntimeError):  # as broken connections are
            words = failure_notice.found(_KILLED_SECONDS, lambda: self.told)
        if not words and self._another_failed():
            return 1
        if words := words or failure_notice.found():  # of another machine: this process's error is but the consequence
            self._finish(words.state, words.reason, words.code)
            return words.code
        traceback.print_exception(error)
        self._finish(State.CRASHED, _out_of_memory(error) or f"{type(error).__name__}: {error}", 1)
        return 1

    def _another_failed(self) -> bool:
        """True if another process of this machine has failed, of which this one's error is but the consequence: it is then being ended."""
        patience = time.monotonic() + _CONSEQUENCE_SECONDS
        while self.process_group and self.process_group.world_size > 1 and time.monotonic() < patience:
            if self.told:
                return True
            time.sleep(0.05)
        return False

    def _trained(self) -> bool:
        """True if a step was made: what is refused before the first has not failed in training."""
        return self.trainer is not None and self.trainer.progress.step > 0

    def _fault(self, error: StorageFault) -> int:
        """End with an error of a file system: one that may pass leaves the run to be gone on with, a few times without progress."""
        sentence, state = str(error), State.CRASHED if self._trained() else State.REFUSED
        if error.passing:
            step = self.trainer.saved_step if self.trainer else 0
            count = fault_count.note(
                self.run.folder, os.environ.get(LAUNCH, ""), step, _start_of_several(), error.number
            )
            state = self._left_state() if count <= fault_count.MOST else State.CRASHED
            if count > 1:
                sentence += f" (This was fault {count} in a row without progress.)"
        code = EXIT_FAULT if error.passing else error.exit_code
        self._finish(state, sentence, code)
        return code

    def _left_state(self) -> State:
        """The state in which an interruption leaves the run."""
        return State.RESUMABLE if self.run.has_checkpoint() else State.LOST

    def _stopped(self, reason: str) -> int:
        """End where a stop request has interrupted what loses nothing."""
        if self.run.result_json.exists():
            return 0
        self._finish(self._left_state(), f"{reason}; {self._kept()}", EXIT_RESUMABLE)
        return EXIT_RESUMABLE

    def _kept(self) -> str:
        if self.trainer is None:
            return "the checkpoints of before are kept" if self.run.has_checkpoint() else "the training had not begun"
        done, saved = self.trainer.progress.step, self.trainer.saved_step
        if not saved:
            return "there is no checkpoint yet"
        lost = (
            f", {counted(done - saved, 'step')} since then {'is' if done - saved == 1 else 'are'} lost"
            if done > saved
            else ""
        )
        return f"the checkpoint of step {saved:,} is kept{lost}"

    def _doing(self) -> Doing:
        trainer = self.trainer
        if trainer is None:
            return Doing.STARTING
        if trainer.doing is Doing.SAVING:
            return Doing.SAVING
        if trainer.saved_step == trainer.progress.step:
            return Doing.NOTHING_TO_LOSE
        return Doing.STEPS if trainer.process_group.world_size > 1 else trainer.doing

    def _leave(self, reason: str) -> NoReturn:
        """In the watch's thread: the main thread does not end by itself."""
        words = LastWords(0, self._left_state(), f"{reason}; {self._kept()}", EXIT_RESUMABLE)
        self._report(words)
        if _is_main():
            self._status(words.state, words.reason, {})
        leave_now(_shown(EXIT_RESUMABLE))

    def _finish(self, state: State, reason: str, code: int) -> None:
        """Say the last words, and write them into status.json."""
        words = LastWords(0, state, reason, code)
        self._report(words)
        if words.failed:
            failure_notice.give(words)
        if _is_main():
            self._status(state, reason, self.trainer.run_status() if self.trainer else {})

    def _report(self, words: LastWords) -> None:
        """Say the last words through the pipe; where nobody listens, rank 0 prints them."""
        if not last_words.report(words.state, words.reason, words.code) and _is_main():
            print(words.sentence, file=sys.stderr if words.failed else sys.stdout, flush=True)

    def _status(self, state: State, reason: str, figures: dict[str, Any]) -> None:
        """Write the last status; where that fails too, the words have gone through the pipe and to the screen."""
        with suppress(UserError, OSError):
            write_status(self.run, state, reason=reason, **figures)

    def _fit(self) -> int:
        # Before torch is loaded: it reads then how its threads are to wait.
        threads = cores.settle(self.run.experiment().resources.threads)
        from ganhpc.train.loop.build import prepare
        from ganhpc.train.loop.result import write_outcome
        from ganhpc.train.loop.trainer import Stopped
        from ganhpc.train.runtime.distributed import Distributed

        experiment = self.run.experiment()
        process_group = self.process_group = Distributed.start(experiment.resources.device, threads)
        if process_group.is_main:
            previous = self.run.status()
            write_status(self.run, State.RUNNING, reason="starting", seconds=previous.get("seconds", 0.0))
        trainer = prepare(self.run, experiment, process_group, self.begun)
        self.trainer = trainer
        try:
            figures = trainer.fit()
        except Stopped as stopped:
            kept = f"a checkpoint of step {trainer.progress.step:,} is saved"
            self._report(LastWords(process_group.rank, State.RESUMABLE, f"{stopped.reason}; {kept}", EXIT_RESUMABLE))
            if process_group.is_main:
                asked = self.run.stop_reason(trainer.bound.owner) is not None
                cause = StopCause.ASKED if asked else StopCause.OUT_OF_TIME
                self._status(State.RESUMABLE, stopped.reason, {**trainer.run_status(), "cause": cause.value})
            return EXIT_RESUMABLE
        result = write_outcome(self.run, trainer, figures)
        if process_group.is_main:
            self._status(State.DONE, "", trainer.run_status())
            print(f"done: {counted(result['epochs'], 'epoch')} in {result['train_seconds']:.1f} s", flush=True)
        process_group.barrier()
        return 0

    def _handle_signals(self) -> None:
        """Every polite signal only asks for a stop, through the run folder, so that all ranks hear it. They may repeat.

        One that the parent has set to be ignored stays ignored: the node side of a job listens to the scheduler's warnings itself.
        """

        def ask(number: int, frame: object) -> None:
            del frame
            self.watch.note_signal()
            self._ask(number)

        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"):
            # The watch sends SIGTERM itself.
            if name == "SIGTERM" or signal.getsignal(getattr(signal, name)) is not signal.SIG_IGN:
                signal.signal(getattr(signal, name), ask)
        self.arrivals = Arrivals()

    def _ask(self, number: int) -> str:
        """Ask the processes of this run to stop since a signal has come; returns the reason."""
        self.told = True
        reason = f"signal {signal.Signals(number).name}"
        self.run.ask_to_stop(reason, self.owner)
        return reason

    def _asked(self) -> str | None:
        """In the watch's thread: why to stop, or None. A signal counts while its handler waits, and where no request can be written."""
        arrived = self.arrivals.take() if self.arrivals else []
        signalled = [self._ask(number) for number in arrived]
        return self.run.stop_reason(self.owner) or (signalled[0] if signalled else None)


def _out_of_memory(error: BaseException) -> str | None:
    """A sentence for an out-of-memory error of the device, else None."""
    import torch

    if isinstance(error, torch.cuda.OutOfMemoryError):
        return "the device has too little memory for this run: type the command again with a smaller --batch-size and --new"
    return None


if __name__ == "__main__":
    streams.settle()
    sys.exit(_shown(main(sys.argv[1:])))
