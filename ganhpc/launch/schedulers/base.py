"""Interface of a scheduler: prepare (printable), submit, look at the queue, cancel; and one set of states for all."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import os
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol, TypeVar
from zoneinfo import ZoneInfo

from ganhpc.core.errors import UserError
from ganhpc.core.settings import Settings
from ganhpc.core.subprocesses import Answer
from ganhpc.core.units import counted
from ganhpc.launch.planner.capabilities import Capabilities
from ganhpc.launch.schedulers import script_text
from ganhpc.launch.schedulers.script_text import ScriptText
from ganhpc.runs.job_origin import Origin
from ganhpc.runs.run_files import Entry

JOB_NAME = "ganhpc"
"""The name of every job: Slurm's singleton is one at a time per name and user, so all share it."""


class JobState(str, Enum):
    """States of a job, whatever the scheduler calls them."""

    WAITING = "waiting"
    RUNNING = "running"
    ENDED = "ended"
    """Its script ended with code 0."""
    FAILED = "failed"
    TIMEOUT = "timeout"
    """Killed at the end of its walltime."""
    CANCELLED = "cancelled"
    PREEMPTED = "preempted"
    """Ended by the scheduler for another job, as best effort allows."""
    UNKNOWN = "unknown"
    """The scheduler doesn't know it any more (or has no accounting)."""

    @property
    def alive(self) -> bool:
        """True if it may still run or is running."""
        return self in (JobState.WAITING, JobState.RUNNING)


@dataclass(frozen=True)
class Job:
    """A job as the scheduler has it. Times are seconds since 1970; None: not known."""

    id: str
    state: JobState
    native: str = ""
    """The scheduler's own word for the state."""
    name: str = ""
    tag: str = ""
    """Ours, from the request: the job is found again by it after a crash in the middle of a submission."""
    start: float | None = None
    """When it started, or is expected to."""
    end: float | None = None
    walltime: float | None = None
    exit_code: int | None = None
    reservation: bool = False
    message: str = ""
    """The reason why it waits or ended, in the scheduler's words."""
    after: tuple[str, ...] = ()
    """Jobs that must have ended before it starts."""
    named_start: float | None = None
    """The start that the scheduler itself names for one that waits; None where it names none, whatever is expected in `start`."""
    why: str = ""
    """The reason why it waits or stands still, in plain words."""
    not_before: float | None = None
    """For one that waits: from when on it may need a place of its own; None: from now on."""
    count: int = 1
    """Jobs that a limit on submitted jobs counts it as: the tasks of an array that wait have one line in Slurm's queue."""

    stuck: bool = False
    """True if no waiting lets it start, by what `why` says."""

    def is_among(self, ids: Collection[str]) -> bool:
        """True if one of `ids` is its own, or that of the array whose task it is (7 of 7_2)."""
        return self.id in ids or self.id.partition("_")[0] in ids

    def startable_now(self) -> Job:
        """The job with the present for its start where it waits for others and its scheduler names none: whatever is expected of those, they may end
        at once, and then no begin time holds it back."""
        loose = self.state is JobState.WAITING and self.named_start is None and bool(self.after)
        return dataclasses.replace(self, start=time.time()) if loose else self

    def after_is(self, other: Job) -> bool:
        """True if it waits for `other`."""
        return other.is_among(self.after)


T = TypeVar("T")


@dataclass(frozen=True)
class JobRequest:
    """One job to submit: a segment of a run."""

    tag: str
    run: Path
    segment: int
    seconds: int
    """Walltime."""
    kind: str
    """now, reservation, begin, chain or queue (ganhpc.launch.planner.planner)."""
    start: dt.datetime | None = None
    """For a reservation: exactly then. For begin: not before."""
    deadline: dt.datetime | None = None
    """When it must have ended even if it starts late."""
    until: dt.datetime | None = None
    """When the trainer must have ended, whatever becomes of the job's walltime."""
    most: int | None = None
    """Seconds that the policy allows a job, also one whose walltime is changed later."""
    after: tuple[str, ...] = ()
    """Ids of jobs that must have ended before it starts."""
    alone: bool = True
    """True if it must be the user's only running job."""
    last: bool = True
    """True if the run ends with this job."""
    again: bool = False
    """True if the job goes on by itself, in another of its kind, while its run is not done: for a run whose length is not known."""
    launch: str = ""
    """Common to all jobs of one launch: a crash in one keeps the later ones from repeating it."""
    nodes: int = 1
    gpus_per_node: int = 0
    tasks_per_node: int = 1
    typed_nodes: int | None = None
    typed_gpus: int | None = None
    """As typed, which goes before the settings; None: not typed."""
    threads: int = 1
    """Threads of each of them, where the user says how many."""
    folder: Path | None = None
    """The folder in which the command was typed: setup lines of the settings may name files in it."""

    @property
    def log(self) -> Path:
        """Where the job's words go: the run's log."""
        return self.run / "log.txt"

    def waits_for(self, earlier: Sequence[T]) -> Sequence[T]:
        """The jobs that must have ended first, of the `earlier` ones of its plan: where one runs at a time, every one, whatever the plan hopes. One
        of them alone would free this job if a user took it back while another one runs."""
        if self.alone and self.kind != "reservation":
            return earlier
        return earlier[-1:] if self.kind == "chain" and not self.after else earlier[:0]


@dataclass(frozen=True)
class PreparedJob:
    """A submission, printable to the last word: the script and the command that hands it over."""

    request: JobRequest
    script: str
    argv: tuple[str, ...]
    script_path: Path

    @property
    def command(self) -> ScriptText:
        """The command, quoted for a shell."""
        return script_text.command(self.argv)


class Availability(NamedTuple):
    """True if a scheduler can be used here, and the sentence that says why or why not."""

    here: bool
    why: str
    installed: bool = False
    """True if its commands are here, whatever its server says, or something else tells of them: this machine is part of a cluster then, its frontend
    for instance."""
    way: str = ""
    """Where it is installed and not on the PATH: the step that puts it there."""


def find_job(entry: Entry, queue: Sequence[Job]) -> Job | None:
    """The job of `queue` that a record means: its tag decides, which is random, and its number between jobs of one tag.

    A job that was sent again, or submitted by hand, has its tag and a number that the record does not know yet. A number alone means
    nothing: another cluster, or another user's job, has the same.
    """
    same = [job for job in queue if job.tag and job.tag == entry["tag"]]
    return next((job for job in same if job.id == entry["job_id"]), same[-1] if same else None)


class Refused(Exception):
    """The scheduler said no. `earliest` is when it says that the job could run, where it says so; `unsure`: it may have taken the
    job all the same."""

    def __init__(
        self, sentence: str, code: int | None = None, earliest: dt.datetime | None = None, unsure: bool = False
    ) -> None:
        super().__init__(sentence)
        self.code, self.earliest, self.unsure = code, earliest, unsure


class Scheduler(ABC):
    """One scheduler, as the launcher sees it. Everything that talks to it has a time limit.

    Its module has the node side too (`NodeSide`), unless its jobs run without one.
    """

    name: ClassVar[str]
    """The word for --on and for records; also in the names of its templates: NAME.sh, night_NAME.sh."""
    title: ClassVar[str]
    """Its name in sentences."""
    able: ClassVar[Capabilities]
    """Abilities for the planner, before the settings and its version take some away."""
    command: ClassVar[str] = ""
    """The command that submits: where it is on the PATH, this machine is part of a cluster. Empty: its jobs run on this machine."""
    typed_as: ClassVar[Mapping[str, str]] = {"queue": "queue", "account": "account"}
    """Value of the command line -> field of the settings that it replaces, where another scheduler's differs."""
    lacks: ClassVar[Mapping[str, str]] = {}
    """Value of the command line that it does not know -> what to type instead."""
    typed: Mapping[str, str] = {}
    """Typed options on the place of its jobs, by the names of ganhpc.launch.schedulers.typed_requests; the settings have it already."""
    default_policy = "student"
    """The policy where nobody has named one."""
    codes_of_resources: frozenset[int] = frozenset()
    """Exit codes with which it refuses, among others, requests for what it does not have."""

    def __init__(self, site: Settings) -> None:
        self.site = site

    @functools.cached_property
    def origin(self) -> Origin:
        """This user at this scheduler, asked once a command."""
        return Origin.here(self.name, self.cluster(), self.servers())

    @abstractmethod
    def cluster(self) -> str:
        """The name of its cluster or server, the same on every machine that reaches it; empty where it can't be told."""

    def servers(self) -> tuple[str, ...]:
        """Hosts and ports of its servers, where clusters may share a name; the same on every machine that reaches them."""
        return ()

    @functools.cached_property
    def found(self) -> Availability:
        """Result of `find`, asked once a command: the answer takes a server's time."""
        return self.find()

    def capabilities(self) -> Capabilities:
        """Abilities for the planner, by its version and the settings."""
        return self.able

    @classmethod
    def place(cls, cluster: str) -> str:
        """Its server or cluster in a sentence; `cluster` may be empty."""
        return f"{cls.title} ({cluster})" if cluster else cls.title

    @classmethod
    def off_the_path(cls) -> Availability | None:
        """The answer of `find` where its commands are not on the PATH and something tells of them all the same; None elsewhere."""
        return None

    def ping(self) -> Sequence[str]:
        """A command that succeeds where its server answers."""
        return [self.command]

    def is_up(self, answer: Answer) -> bool:
        """True if the answer to `ping`, which succeeded, says that the server is up."""
        del answer
        return True

    def remark(self) -> str:
        """A remark for `doctor` on a server that answers, such as '; without accounting'."""
        return ""

    def of_type(self, name: str) -> tuple[str, ...] | None:
        """The words for a job type of this name that the settings do not define; None where there is none."""
        del name
        return None

    def asked_resources(self, request: JobRequest) -> str | None:
        """The resources in the scheduler's own words, where the settings name them; None where they are nodes and GPUs."""
        del request
        return None

    @abstractmethod
    def find(self) -> Availability:
        """True if its commands are here and its server answers."""

    @abstractmethod
    def prepare(self, request: JobRequest) -> PreparedJob:
        """The script and the command for `request`. Works on a machine without the scheduler."""

    @abstractmethod
    def submit(self, prepared: PreparedJob) -> str:
        """Hand it over; returns the job's id. Raises Refused."""

    def by_hand(self, prepared: PreparedJob, behind: Sequence[ScriptText] = ()) -> ScriptText:
        """The command for a script that a person runs; `behind`: quoted shell variables with the ids of jobs that must end first."""
        del behind
        return prepared.command

    def own_gpus(self) -> int | None:
        """GPUs on each node that the settings' own words ask for; None where they say nothing of GPUs."""
        return None

    def own_gpus_by(self) -> str:
        """Where those words stand, in a sentence."""
        return "resources in the settings"

    def gpus_of_settings(self) -> int | None:
        """GPUs on each node by the settings; None where they say nothing of GPUs. Raises UserError where they say two numbers."""
        own, named = self.own_gpus(), self.site.gpus_per_node
        if own is not None and named not in (None, own):
            raise UserError(
                f"gpus_per_node is {named} in the settings, and {counted(own, 'GPU')} on each node {'is' if own == 1 else 'are'} asked for by "
                f"{self.own_gpus_by()}: leave out one of the two."
            )
        return own if named is None else named

    def granted(self, job: str, tag: str) -> list[Job]:
        """The job as the scheduler has taken it; several where it made an array of it, or another job with its tag; none where it doesn't
        say. Raises UserError where the server doesn't answer."""
        # A job of the same tag with a smaller number is not of this request.
        found = [
            each for each in self.queue() if each.id == job or (each.tag == tag and _number(each.id) > _number(job))
        ]
        if not any(each.id == job for each in found):
            found += [each for each in self.jobs([job]).values() if each.native]
        return found

    @abstractmethod
    def queue(self) -> list[Job]:
        """This user's jobs that wait or run, started by whatever means. Raises UserError where the server doesn't answer."""

    @abstractmethod
    def jobs(self, ids: Sequence[str]) -> dict[str, Job]:
        """Known facts on the jobs `ids`; those that nobody knows are UNKNOWN."""

    def ended_since(self, moment: float) -> list[Job]:
        """This user's jobs that ended after `moment`, as far as the scheduler can tell."""
        del moment
        return []

    @abstractmethod
    def cancel(self, job: str) -> None:
        """End the job, whether it waits or runs. Raises UserError where that fails."""


def _number(id: str) -> int:
    """The number that a job's id begins with: of a task of an array, the array's."""
    found = re.match(r"\d+", id)
    return int(found[0]) if found else 0


class NodeSide(Protocol):
    """The functions and facts that a scheduler's module has for its jobs on their nodes."""

    JOB_VARIABLE: str
    """The variable with the job's id."""
    REMOTE_SHELL: Sequence[str]
    """The command that reaches the job's other nodes, where the script starts on the first only; empty where it starts on each."""

    def enclosing_job(self) -> str:
        """The id of the job on whose node this process runs; empty elsewhere, on a frontend inside a job's shell too."""

    def cluster_name(self) -> str:
        """The cluster, as the node can tell it, by words that no other has; may be empty."""

    def job_name(self) -> str:
        """A name of this job, and of no other, nor of its own start before it was sent again; empty outside a job."""

    def job_start(self) -> float | None:
        """When this job started, in seconds since 1970; None where the scheduler doesn't say."""

    def job_end(self) -> float | None:
        """When this job really ends, in seconds since 1970; None where the scheduler doesn't say."""

    def lives(self, job: str, tag: str = "") -> bool | None:
        """True if a job runs, with a `tag` the one that has it: another job may have its number by now. None where it can't be told, or it is
        about to end."""

    def hosts(self) -> list[str]:
        """The names of the job's nodes, the first one first."""

    def node_rank(self) -> int:
        """This node's place among the job's nodes."""

    def go_on(self) -> int:
        """Have this job sent again; returns the exit code to end with."""


def server_name(host: str) -> str:
    """A server's host by a name that means the same on every machine."""
    return os.uname().nodename if host.startswith("localhost") else host


def system_zone() -> dt.tzinfo:
    """The zone of this machine's clock (/etc/localtime), whatever TZ says."""
    try:
        with Path("/etc/localtime").open("rb") as file:
            return ZoneInfo.from_file(file)
    except (OSError, ValueError):
        return dt.UTC


def runs_as(job: Job, tag: str) -> bool | None:
    """True if `job` runs and is the one with `tag`, where a tag is given; None where it runs and tells no tag."""
    if job.state is not JobState.RUNNING or (tag and job.tag and job.tag != tag):
        return False
    return None if tag and not job.tag else True


def alive(jobs: Iterable[Job]) -> list[Job]:
    """The jobs of a queue that wait or run. A state that has no name here, of another version, is one in which a job waits: a job that
    its scheduler still lists would else be submitted a second time, or have another one started beside it."""
    named = (dataclasses.replace(job, state=JobState.WAITING) if job.state is JobState.UNKNOWN else job for job in jobs)
    return [job for job in named if job.state.alive]


def with_expected_times(jobs: Sequence[Job], now: float) -> list[Job]:
    """`jobs` with the likely start and end of those that wait, where the scheduler doesn't say: behind the jobs that they wait for.

    The likely start may be missed in both directions. Where the jobs before it end early it takes their place, so it needs one of its own
    (`not_before`) from the last of their ends on.
    """
    known: dict[str, Job] = {}
    left = sorted(jobs, key=lambda job: (len(job.id), job.id))
    while left:
        ready = [job for job in left if not any(job.after_is(other) for other in left)] or left
        for job in ready:
            ends = [other.end for other in known.values() if job.after_is(other)]
            start = job.start or max([now, *(end for end in ends if end)])
            walltime = job.walltime or 0.0
            likely = start + walltime if walltime and None not in ends and job.state is JobState.WAITING else None
            end = job.end or likely
            known[job.id] = dataclasses.replace(job, start=start, end=end, not_before=_not_before(job, ends))
        left = [job for job in left if job.id not in known]
    return [known[job.id] for job in jobs]


def _not_before(job: Job, ends: Sequence[float | None]) -> float | None:
    if None in ends:
        return job.not_before
    return max((moment for moment in (job.not_before, *ends) if moment is not None), default=None)


@dataclass
class Stated:
    """One table of native states, for one scheduler."""

    table: dict[str, JobState] = field(default_factory=dict)

    def read(self, native: str) -> JobState:
        """Our state for the scheduler's word; a word that is not in the table is UNKNOWN."""
        return self.table.get(native.split()[0].rstrip("+") if native else "", JobState.UNKNOWN)
