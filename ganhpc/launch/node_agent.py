"""`python -m ganhpc.node RUN_FOLDER`: the first process of a job on its node. It starts the trainer and reports to the scheduler.

It writes when the job ends into deadline.json, again whenever the scheduler changes its mind; turns signals, which repeat and which
workers of torchrun don't hear, into a stop request in the run folder; and ends with what the scheduler should make of the job.
Never imports torch.
"""

from __future__ import annotations

import datetime as dt
import math
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import click

from ganhpc.core import streams
from ganhpc.core.errors import UserError
from ganhpc.core.files import Damaged, raise_passing
from ganhpc.core.printable import print_error
from ganhpc.core.storage_errors import fault, with_retries
from ganhpc.launch.schedulers import registry, script_text
from ganhpc.launch.schedulers.base import JobState, NodeSide
from ganhpc.launch.submission import readiness
from ganhpc.runs import file_owner, own_experiments, stop_requests, submission_record, trainer_protocol
from ganhpc.runs import job_deadline as bound
from ganhpc.runs.job_claim import Claim, Job
from ganhpc.runs.job_deadline import Bound
from ganhpc.runs.last_words import LastWords
from ganhpc.runs.run_files import OLD_ASKED, OLD_OUT_OF_TIME, StopCause
from ganhpc.runs.run_folder import STALE_SECONDS, Run, RunStatus, State
from ganhpc.runs.trainer_processes import Nodes, TrainerProcesses, command
from ganhpc.runs.trainer_protocol import (
    EXIT_FAULT,
    EXIT_RESUMABLE,
    LAUNCH,
    TAG,
    die_with_parent,
)

_REREAD_SECONDS = 60.0
"""Seconds between two questions to the scheduler for the job's end."""
_GRACE_SECONDS = 60.0
"""Seconds for which a trainer may live past the policy's end of its job; it plans to have ended before."""
_WARNING_SECONDS = 200.0
"""A warning that comes nearer than this to the end of the job only says that it ends."""
_WARNINGS = (signal.SIGUSR1, signal.SIGUSR2)
ASKED = "the scheduler asked for it"
_FAULT_SECONDS = 600.0
"""Longest wait, in seconds, at the start of a job for a file system that is full or away; a quarter of the walltime where that is less."""
_SAME_SECONDS = 4.0
"""Seconds for which another node than the first looks whether the first has failed for the same reason."""
_PORT = 29_400


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--walltime", type=int, required=True, help="seconds that were asked for")
@click.option("--tasks", type=int, default=1, help="training processes on each node")
@click.option("--until", default="", help="when the job must have ended even if it starts late (ISO, with offset)")
@click.option(
    "--most", type=int, default=None, help="seconds that a job may take by the policy, whatever becomes of its walltime"
)
@click.option("--last", is_flag=True, help="the run ends with this job")
@click.option("--again", is_flag=True, help="send the job again where the run is not done at its end")
@click.option(
    "--follower",
    default="",
    help="set on the other nodes, where the scheduler starts the script on the first only: RANK:NODES:FIRST_HOST",
)
def main(
    folder: Path, walltime: int, tasks: int, until: str, most: int | None, last: bool, again: bool, follower: str
) -> None:
    """Train one segment of the run in FOLDER inside this job."""
    begun = time.time()
    bound = dt.datetime.fromisoformat(until).timestamp() if until else math.inf
    if most is not None:
        bound = min(bound, _job_start(begun) + most)
    patience = min(_FAULT_SECONDS, walltime / 4)
    try:
        if said := readiness.own_problem():
            raise UserError(f"{said}.")
        run = with_retries(lambda: Run.at(folder), patience, print_error)
        segment = Segment(run, begun, min(begun + walltime, bound), tasks, last, again, follower, bound)
        segment.patience = patience
        sys.exit(segment.train())
    except OSError as problem:
        error = fault(problem, doing="read or write")
        print_error(error)
        sys.exit(error.exit_code)
    except UserError as error:
        print_error(error)
        sys.exit(error.exit_code)


class Segment:
    """One job's share of a run."""

    def __init__(
        self,
        run: Run,
        begun: float,
        hard_end: float,
        tasks: int,
        last: bool,
        again: bool,
        follower: str,
        until: float = math.inf,
    ) -> None:
        """
        Args:
            run: the run that is trained.
            begun: when this process started, in seconds since 1970.
            hard_end: when the job ends, for all that is known at its start: after its walltime, or at `until`.
            tasks: training processes on each node.
            last: it is the run's last job.
            again: the scheduler is to send this job again where the run is not done.
            follower: RANK:NODES:FIRST_HOST on another node than the first; empty on the first.
            until: when the job must have ended by the policy, whatever becomes of its walltime.
        """
        self.until = until
        self.patience = 0.0
        """Seconds for which a fault that may pass is waited for before the trainer starts."""
        self.run, self.begun, self.hard_end = run, begun, hard_end
        self.tasks, self.last, self.again = tasks, last, again
        self.scheduler = _scheduler_module()
        job = self.scheduler.job_name() if self.scheduler else ""
        if job and (tag := os.environ.get(TAG)):
            job += f", {tag}"  # clusters of one name give the same numbers
        # Trainers on the other nodes of a job have the same owner.
        self.owner = (follower and os.environ.get(file_owner.OWNER)) or job or file_owner.process(os.getpid())
        lives = self.scheduler.lives if self.scheduler else _nobody_says
        self.claim = Claim(run, self._job(), lives)
        self.follower = bool(follower)
        self.others: list[str] = []
        self.warned = False
        self.passed_on = False
        """True if a warning of the scheduler was passed on to the trainer."""
        self.over_since = math.inf
        """Moment at which the policy's end of the job was first seen to have passed, by the machine's own clock."""
        self.told_to_end = False
        """True if a signal asked for the end of the job."""
        self.unwritten = False
        """True while the trainer has yet to hear of a stop request that could not be written."""
        if follower:
            rank, nodes, first = follower.split(":", 2)
            self.rank, self.nodes, self.first = int(rank), int(nodes), first
        else:
            hosts = self.scheduler.hosts() if self.scheduler else []
            self.rank = self.scheduler.node_rank() if self.scheduler else 0
            self.nodes, self.first = max(1, len(hosts)), (hosts or [socket.gethostname()])[0]
            self.others = hosts[1:] if self.scheduler and self.scheduler.REMOTE_SHELL else []

    def _job(self) -> Job:
        if not self.scheduler:
            return Job.mine(self.owner)
        id = os.environ.get(self.scheduler.JOB_VARIABLE, "")
        tag = os.environ.get(TAG, "")
        return Job.mine(self.owner, os.environ.get("GANHPC_SCHEDULER", ""), self.scheduler.cluster_name(), id, tag)

    def train(self) -> int:
        """Run the trainer to its end. Returns the job's exit code."""
        nothing = "" if self.follower else with_retries(self._nothing_to_do, self.patience, print_error)
        if not self.follower and (sentence := nothing or self._claimed()):
            print(sentence, flush=True)
            return 0
        try:
            return self._train()
        finally:
            if self.rank == 0:
                self.claim.drop()

    def _claimed(self) -> str:
        """Claim the run for this job; returns the sentence on why not, or an empty text."""
        if self.rank:
            return self.claim.follow()
        return with_retries(self.claim.take, self.patience, print_error)

    def _train(self) -> int:
        if self.rank == 0:
            self._wait_for_the_one_before()
        self._handle_signals()
        if self.rank == 0:
            self._write_deadline()
        step = self.run.status().get("step") or 0
        trainer = TrainerProcesses(self._command(), self._environment(), preexec_fn=_before_trainer)
        others = [self._start_follower(k, host) for k, host in enumerate(self.others, start=1)]
        code = self._wait(trainer, others)
        if trainer.words and not self._first_node_says(trainer.words):
            print(trainer.words.sentence, file=sys.stderr, flush=True)
        if self.rank == 0:
            trainer.note_failure(self.run, self.owner)
        stop_requests.forget(self.run.folder, self.owner)
        print(f"segment ended with code {code}", flush=True)
        if code in (EXIT_RESUMABLE, EXIT_FAULT):
            return self._go_on(step, fault=code == EXIT_FAULT)
        return code

    def _first_node_says(self, words: LastWords) -> bool:
        """True on another node than the first, which prints the same: of a stop always, of a failure where it stands in status.json."""
        patience = time.monotonic() + _SAME_SECONDS
        while self.rank and words.failed and time.monotonic() < patience:
            status = self.run.status()
            if status.get("owner") == self.owner and status.get("reason") == words.reason:
                return True
            time.sleep(0.2)
        return bool(self.rank) and not words.failed

    def _go_on(self, step: int, *, fault: bool = False) -> int:
        """End a segment whose run is not done. Where nothing else is submitted for it, the scheduler is to send this job again,
        unless it got nowhere or was asked to stop."""
        run_status = self.run.run_status()
        wanted = self.again and self.rank == 0 and self.scheduler and run_status.state is State.RESUMABLE
        further = self._ran_out(run_status) and (run_status.status.get("step") or 0) > step
        # The trainer counts faults that get nowhere, and calls the run crashed after some.
        if wanted and (further or fault):
            assert self.scheduler
            print("not done: this job is sent again", flush=True)
            return int(self.scheduler.go_on())
        return 0

    def _ran_out(self, run_status: RunStatus) -> bool:
        """True if the trainer stopped since its job ends, and for no other reason."""
        cause = run_status.status.get("cause")
        if cause is None:  # of a version that wrote none
            return run_status.reason.startswith((OLD_OUT_OF_TIME, OLD_ASKED))
        return cause == StopCause.OUT_OF_TIME or (cause == StopCause.ASKED and self.passed_on and not self.told_to_end)

    def _wait_for_the_one_before(self) -> None:
        """A trainer that was killed on another machine a moment ago still looks alive for a while."""
        patience = time.monotonic() + STALE_SECONDS + 10
        while self.run.is_held() and time.monotonic() < patience:
            self.claim.beat()
            time.sleep(1)

    def _nothing_to_do(self) -> str:
        """The reason for which this job of a chain has nothing to train, or an empty text."""
        run_status = self.run.run_status()
        if run_status.state is State.DONE:
            return "the run is done already: nothing to do"
        mine = os.environ.get(LAUNCH) and run_status.status.get("launch") == os.environ.get(LAUNCH)
        if mine and run_status.state in (State.CRASHED, State.REFUSED):
            return f"an earlier job of this launch {run_status.state} ({run_status.reason}): not repeated"
        if run_status.state is State.CANCELLED:
            return "the run was cancelled: nothing to do"
        if self._is_written_off():
            return "this job was written off elsewhere (`cancel --elsewhere`): nothing to do"
        if self.hard_end <= time.time():
            return "its time has passed: nothing to do"
        return ""

    def _is_written_off(self) -> bool:
        """True if a person at another place has given this job up, and perhaps submitted the run there. Raises StorageFault for a fault that may
        pass: the record may say so, or that the run was cancelled."""
        try:
            jobs = submission_record.read(self.run)["jobs"]
        except Damaged as error:
            raise_passing(error)
            return False
        tag = os.environ.get(TAG)
        return any(job["tag"] == tag and job.get("ended") == JobState.CANCELLED.value for job in jobs)

    def _write_deadline(self) -> bool:
        """Tell the trainer when the job really ends: the scheduler's word, else what was asked for. Returns whether it said."""
        end = self.scheduler.job_end() if self.scheduler else None
        # A user or an administrator may have changed its time, in both directions; what the policy forbids stays forbidden.
        self.hard_end = min(end, self.until) if end else self.hard_end
        with suppress(
            UserError
        ):  # A full disk: the trainer has the first bound from its environment, and will say so itself.
            bound.write(self.run, self._bound(), self.owner, said_by_scheduler=end is not None)
        return end is not None

    def _bound(self) -> Bound:
        return Bound(self.hard_end, self.last)

    def _wait(self, trainer: TrainerProcesses, others: list[subprocess.Popen[bytes]]) -> int:
        """Wait for the end of this node's processes, then for the other nodes. Returns the exit code, as a shell gives it."""
        asked = time.monotonic()
        while trainer.run():
            time.sleep(0.2)
            # A walltime that was made longer makes no rule laxer; a job that goes on after it was suspended may save.
            if self._is_overdue():
                trainer.child.kill()
            if self.rank == 0:
                self.claim.beat()
            if self.rank == 0 and (self.warned or time.monotonic() - asked > _REREAD_SECONDS):
                asked = time.monotonic()
                self._read_again()
            if self.unwritten:
                self.unwritten = False
                trainer.interrupt()
        code = trainer.end()
        for child in others:
            with suppress(subprocess.TimeoutExpired):
                child.wait(30)
            child.kill()
        return code if code >= 0 else 128 - code

    def _is_overdue(self) -> bool:
        """True if the policy's end of the job is seen to have passed since a while. Counted from when it was first seen: a clock that
        jumps, or a suspension, leaves the trainer time to see so itself, and to save."""
        if time.time() <= self.until:
            self.over_since = math.inf
            return False
        self.over_since = min(self.over_since, time.monotonic())
        return time.monotonic() - self.over_since > _GRACE_SECONDS

    def _read_again(self) -> None:
        """Ask the scheduler for the end of the job. A warning that comes when the end is near is no news to the trainer, who uses
        the time up to it; at any other time, or where the end is not known, it is a request that the job stops."""
        warned, self.warned = self.warned, False
        known = self._write_deadline()
        if warned and (not known or self.hard_end - time.time() > _WARNING_SECONDS):
            self.passed_on = True
            self._ask(ASKED)

    def _handle_signals(self) -> None:
        """Signals may repeat. Warnings are looked at in `_wait`; the others ask the trainer to save and stop."""

        def ask(number: int, frame: object) -> None:
            del frame
            self.told_to_end = True
            self._ask(f"the scheduler sent {signal.Signals(number).name}")

        def warn(number: int, frame: object) -> None:
            del number, frame
            self.warned = True

        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            signal.signal(getattr(signal, name), ask)
        for number in _WARNINGS:
            signal.signal(number, warn)

    def _ask(self, reason: str) -> None:
        """Ask this job's trainers to stop: by a file, else by a signal (`_wait`)."""
        if not self.run.ask_to_stop(reason, self.owner):
            self.unwritten = True

    def _command(self) -> list[str]:
        """The trainer itself where it is alone, else torchrun: one on each node."""
        entry = self.run.experiment().ENTRY
        if self.nodes == 1:
            return command(self.run.folder, self.tasks, entry=entry)
        job = self.claim.job.id or "0"
        # A port of the job's own: two jobs may share a node.
        port = _PORT + int(re.sub(r"[^0-9]", "", job) or 0) % 1000
        meeting = (
            f"--rdzv-endpoint={self.first}:{port}",
            "--rdzv-backend=c10d",
            f"--rdzv-id=ganhpc-{job}",
        )
        return command(self.run.folder, self.tasks, Nodes(self.nodes, meeting, self.rank, self.first, port), entry)

    def _environment(self) -> dict[str, str]:
        mine = bound.environment(self.owner, self._bound() if self.rank == 0 else None)
        return {**os.environ, **trainer_protocol.environment(os.environ, one_machine=self.nodes == 1), **mine}

    def _start_follower(self, rank: int, host: str) -> subprocess.Popen[bytes]:
        """Start this program on another node of the job, where the scheduler starts the script on the first only."""
        assert self.scheduler
        words = [
            sys.executable,
            "-m",
            "ganhpc.node",
            str(self.run.folder),
            f"--walltime={max(1, int(self.hard_end - time.time()))}",
        ]
        words += [f"--tasks={self.tasks}", f"--follower={rank}:{self.nodes}:{self.first}"]
        passed = (
            "PYTHONPATH",
            "GANHPC_SCHEDULER",
            self.scheduler.JOB_VARIABLE,
            "OMP_NUM_THREADS",
            "GANHPC_CONFIG",
            "GANHPC_DATA",
            own_experiments.VARIABLE,
            LAUNCH,
        )
        exports = {k: v for k, v in os.environ.items() if k in passed} | {file_owner.OWNER: self.owner}
        line = script_text.command(["env", *(f"{key}={value}" for key, value in exports.items()), *words])
        line = script_text.shell("cd {} && exec {}", script_text.word(Path.cwd()), line)
        # The shell at the other end is the user's own, whichever that is.
        return subprocess.Popen([*self.scheduler.REMOTE_SHELL, host, script_text.command(["exec", "bash", "-c", line])])


def _job_start(begun: float) -> float:
    """When this job started, a little before this process; `begun` where the scheduler does not say."""
    scheduler = _scheduler_module()
    start = scheduler.job_start() if scheduler else None
    return min(begun, start) if start else begun


def _before_trainer() -> None:
    """In the child: it dies with this process, and warnings, which torchrun would die of, are not for it."""
    die_with_parent()
    for number in _WARNINGS:
        signal.signal(number, signal.SIG_IGN)


def _nobody_says(job: str, tag: str) -> None:
    """Without a scheduler nobody knows whether another job lives."""
    del job, tag


def _scheduler_module() -> NodeSide | None:
    """The node side of this job's scheduler, or None outside a cluster's job."""
    name = os.environ.get("GANHPC_SCHEDULER", "")
    return registry.node_side(name) if name in registry.CLUSTERS else None


if __name__ == "__main__":
    streams.settle()
    main()
