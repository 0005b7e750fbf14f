"""The run folder: every path of a run, who writes it, and the state that the files tell.

runs/<experiment>/<variant>-<signature>[-N]/
  experiment.json   the definition (launcher, once)          request.json   what was submitted (submitter)
  choices.json      what the trainer settled by measuring    status.json    where it stands (trainer, often)
  metrics.jsonl     one object a line (trainer)              result.json    the outcome: its existence means done (trainer)
  evaluation.json   the curve, figures by class (trainer)    description.json   the networks in full (trainer)
  checkpoints/ tb/ samples/ log.txt                          stop           a stop request to the trainer that holds the lock (anybody)
  lock              held by the living trainer               stop-<digest>  one to the trainers of one owner (that owner)
  deadline.json     the end of its owner's job (node script)  claim.json    the job that trains the run (node script)
  program.json      of a user's program: time used, segments, how it stopped (its runner)
  data.json, data-files.gz   the pictures of a folder or zip that it began with (launcher, once)
"""

from __future__ import annotations

import errno
import itertools
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from ganhpc.core import locks
from ganhpc.core.errors import BusyError, UserError
from ganhpc.core.files import (
    Damaged,
    folders_below,
    is_regular,
    raise_error,
    raise_passing,
    read_bytes,
    read_json,
    storage_errors,
    write_json,
)
from ganhpc.core.locks import folder_lock
from ganhpc.core.printable import printable, shown
from ganhpc.core.storage_errors import fault as storage_fault
from ganhpc.core.storage_errors import is_full
from ganhpc.core.typed_command import typed_command
from ganhpc.runs import file_owner, known_experiments, stop_requests
from ganhpc.runs.definition_fields import experiment_of
from ganhpc.runs.experiment import Experiment
from ganhpc.runs.foreign_folders import must_be_own
from ganhpc.runs.run_attempts import attempts_at, chosen, folders_in
from ganhpc.runs.run_files import (
    OF_ANOTHER,
    PROGRAM_LEDGER,
    UNTRAINED,
    Fault,
    RefusalSource,
    Request,
    Status,
    end_in_words,
    ended_untrained,
    is_of_another,
    is_result,
    is_untrained,
    job_failed,
    read_fault,
    read_request,
    read_status,
    refusal_source,
    stop_reason,
)

STALE_SECONDS = 90.0
"""A run whose trainer on another machine has said nothing for this long is taken for dead."""
_MOST_LOOKED_AT = 100_000
"""Entries of a checkpoint folder that are looked at."""
_AHEAD_SECONDS = 90.0
"""A status from further in the future than two machines' clocks may differ says nothing of now."""
WATCH_SECONDS = 6.0
"""Seconds for which a status with an impossible time is watched, before a trainer starts: one that lives writes it every second or so."""


class State(str, Enum):
    """The states of a run, as `results --json` gives them."""

    NEW = "new"
    """The folder exists and nothing has run yet."""
    WAITING = "waiting"
    """A scheduler holds a job for it."""
    RUNNING = "running"
    """A trainer holds its lock."""
    DONE = "done"
    """result.json exists."""
    RESUMABLE = "resumable"
    """Stopped, killed or out of time, with a checkpoint: the same command goes on."""
    LOST = "lost"
    """Killed or out of time before the first checkpoint: the same command starts over."""
    CRASHED = "crashed"
    """The training itself failed (for one, a loss that is not finite); the last good checkpoint is kept."""
    CANCELLED = "cancelled"
    """The user asked for its end."""
    REFUSED = "refused"
    """It could not begin: a budget or a rule does not allow it, or something it needs is missing."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class RunStatus:
    """The state of a run and the sentence that explains it."""

    state: State
    reason: str
    status: Status
    refused_by: RefusalSource | None = None
    job_failed: bool = False
    """The last of its jobs failed on its node."""
    damaged: bool = False
    """A file of the run can't be used; the reason names it."""


@dataclass(frozen=True)
class Run:
    """One run folder."""

    folder: Path

    experiment_json = property(lambda self: self.folder / "experiment.json")
    request_json = property(lambda self: self.folder / "request.json")
    choices_json = property(lambda self: self.folder / "choices.json")
    status_json = property(lambda self: self.folder / "status.json")
    result_json = property(lambda self: self.folder / "result.json")
    evaluation_json = property(lambda self: self.folder / "evaluation.json")
    description_json = property(lambda self: self.folder / "description.json")
    deadline_json = property(lambda self: self.folder / "deadline.json")
    metrics_jsonl = property(lambda self: self.folder / "metrics.jsonl")
    checkpoints = property(lambda self: self.folder / "checkpoints")
    samples = property(lambda self: self.folder / "samples")
    tensorboard = property(lambda self: self.folder / "tb")
    weights = property(lambda self: self.folder / "weights.safetensors")
    log = property(lambda self: self.folder / "log.txt")
    lock = property(lambda self: self.folder / "lock")
    stop_file = property(lambda self: self.folder / "stop")

    def export(self, name: str) -> Path:
        """The weights of a network that is of use by itself; beside it, with the ending .json, how it is built."""
        return self.folder / f"{name}.safetensors"

    @property
    def name(self) -> str:
        """The folder's name: <variant>-<signature>[-N]."""
        return self._whole.name

    @property
    def title(self) -> str:
        """<experiment>/<name>, as people are shown it: a run that was moved or whose folder was renamed is of its experiment still."""
        return f"{experiment_of(self._whole)}/{self.name}"

    @property
    def _whole(self) -> Path:
        """The folder as a path in which every part has a name: `.` and `..` have none."""
        folder = self.folder.absolute()
        return folder.resolve() if ".." in folder.parts else folder

    @property
    def runs(self) -> Path:
        """The folder of runs in which it lies, as <experiment>/<name>."""
        return self._whole.parent.parent

    def command(self, verb: str, *words: object) -> str:
        """The command to type next that does `verb` to this run."""
        return typed_command(verb, self.name, *words, runs=self.runs)

    def __str__(self) -> str:
        return printable(shown(self.folder))

    # -- finding and making -------------------------------------------------------------------------------------------

    @staticmethod
    def find(runs: Path, experiment: Experiment) -> Run | None:
        """The newest run of exactly this definition below `runs`, or None."""
        return Run(max(found)[1]) if (found := list(attempts_at(runs, experiment))) else None

    @staticmethod
    def planned(runs: Path, experiment: Experiment, *, new: bool = False) -> Run:
        """The run that launching this definition would use; with `new`, a folder that does not exist yet."""
        # One look for both questions: between two, another launcher could make the run that this one then takes for an older attempt.
        attempts = sorted(attempts_at(runs, experiment))
        found = None if new else chosen(runs, experiment, [folder for _, folder in attempts])
        if found:
            return Run(found)
        number = attempts[-1][0] + 1 if attempts else 1
        suffix = f"-{number}" if number > 1 else ""
        return Run(runs / experiment.NAME / f"{experiment.variant}-{experiment.signature}{suffix}")

    @staticmethod
    def open(runs: Path, experiment: Experiment, *, new: bool = False) -> Run:
        """Find the run of this definition, or make its folder. Never overwrites a run.

        Raises UserError where the folder can't be written or holds something else.
        """
        for _ in range(100):
            run = Run.planned(runs, experiment, new=new)
            if run.experiment_json.exists():
                run.experiment()
                return run
            with storage_errors(run.folder), _not_a_folder(run.folder):
                run.folder.mkdir(parents=True, exist_ok=True)
            with folder_lock(run.folder):
                if not run.experiment_json.exists():
                    write_json(run.experiment_json, experiment.to_json())
                    return run
        raise UserError(f"can't find a free name below {runs / experiment.NAME}: move old runs away.")

    @staticmethod
    def at(path: Path) -> Run:
        """The run in the folder `path`. Raises UserError where it is none, and StorageFault where the file system doesn't say."""
        run = Run(path)
        if not is_regular(run.experiment_json):
            raise UserError(
                f"{path} is not a run folder (it has no experiment.json): `{typed_command('results', runs=run.runs)}` lists them."
            )
        return run

    @staticmethod
    def all(runs: Path) -> Iterator[Run]:
        """Every run below `runs`, in the order of their paths."""
        for kind in folders_in(runs):
            with suppress(Damaged):  # an experiment's folder that can't be listed hides no other
                yield from (Run(Path(folder)) for folder in folders_in(kind))

    # -- reading --------------------------------------------------------------------------------------------------------

    def experiment(self) -> Experiment:
        """The definition. Raises UserError where this version can't read it."""
        tree = read_json(self.experiment_json)
        if tree is None:
            raise UserError(f"{self.folder} is not a run folder: it has no experiment.json.")
        try:
            return known_experiments.from_json(tree)
        except UserError as error:
            raise UserError(f"{self}: {error}") from None

    def recorded_signature(self) -> str:
        """The signature in experiment.json, which stays whatever a later version makes of the definition; empty where it has none. Raises Damaged."""
        said = (read_json(self.experiment_json) or {}).get("signature")
        return said if isinstance(said, str) else ""

    def result(self) -> dict[str, object] | None:
        """The outcome, or None while there is none. Raises Damaged."""
        try:
            tree = read_json(self.result_json)
        except Damaged:
            if is_result(self.folder, None):
                raise
            return None
        if tree is None or not is_result(self.folder, tree):
            return None
        if is_of_another(self.folder, tree):
            raise Damaged(f"{self.folder}/{OF_ANOTHER}.")
        return tree

    def is_done(self) -> bool:
        """True if the run has its result, also a damaged one."""
        if not self.result_json.exists():
            return False
        try:
            return self.result() is not None
        except Damaged:
            return True

    def is_there(self) -> bool:
        """True if the folder exists and can be looked at: another user's may be closed, and a name from a record longer than any folder's."""
        return os.path.isdir(self.folder)  # noqa: PTH112 (Path.is_dir raises then)

    def status(self) -> Status:
        """Where the trainer said it stood, or {} before its first word, or where a power cut has left the file damaged."""
        return read_status(self.status_json)

    def has_checkpoint(self) -> bool:
        """True if anything can be resumed (a sidecar is written only after its checkpoint is whole; a user's program saves as it likes)."""
        try:
            if any(self.checkpoints.glob("step-*.json")):
                return True
            if not (self.folder / PROGRAM_LEDGER).exists() or not self.checkpoints.is_dir():
                return False
            found = folders_below(self.checkpoints, _MOST_LOOKED_AT, raise_error)
            return any(os.path.isfile(f"{place}/{name}") for place, names in found for name in names)  # noqa: PTH113
        except OSError:  # a file server that is away: nothing is known to be lost
            return True

    def run_status(self) -> RunStatus:
        """The state that the files tell, with the reason. Never raises: a damaged file is the reason."""
        status = self.status()
        try:
            found = self._read_status(status)
            if _last_state(status) is State.RUNNING and found.state is not State.RUNNING:
                # Read once more: it may have ended since, and a trainer writes its end before it lets go.
                status = self.status()
                found = self._read_status(status)
        except Damaged as error:
            found = RunStatus(State.REFUSED, f"damaged: {error}", status, damaged=True)
        return replace(found, reason=printable(found.reason))

    def _read_status(self, status: Status) -> RunStatus:
        if (result := self.result()) is not None:
            untrained = is_untrained(result)
            return RunStatus(State.REFUSED, UNTRAINED, status) if untrained else RunStatus(State.DONE, "", status)
        if self.is_held(status):
            # Why an earlier trainer has ended is no reason of the one that has begun and not yet said anything.
            reason = status.get("reason", "") if _last_state(status) is State.RUNNING else ""
            return RunStatus(State.RUNNING, reason, status)
        read_json(self.experiment_json)
        asked = read_request(self.request_json)
        said, saved = _last_state(status), self.has_checkpoint()
        if asked.get("cancelled"):
            return RunStatus(
                State.CANCELLED, "its last checkpoint is kept" if saved else "before any checkpoint", status
            )
        if asked.get("refused"):
            return RunStatus(State.REFUSED, asked["refused"], status, refusal_source(asked))
        waits = said is None and _before_training(asked)[0] is State.WAITING
        if (
            said in (None, State.RUNNING)
            and not waits
            and (faulty := self._by_a_fault(status, saved=saved)) is not None
        ):
            return faulty
        if said is None and saved:
            return RunStatus(State.RESUMABLE, "its status is lost or damaged; the last checkpoint is whole", status)
        if said is None:
            return RunStatus(*_before_training(asked), status, job_failed=ended_untrained(asked))
        if said not in (State.RUNNING, State.DONE):
            stopped = said is State.RESUMABLE
            reason = stop_reason(status, asked) if stopped else status.get("reason", "")
            return RunStatus(said, reason, status, job_failed=stopped and job_failed(status, asked))
        # It says running and nobody holds the lock: the trainer was killed, or its machine went down.
        how = end_in_words(asked) if said is State.RUNNING else "its result is lost"
        if saved:
            failed = job_failed(status, asked)
            return RunStatus(State.RESUMABLE, f"{how}; the last checkpoint is whole", status, job_failed=failed)
        failed = job_failed({}, asked)
        return RunStatus(State.LOST, f"{how} before its first checkpoint", status, job_failed=failed)

    def _by_a_fault(self, status: Status, *, saved: bool) -> RunStatus | None:
        """The state where a fault of the file system, such as a full disk, has ended the trainer, or kept it from writing its status until it was
        killed."""
        fault = read_fault(self.folder)
        # One from further in the future than clocks may differ says nothing of now: it would be newer than every status to come.
        ahead = fault is not None and fault.time > time.time() + _AHEAD_SECONDS
        if fault is None or ahead or fault.time < status.get("time", 0.0):
            if not is_full(self.folder):
                return None
            fault = Fault(errno.ENOSPC, 0.0, given_up=False)
        state = State.CRASHED if fault.given_up else State.RESUMABLE if saved else State.LOST
        return RunStatus(
            state, str(storage_fault(OSError(fault.number, os.strerror(fault.number)), self.folder)), status
        )

    def is_held(self, status: Status | None = None) -> bool:
        """True if a living trainer works in this folder, here or on another machine."""
        if locks.is_held(self.lock):
            return True
        return self._held_elsewhere(self.status() if status is None else status)

    def _held_elsewhere(self, status: Status) -> bool:
        """Locks don't reach across machines on every network file system; the status file does, a little later.

        Its time is of another clock: one that is too old or too far ahead says nothing. Nor does one that came with a copy of the folder.
        """
        age = time.time() - status.get("time", 0.0)
        fresh = -_AHEAD_SECONDS < age < STALE_SECONDS
        return fresh and _is_running_elsewhere(status) and not self._is_of_another_folder(status)

    def folder_identity(self) -> Status:
        """The fields of a status that tell the folder it is written in."""
        return {"folder": str(self.folder.absolute()), "inode": self.folder.stat().st_ino}

    def _is_of_another_folder(self, status: Status) -> bool:
        """True if the status was written in a folder of another path and another number. Machines that share a folder may have
        different paths to it, and some file systems number it differently on each: only both together tell a copy."""
        try:
            inode = self.folder.stat().st_ino
        except OSError:
            return False
        path = str(self.folder.absolute())
        return status.get("folder", path) != path and status.get("inode", inode) != inode

    def _is_written(self, status: Status) -> bool:
        """True if another machine, whatever its clock shows, goes on writing the status: watched for a while, and only where the
        file server has seen it written a short while ago."""
        try:
            before = self.status_json.stat()
        except OSError:
            return False
        if not _is_running_elsewhere(status) or abs(time.time() - before.st_mtime) > STALE_SECONDS:
            return False
        patience = time.monotonic() + WATCH_SECONDS
        while time.monotonic() < patience:
            time.sleep(0.2)
            with suppress(OSError):
                now = self.status_json.stat()
                if (now.st_ino, now.st_mtime_ns) != (before.st_ino, before.st_mtime_ns):
                    return True
        return False

    # -- writing ----------------------------------------------------------------------------------------------------------

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the run for this process; stop requests to whoever held it before are over. Raises BusyError where a living trainer has it, and
        Damaged where a folder of it is another run's."""
        with ExitStack() as stack:
            with folder_lock(self.folder):
                try:
                    stack.enter_context(locks.held(self.lock, tries=10))
                except locks.Held:
                    raise self.busy() from None
                with suppress(FileNotFoundError):
                    try:
                        read_bytes(self.status_json)
                    except Damaged as error:
                        raise_passing(error)  # a trainer on another machine may say there that it lives
                status = self.status()
                if self._held_elsewhere(status) or self._is_written(status):
                    raise self.busy()
                must_be_own(self.folder)
                stop_requests.forget_old(self.folder)
            yield

    def busy(self) -> BusyError:
        """The error for whoever wants a run that is running."""
        status = self.status()
        known = "pid" in status and "host" in status
        where = f" (process {status['pid']} on {printable(status['host'])})" if known else ""
        return BusyError(
            f"{self} is already running{where}: wait for it, stop it with Ctrl-C there, or start another with --new."
        )

    def ask_holder_to_stop(self, reason: str) -> bool:
        """Ask the trainer that holds the run to save and stop; returns whether there is one. Raises UserError where it can't be told.

        Under the lock under which a trainer takes the run and forgets older requests: this one is neither lost nor left to the next.
        """
        with folder_lock(self.folder):
            held = self.is_held()
            if held and not self.ask_to_stop(reason):
                self._send_stop()
        return held

    def _send_stop(self) -> None:
        """Send the holder, on this machine, a signal where no request can be written. Raises UserError."""
        status = self.status()
        stop_requests.forget(self.folder, "")
        pid, host = status.get("pid"), status.get("host")
        if isinstance(pid, int) and host and file_owner.is_here(host, status.get("machine")):
            # The status may be of a trainer before this one, whose number another process has by now, such as `tail -f` of this run's log.
            with suppress(OSError):
                if _trains(file_owner.command_of(pid), self.folder.name):
                    os.kill(pid, signal.SIGTERM)
                    return
        raise UserError(
            f"{self} can't be told to stop: nothing can be written into {printable(self.folder)}, and no process of it is known on this machine; "
            "free some space there, and type the same again."
        )

    def ask_to_stop(self, reason: str, owner: str = "") -> bool:
        """Ask the trainers of `owner`, or the one that holds the run, to save and stop at the next step.

        A request to an owner's trainers counts even before they hold the run. Returns False where it can't be written, and this process alone
        hears it. Safe in a signal handler, and when repeated.
        """
        return stop_requests.ask(self.folder, reason, owner)

    def stop_reason(self, owner: str = "", *, holds: bool = True) -> str | None:
        """The reason for which a trainer of `owner` was asked to stop, or None; where it does not hold the run yet, by requests to its owner alone."""
        return stop_requests.reason_of(self.folder, owner, holds=holds)


def _trains(command: bytes, name: str) -> bool:
    """True for the command line, a zero byte behind each word, of a trainer or of a program's runner in a folder of this name."""
    words = command.split(b"\0")
    entry = next((word for flag, word in itertools.pairwise(words) if flag == b"-m"), b"")
    return entry.startswith(b"ganhpc.") and os.fsencode(name) in command


def _last_state(status: Status) -> State | None:
    """The state in the trainer's last word; None where there is none, or one that no trainer says."""
    said = status.get("state")
    return State(said) if said in tuple(State) else None


def _is_running_elsewhere(status: Status) -> bool:
    host = status.get("host")
    here = host is None or file_owner.is_here(host, status.get("machine"))
    return not here and status.get("state") == State.RUNNING


def _before_training(asked: Request) -> tuple[State, str]:
    """The state of a run whose trainer has said nothing yet, by what was asked of a scheduler."""
    jobs = [job for job in asked.get("jobs", []) if job.get("job_id")]
    if not jobs:
        return State.NEW, "not started"
    if all(job.get("ended") or job.get("forgotten") for job in jobs):
        unknown = "by itself" if ended_untrained({"jobs": jobs[-1:]}) else "why is not known"
        return State.LOST, f"its job ended ({end_in_words({'jobs': jobs[-1:]}, unknown)}) before the training began"
    return State.WAITING, "submitted"


@contextmanager
def _not_a_folder(folder: Path) -> Iterator[None]:
    try:
        yield
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"can't make {folder}: a file is in the way; choose another folder with --runs DIR.") from None
