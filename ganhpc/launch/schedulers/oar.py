"""OAR 2.5 and 3, through submitit_oar's executor. The facts behind each workaround are in docs/schedulers-notes.md."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import re
import shutil
import socket
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from ganhpc.core.errors import UserError
from ganhpc.core.files import read_text
from ganhpc.core.subprocesses import Answer, ask
from ganhpc.core.whoami import user_name
from ganhpc.launch.planner.capabilities import Capabilities
from ganhpc.launch.schedulers import (
    missing_commands,
    oar_options,
    oar_request,
    option_words,
    own_addresses,
    script_text,
)
from ganhpc.launch.schedulers.base import (
    JOB_NAME,
    Availability,
    Job,
    JobRequest,
    JobState,
    PreparedJob,
    Refused,
    Scheduler,
    alive,
    runs_as,
    server_name,
    with_expected_times,
)
from ganhpc.launch.schedulers.job_script import node_command, setup_lines
from ganhpc.launch.schedulers.oar_output import job_of, local, refusal, trees
from ganhpc.launch.schedulers.script_text import ScriptText

SECONDS = 30.0
"""Seconds that one of OAR's commands may take before it is said to hang."""
_CHECKPOINT_SECONDS = 120
"""OAR's signal comes about ten seconds late, then again every ten: less than two minutes leaves too little."""
_SETTINGS = Path("/etc/oar/oar.conf")
SECURITY = dt.timedelta(seconds=60)
"""Seconds that OAR keeps free behind a job: a deadline must leave it."""
_AGAIN_CODE = 99
"""The exit code after which OAR sends an idempotent job again."""


class Oar(Scheduler):
    """OAR as its frontend has it: requests, the queue, what became of jobs."""

    name, title, command = "oar", "OAR", "oarsub"
    able = Capabilities("oar", reservations=True, begin=True)
    typed_as = {"queue": "queue", "account": "project"}
    lacks = {"qos": "OAR has no qualities of service: type --queue or --type"}
    codes_of_resources = frozenset({5, 8, 255})

    def find(self) -> Availability:
        if not shutil.which("oarsub"):
            return self.off_the_path() or Availability(False, "oarsub is not on the PATH")
        answer = ask([*self.ping(), "-J"], 10)
        if answer.code is None:
            return Availability(False, "oarsub is here, but OAR's server doesn't answer (10 s)", installed=True)
        if answer.code != 0:
            why = f"oarsub is here, but oarstat fails ({answer.last_words or f'code {answer.code}'})"
            return Availability(False, why, installed=True)
        return Availability(True, "oarsub is here and OAR's server answers", installed=True)

    @classmethod
    def off_the_path(cls) -> Availability | None:
        if other := next((name for name in ("oarstat", "oardel") if shutil.which(name)), None):
            return Availability(False, f"oarsub is not on the PATH, though {other} is", installed=True)
        if module := missing_commands.module_of("oar"):
            why = "oarsub is not on the PATH, though this machine has a module of OAR"
            return Availability(False, why, installed=True, way=f"`{module}`")
        return None

    def ping(self) -> list[str]:
        return ["oarstat", "-u", user_name()]

    @classmethod
    def place(cls, cluster: str) -> str:
        return f"{cls.title} of {cluster}" if cluster else cls.title

    def of_type(self, name: str) -> tuple[str, ...]:
        return (f"-t '{name}'",) if "'" not in name else (f"-t {name}",)

    def asked_resources(self, request: JobRequest) -> str | None:
        own = self.site.resources
        return oar_request.with_typed(own, request.typed_nodes, request.typed_gpus) if own else None

    def cluster(self) -> str:
        """The site: the domain of its machines, such as grenoble.grid5000.fr; without one, OAR's server where its settings can be read,
        else this host."""
        if domain := _domain():
            return domain
        return server_name(_setting("SERVER_HOSTNAME") or "localhost")

    def servers(self) -> tuple[str, ...]:
        """The server, where its settings can be read: a domain may have several."""
        host, port = _setting("SERVER_HOSTNAME"), _setting("SERVER_PORT")
        if not host:
            return ()
        # One frontend may name the server by an alias, which is all that is known while no name server answers; the server's own machine may
        # know itself as localhost.
        names = (socket.getfqdn(server_name(host)), server_name(host))
        known = (name.partition(".")[0] for name in names if not name.startswith("localhost"))
        return tuple(dict.fromkeys(f"{name}:{port or 6666}" for name in known))

    def old_types(self) -> bool:
        """True if the job types postpone and deadline are there: OAR 2 has them, OAR 3's rules reject them.

        Where oarsub is missing (a dry run elsewhere) the answer is for OAR 2.5.
        """
        if not hasattr(self, "_old_types"):
            answer = ask(["oarsub", "--version"], 10) if shutil.which("oarsub") else None
            version = re.search(r"version\s*:?\s*(\d+)\.\d+", answer.out + answer.err) if answer else None
            self._old_types = version is None or int(version[1]) < 3
        return self._old_types

    def capabilities(self) -> Capabilities:
        # Without postpone, a reservation is the only way to hold a job back.
        hours = next((name for name in self._types() if name in ("night", "day")), "")
        return Capabilities(self.name, reservations=not self._besteffort(), begin=self.old_types(), hours=hours)

    def _types(self) -> list[str]:
        return [word.value.strip() for word in self._further() if word.name == "type"]

    def _besteffort(self) -> bool:
        """True if jobs are besteffort, by their type or their queue, which OAR takes no reservation for."""
        queues = [self.site.queue, *(word.value.strip() for word in self._further() if word.name == "queue")]
        return "besteffort" in (*queues, *self._types())

    def prepare(self, request: JobRequest) -> PreparedJob:
        # A job that OAR sends again is a new one, which those that wait for the old one don't know.
        request = dataclasses.replace(request, again=request.again and not request.alone)
        if self.site.container and request.nodes > 1:
            raise UserError(
                f"--nodes {request.nodes}: OAR's other nodes are reached outside of any container: leave out one of the two."
            )
        for kind, _, outer in (word.partition("=") for word in self._types()):
            if kind.strip() == "inner" and outer.strip() in request.after:
                raise UserError(
                    f"-t inner={outer.strip()} runs inside job {outer.strip()}, which is yours and for whose end the rule of one job has it wait: "
                    "name another --policy, or leave the type out."
                )
        path = request.run / "jobs" / f"{request.tag}.sh"
        script = script_text.fill(
            "oar.sh",
            segment=script_text.number(request.segment),
            run=script_text.comment(request.run.name),
            setup=setup_lines(self.site, self.name, request),
            command=node_command(self.site, request),
        )
        # oarsub gives its last word to a shell on the node.
        argv = ("oarsub", *self._options(request), script_text.in_any_shell(path))
        return PreparedJob(request, script, argv, path)

    def _options(self, request: JobRequest) -> Iterator[str]:
        yield from ("-n", f"{JOB_NAME}:{request.tag}", "-l", self._resources(request))
        # OAR goes into this folder on the node, by itself in a line of Perl: a name with an apostrophe, or one that the node does not
        # have, ends the job, and may put the node out of service. Without -d it takes the folder in which oarsub is typed.
        yield from ("-d", "/")
        # The script opens the log. OAR would wait for whatever has taken the log's place since the job was submitted.
        yield from ("-O", "/dev/null", "-E", "/dev/null")
        if request.seconds > 2 * _CHECKPOINT_SECONDS:
            yield from ("--checkpoint", str(_CHECKPOINT_SECONDS))
        if request.again:
            yield from ("-t", "idempotent")
        if request.kind == "reservation":
            assert request.start, "a reservation has a start"
            yield from ("-r", local(request.start))
        elif self.old_types():
            if request.start and request.kind == "begin":
                yield from ("-t", f"postpone={local(request.start)}")
            if request.deadline:
                yield from ("-t", f"deadline={local(request.deadline + SECURITY)}")
        for job in request.after:
            yield from ("-a", job)
        # Of two words for one thing oarsub takes the later: what is typed goes before options.
        yield from (word for option in self._further() for word in option.typed)
        for flag, key in (("-q", "queue"), ("--project", "project")):
            if value := getattr(self.site, key):
                yield from (flag, option_words.plain_name(value, key))
        if properties := oar_request.properties(self.site):
            yield from ("-p", script_text.argument(properties, "properties"))
        if self.site.mail:
            yield from ("--notify", f"[END,ERROR]mail:{script_text.argument(self.site.mail, 'mail')}")

    def _further(self) -> list[option_words.Word]:
        return option_words.read(oar_options.OAR, self.site.options, self.site.by_type)

    def own_gpus(self) -> int | None:
        return oar_request.gpus(self.site.resources) if self.site.resources else None

    def _resources(self, request: JobRequest) -> str:
        hours, rest = divmod(request.seconds, 3600)
        walltime = f"walltime={hours}:{rest // 60:02d}:{rest % 60:02d}"
        if self.site.resources:
            text = script_text.argument(oar_request.checked(self.site.resources, "resources"), "resources")
            return f"{oar_request.of_one_node(oar_request.with_typed(text, request.typed_nodes, request.typed_gpus))},{walltime}"
        gpus = f"/gpu={request.gpus_per_node}" if request.gpus_per_node else ""
        return f"/nodes={request.nodes}{gpus},{walltime}"

    def submit(self, prepared: PreparedJob) -> str:
        from ganhpc.launch.schedulers import oar_submit

        try:
            return oar_submit.submit(prepared, SECONDS)
        except Refused as refused:
            raise refusal(refused) from None

    def by_hand(self, prepared: PreparedJob, behind: Sequence[ScriptText] = ()) -> ScriptText:
        first, *rest = prepared.argv
        waits = " -a {}" * len(behind)
        return script_text.shell(f"{{}}{waits} {{}}", script_text.word(first), *behind, script_text.command(rest))

    # -- looking ------------------------------------------------------------------------------------------------------

    def queue(self) -> list[Job]:
        answer = ask(["oarstat", "-u", user_name(), "-f", "-J"], SECONDS)
        try:
            if answer.code != 0 or _lost_its_database(answer):
                raise ValueError(_why(answer))
            jobs = alive(map(job_of, trees(answer.out)))
        except ValueError as why:
            raise UserError(f"OAR's queue can't be read ({why}): try again, or look at `oarstat` yourself.") from None
        return with_expected_times(jobs, time.time())

    def granted(self, job: str, tag: str) -> list[Job]:
        found = super().granted(job, tag)
        return [each.startable_now() if each.native == "Waiting" else each for each in found]

    def jobs(self, ids: Sequence[str]) -> dict[str, Job]:
        found = {id: Job(id, JobState.UNKNOWN) for id in ids}
        if ids:
            answer = ask(["oarstat", "-f", "-J", *(word for id in ids for word in ("-j", id))], SECONDS)
            try:
                known = [job_of(tree) for tree in trees(answer.out)] if answer.code == 0 else []
            except ValueError:
                known = []
            found |= {job.id: self._judged(job) for job in known if job.id in found}
        return found

    def ended_since(self, moment: float) -> list[Job]:
        # --gantt would tell of the whole site, and for a moment the expected end of a job that has just ended.
        name = user_name().replace("'", "''")
        condition = f"job_user = '{name}' AND stop_time >= {int(moment)}"
        answer = ask(["oarstat", "-f", "-J", "--sql", condition], SECONDS)
        try:
            if answer.code != 0 or _lost_its_database(answer):
                raise ValueError(_why(answer))
            jobs = [job_of(tree) for tree in trees(answer.out)]
        except ValueError as why:
            raise UserError(
                f"OAR doesn't say which of your jobs ended today ({why}), and the day quota counts them: try again in a minute."
            ) from None
        return [job for job in jobs if not job.state.alive and job.start and (job.end or moment + 1) > moment]

    def _judged(self, job: Job) -> Job:
        """Terminated only means over, and a kill at the walltime is an Error that only its events tell apart."""
        if job.state not in (JobState.ENDED, JobState.FAILED):
            return job
        if job.state is JobState.FAILED and re.search(r"never run|expired", job.message):
            return dataclasses.replace(job, state=JobState.TIMEOUT)
        events = ask(["oarstat", "-e", "-j", job.id], SECONDS).out
        # A request to end it follows; a trainer that saves in time ends like any other.
        if "BESTEFFORT_KILL" in events:
            return dataclasses.replace(job, state=JobState.PREEMPTED)
        if job.state is JobState.ENDED:
            if job.exit_code not in (None, 0, _AGAIN_CODE):
                return dataclasses.replace(job, state=JobState.FAILED)
            # A besteffort job with --checkpoint is asked to save first, and is not killed where it ends within that time.
            asked = "(metasched) requested a checkpoint" in events
            return dataclasses.replace(job, state=JobState.PREEMPTED) if asked else job
        if "WALLTIME" in events:
            return dataclasses.replace(job, state=JobState.TIMEOUT)
        if "FRAG_JOB_REQUEST" in events:
            return dataclasses.replace(job, state=JobState.CANCELLED)
        return job

    def cancel(self, job: str) -> None:
        answer = ask(["oardel", job], SECONDS)
        if answer.code not in (0, 6):
            raise UserError(f"OAR's job {job} can't be cancelled ({_why(answer)}): try `oardel {job}` yourself.")


def _domain() -> str:
    """The domain of this machine, which all machines of its site share; empty where it has none."""
    host = socket.getfqdn()
    return "" if host.startswith("localhost") else host.partition(".")[2]


def _settings() -> Path:
    """The settings that OAR's commands read. Installed set-user-ID, they set OARCONFFILE themselves, whatever the user has in it: one
    cluster is one, and its day quota too, with any value of it."""
    command = shutil.which("oarsub")
    own = command is not None and bool(Path(command).stat().st_mode & stat.S_ISUID)
    return _SETTINGS if own else Path(os.environ.get("OARCONFFILE") or _SETTINGS)


def _setting(name: str) -> str:
    """A value in the settings that OAR's commands read; empty where there is none: on most machines they are for OAR itself to read."""
    with suppress(OSError, UserError):
        if found := re.search(rf"""^\s*{name}\s*=\s*["']?([\w.-]+)""", read_text(_settings()), re.MULTILINE):
            return found[1]
    return ""


def _lost_its_database(answer: Answer) -> bool:
    """Where the database fails, oarstat says so and ends with 0; without any job it prints nothing."""
    return re.search(r"\bDB[DI]\b", answer.err) is not None


def _why(answer: Answer) -> str:
    return f"no answer in {SECONDS:g} s" if answer.code is None else answer.last_words or f"exit code {answer.code}"


# -- on the node (ganhpc.launch.schedulers.base.NodeSide) -----------------------------------------------------------------

JOB_VARIABLE = "OAR_JOB_ID"
REMOTE_SHELL = ("oarsh",)


def enclosing_job() -> str:
    """The job on whose node this process runs: `oarsub -C` sets the job's variables on the frontend too."""
    job = os.environ.get(JOB_VARIABLE, "")
    return job if job.isdigit() and own_addresses.is_one_of(os.environ.get("OAR_NODEFILE", "")) else ""


def cluster_name() -> str:
    """The site: each has numbers of jobs of its own, and group storage is seen from several."""
    return _domain()


def job_start() -> float | None:
    """When this job started, in seconds since 1970."""
    job = _this_job()
    return job.start if job else None


def job_end() -> float | None:
    """When this job really ends, in seconds since 1970: a reservation that started late keeps its end."""
    job = _this_job()
    return job.start + job.walltime if job and job.start and job.walltime else None


def _this_job() -> Job | None:
    answer = ask(["oarstat", "-f", "-J", "-j", os.environ.get("OAR_JOB_ID", "")], 15)
    try:
        found = trees(answer.out) if answer.code == 0 else []
    except ValueError:
        return None
    return job_of(found[0]) if found else None


def job_name() -> str:
    """Identity of this job, and no other; empty outside a job. OAR_JOB_NAME has our tag."""
    job = os.environ.get("OAR_JOB_ID")
    return f"oar job {job} {os.environ.get('OAR_JOB_NAME', '')}".rstrip() if job else ""


def lives(job: str, tag: str = "") -> bool | None:
    """On the node: whether a job runs, the one with `tag` where there is one; None where it can't be told, or it is about to end."""
    answer = ask(["oarstat", "-f", "-J", "-j", job], 15)
    try:
        found = [job_of(tree) for tree in trees(answer.out)] if answer.code == 0 else None
    except ValueError:
        found = None
    # A server keeps every job: one that this one does not know is another server's.
    if not found or any(job.native == "Finishing" for job in found):
        return None
    return runs_as(next((job for job in found if job.state is JobState.RUNNING), found[0]), tag)


def hosts() -> list[str]:
    """The names of the job's nodes, the first one first."""
    try:
        lines = read_text(os.environ.get("OAR_NODEFILE", "")).split()
    except (OSError, UserError):
        return []
    return list(dict.fromkeys(lines))


def node_rank() -> int:
    """OAR starts the script on the first node only; the others hear from it."""
    return 0


def go_on() -> int:
    """The exit code that makes OAR send this job again."""
    return _AGAIN_CODE
