"""Slurm, through submitit's executor. `squeue` gives the queue, `sacct` (where there is accounting) what became of jobs."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import os
import re
import shlex
import shutil
import time
from collections.abc import Iterator, Sequence

from ganhpc.core.errors import UserError
from ganhpc.core.subprocesses import Answer, ask
from ganhpc.core.units import counted
from ganhpc.core.whoami import user_name
from ganhpc.launch.planner.capabilities import Capabilities
from ganhpc.launch.schedulers import missing_commands, option_words, script_text, slurm_options, slurm_partitions
from ganhpc.launch.schedulers.base import (
    JOB_NAME,
    Availability,
    Job,
    JobRequest,
    JobState,
    PreparedJob,
    Scheduler,
    alive,
    runs_as,
    server_name,
    with_expected_times,
)
from ganhpc.launch.schedulers.job_script import node_command, setup_lines
from ganhpc.launch.schedulers.script_text import ScriptText
from ganhpc.launch.schedulers.slurm_output import (
    ACCOUNT_FIELDS,
    FIELDS,
    MARK,
    SEPARATOR,
    accounted_job,
    checked,
    instant,
    is_left_over,
    jobs_of,
)

SECONDS = 30.0
"""Seconds that one of Slurm's commands may take before it is said to hang."""
_SIGNAL_SECONDS = 120
"""Slurm may send its signal up to a minute early or late; the trainer knows the end of the job anyway."""

_SETTINGS = ("/etc/slurm/slurm.conf", "/etc/slurm-llnl/slurm.conf", "/run/slurm/conf/slurm.conf")
"""Files that machines of a cluster have, its frontends too."""
_SQUEUE = ("squeue", "-h", "-a")
"""-a: a job in a hidden partition, which a plain squeue leaves out, counts too."""


class Slurm(Scheduler):
    """Slurm as its login node has it: requests, the queue, what became of jobs."""

    name, title, command = "slurm", "Slurm", "sbatch"
    able = Capabilities("slurm", begin=True)
    typed_as = {"queue": "partition", "account": "account"}
    lacks = {"cluster": "a Slurm has one cluster: type --partition or --constraint"}
    codes_of_resources = frozenset({1})

    def find(self) -> Availability:
        if not shutil.which("sbatch"):
            return self.off_the_path() or Availability(False, "sbatch is not on the PATH")
        answer = ask(self.ping(), 10)
        if answer.code is None:
            return Availability(False, "sbatch is here, but Slurm's server doesn't answer (10 s)", installed=True)
        if not self.is_up(answer):
            said = answer.last_words or "`scontrol ping` says nothing"
            return Availability(False, f"sbatch is here, but Slurm's server is down ({said})", installed=True)
        return Availability(True, "sbatch is here and Slurm's server answers", installed=True)

    @classmethod
    def off_the_path(cls) -> Availability | None:
        if other := next((name for name in ("squeue", "scontrol", "srun") if shutil.which(name)), None):
            return Availability(False, f"sbatch is not on the PATH, though {other} is", installed=True)
        if module := missing_commands.module_of("slurm"):
            why = "sbatch is not on the PATH, though this machine has a module of Slurm"
            return Availability(False, why, installed=True, way=f"`{module}`")
        if file := missing_commands.first_of((os.environ.get("SLURM_CONF", ""), *_SETTINGS)):
            why = f"sbatch is not on the PATH, though {file} is there"
            return Availability(False, why, installed=True, way="put the folder of sbatch on the PATH")
        return None

    def ping(self) -> list[str]:
        return ["scontrol", "ping"]

    def is_up(self, answer: Answer) -> bool:
        return " UP" in answer.out

    def remark(self) -> str:
        accounting = ask(["sacct", "-n", "-X", "-S", "now"], SECONDS).code == 0
        return "" if accounting else "; without accounting (sacct), so old jobs are forgotten"

    @classmethod
    def place(cls, cluster: str) -> str:
        return f"the {cls.title} cluster {cluster!r}" if cluster else cls.title

    def cluster(self) -> str:
        found = re.search(r"^ClusterName\s*=\s*(\S+)", self._configuration, re.MULTILINE)
        return found[1] if found else ""

    def servers(self) -> tuple[str, ...]:
        return _servers(self._configuration)

    @functools.cached_property
    def _configuration(self) -> str:
        return _configuration()

    def prepare(self, request: JobRequest) -> PreparedJob:
        slurm_options.check_defaults(self.cluster)
        path = request.run / "jobs" / f"{request.tag}.sh"
        script = script_text.fill(
            "slurm.sh",
            segment=script_text.number(request.segment),
            run=script_text.comment(request.run.name),
            directives=script_text.lines(self._directives(request)),
            setup=setup_lines(self.site, self.name, request),
            own=script_text.further(slurm_options.against_defaults(self.cluster, request.nodes)),
            command=node_command(self.site, request),
        )
        decided = (f"--{key}={value}" if value else f"--{key}" for key, value in self._decided(request))
        return PreparedJob(request, script, ("sbatch", *decided, str(path)), path)

    def _directives(self, request: JobRequest) -> Iterator[ScriptText]:
        for key, value in self._decided(request):
            yield script_text.directive(key, value)
        # Of two words for one thing Slurm takes the later: what is typed goes before the settings.
        for option in self._further():
            yield script_text.raw_directive(shlex.join(option.typed), "options")
        for key, value in self._asked(request):
            yield script_text.directive(key, value)

    def _decided(self, request: JobRequest) -> Iterator[tuple[str, str]]:
        """The policy's and the plan's words. They stand on the command line, which goes before the environment and the script."""
        # Slurm counts in minutes and rounds up; an edge must not be crossed by the rounding.
        minutes = max(1, request.seconds // 60)
        yield "job-name", JOB_NAME
        yield "comment", f"{MARK}{request.tag}"
        yield "time", f"{minutes // 60}:{minutes % 60:02d}:00"
        # The script opens the log. Slurm would wait for whatever has taken the log's place since the job was submitted.
        yield "output", "/dev/null"
        # Every node has it; the folder in which the command was typed may be one that no node has.
        yield "chdir", "/"
        # A requeued job starts over on its own; the run folder makes it go on.
        yield "requeue", ""
        yield (
            "signal",
            f"USR2@{_SIGNAL_SECONDS if request.seconds > 2 * _SIGNAL_SECONDS else max(1, request.seconds // 4)}",
        )
        if request.start and request.kind in ("begin", "reservation"):
            yield "begin", _local(request.start)
        if request.deadline:
            yield "deadline", _local(request.deadline)
        if conditions := _conditions(request):
            yield "dependency", conditions

    def _asked(self, request: JobRequest) -> Iterator[tuple[str, str]]:
        """Resources of the job."""
        yield "nodes", str(request.nodes)
        yield "ntasks-per-node", "1"
        if (cores := request.tasks_per_node * request.threads) > 1:
            # Of Slurm's one task: a core at least for each process that torchrun starts in it, and for each thread that was asked for.
            yield "cpus-per-task", str(cores)
        asks = request.gpus_per_node > 0 and self._asks_gpus(request)
        typed, model = self.typed.get("gpu_model"), self.site.gpu_model
        if not asks and (typed or (model and request.gpus_per_node)):
            way = "no GPU is asked for: leave it out, or leave out --device cpu or --gpus-per-node 0"
            if request.gpus_per_node:
                way = f"the GPUs are asked for by {self.own_gpus_by()}: name it there, or write gpus_per_node in the settings instead"
            named = f"--gpu-model {typed}" if typed else f"gpu_model = {model!r} in the settings"
            raise UserError(f"{named} names a kind of GPU, and {way}.")
        if asks:
            name = option_words.plain_name(model, "gpu_model") if model else ""
            if re.search(r"[,:=\s]", name):
                raise UserError(
                    f"gpu_model is {name!r}, which may mean several: write one name as `scontrol show node` has it."
                )
            kind = f"{name}:" if name else ""
            yield "gpus-per-node", f"{kind}{request.gpus_per_node}"
        for key in ("partition", "account", "qos", "constraint"):
            if value := getattr(self.site, key):
                yield key, option_words.plain_name(value, key)
        if self.site.mail:
            yield "mail-user", self.site.mail
            yield "mail-type", "END,FAIL"

    def _further(self) -> list[option_words.Word]:
        return option_words.read(slurm_options.SLURM, self.site.options, self.site.by_type)

    def own_gpus(self) -> int | None:
        counts = [slurm_options.gpus(word) for word in self._further()]
        return next((count for count in counts if count is not None), None)

    def _asks_gpus(self, request: JobRequest) -> bool:
        """True if the GPUs are still to be asked for, since no further word of the settings does. Raises UserError where such words ask for
        others than were typed."""
        own, by = self.own_gpus(), self.own_gpus_by()
        if request.nodes > 1 and any(word.name == "gpus" for word in self._further()):
            raise UserError(
                f"--nodes {request.nodes} is typed, and the GPUs of all nodes together are asked for by {by} (--gpus): write gpus_per_node in "
                "the settings instead."
            )
        if own is not None and request.typed_gpus not in (None, own):
            raise UserError(
                f"--gpus-per-node {request.typed_gpus} is typed, and {counted(own, 'GPU')} on each node {'is' if own == 1 else 'are'} asked for by "
                f"{by}: leave out one of the two (gpus_per_node = {own} in the settings may be typed over)."
            )
        return own is None

    def own_gpus_by(self) -> str:
        options = option_words.read(slurm_options.SLURM, self.site.options)
        in_options = any(slurm_options.gpus(word) is not None for word in options)
        return "options in the settings" if in_options else "the job type (--type)"

    def submit(self, prepared: PreparedJob) -> str:
        from ganhpc.launch.schedulers import slurm_submit

        return slurm_submit.submit(prepared, SECONDS)

    def by_hand(self, prepared: PreparedJob, behind: Sequence[ScriptText] = ()) -> ScriptText:
        if not behind:
            return prepared.command
        # What stands on the command line takes the place of what stands in the script.
        conditions = _conditions(dataclasses.replace(prepared.request, after=(*prepared.request.after, "")))
        words = [word for word in prepared.argv if not word.startswith("--dependency=")]
        waits = script_text.command([words[0], f"--dependency={conditions}"])
        ids = script_text.shell(":".join(["{}"] * len(behind)), *behind)
        return script_text.shell("{}{} {}", waits, ids, script_text.command(words[1:]))

    # -- looking ------------------------------------------------------------------------------------------------------

    def granted(self, job: str, tag: str) -> list[Job]:
        found = super().granted(job, tag)
        return [self._judged(each.startable_now() if each.message == "Dependency" else each) for each in found]

    def _judged(self, job: Job) -> Job:
        """A job that waits behind others says of itself no more than that: its partition's longest time is asked for."""
        if job.state is not JobState.WAITING or job.walltime is None or not slurm_partitions.hides(job.message):
            return job
        names = _field(job.id, "%P").split(",")
        told = ask(["scontrol", "-a", "show", "partition"], SECONDS).out
        why = slurm_partitions.never_starts(job.walltime, names, told)
        return dataclasses.replace(job, why=why, stuck=True) if why else job

    def queue(self) -> list[Job]:
        answer = self._of_this_user()
        if answer.code != 0:
            raise UserError(f"Slurm's queue can't be read ({_why(answer)}): try again, or look at `squeue` yourself.")
        now = time.time()
        return with_expected_times([job for job in alive(jobs_of(answer.out)) if not is_left_over(job, now)], now)

    def jobs(self, ids: Sequence[str]) -> dict[str, Job]:
        found = {id: Job(id, JobState.UNKNOWN) for id in ids}
        if not ids:
            return found
        wanted = set(ids)
        answer = self._of_this_user("-t", "all")
        if answer.code == 0:
            found |= {job.id: job for job in jobs_of(answer.out) if job.id in wanted}
        lost = [id for id in ids if found[id].state is JobState.UNKNOWN]
        if lost and shutil.which("sacct"):
            command = ["sacct", "-X", "-n", "-P", "-j", ",".join(lost), "-o"]
            answer = ask([*command, f"{ACCOUNT_FIELDS},SubmitLine"], SECONDS, {"SLURM_TIME_FORMAT": "%s"})
            if answer.code != 0:  # before 21.08 it keeps no line
                answer = ask([*command, ACCOUNT_FIELDS], SECONDS, {"SLURM_TIME_FORMAT": "%s"})
            # Without accounting sacct says so on standard error and ends with 1: the run folders then tell.
            found |= {
                job.id: job for line in answer.out.splitlines() if (job := accounted_job(line)) and job.id in wanted
            }
        return found

    def ended_since(self, moment: float) -> list[Job]:
        found: list[Job] = []
        if shutil.which("sacct"):
            since = dt.datetime.fromtimestamp(moment).strftime("%Y-%m-%dT%H:%M:%S")
            # Tasks of arrays by the numbers that squeue gives them too, or each would count twice.
            fields = "JobID,State,ExitCode,Start,End"
            # Without accounting sacct says so on standard error: what the launchers noted themselves then counts.
            answer = ask(
                # -D: with what a job did before it was sent again.
                ["sacct", "-D", "-X", "-n", "-P", "-u", user_name(), "-S", since, "-o", fields],
                SECONDS,
                {"SLURM_TIME_FORMAT": "%s"},
            )
            if answer.code != 0 and not re.search("accounting storage is disabled", answer.err, re.I):
                raise UserError(_NO_ENDED.format(_why(answer)))
            found = [_run_of(job) for line in answer.out.splitlines() if (job := accounted_job(line))]
        # Accounting hears of an end a little later than the controller.
        answer = self._of_this_user("-t", "all")
        if answer.code != 0:
            raise UserError(_NO_ENDED.format(_why(answer)))
        each_run = {(job.id, job.start): job for job in (*found, *jobs_of(answer.out))}
        now = time.time()
        over = [job for job in each_run.values() if not job.state.alive or is_left_over(job, now)]
        return [job for job in over if job.start and (job.end or moment + 1) > moment]

    def _of_this_user(self, *words: str) -> Answer:
        """The jobs of the process's own user. squeue takes no user without a name (a container), and tells of none of his jobs."""
        name = user_name()
        if name != str(os.getuid()):  # the number of a student is a name
            return self._squeue(*words, "-u", name)
        answer = checked(ask([*_SQUEUE, *words, "-o", "%U %A"], SECONDS))
        own = sorted({line.split()[1] for line in answer.out.splitlines() if line.split()[:1] == [name]})
        return self._squeue(*words, "-j", ",".join(own)) if own else Answer(answer.code, "", answer.err)

    def _squeue(self, *words: str) -> Answer:
        # JSON ignores the filters in 22.05, so: fields with a separator that few names have, times as seconds since 1970.
        # An array's list of tasks is cut after 64 characters unless told otherwise.
        env = {"SLURM_TIME_FORMAT": "%s", "SLURM_BITSTR_LEN": "0"}
        return checked(ask([*_SQUEUE, *words, "-o", FIELDS], SECONDS, env), SEPARATOR)

    def cancel(self, job: str) -> None:
        answer = ask(["scancel", job], SECONDS)
        if answer.code != 0 and "Invalid job id" not in answer.err:
            raise UserError(f"Slurm's job {job} can't be cancelled ({_why(answer)}): try `scancel {job}` yourself.")


def _run_of(job: Job) -> Job:
    """A job as accounting has it, where it was sent again as one that has ended: what comes of it now has a line of its own."""
    again = job.native.startswith("REQUEUE") and job.end is not None
    return dataclasses.replace(job, state=JobState.ENDED) if again else job


_NO_ENDED = (
    "Slurm doesn't say which of your jobs ended today ({}), and the day quota counts them: try again in a minute."
)


def _conditions(request: JobRequest) -> str:
    """Conditions for the job's start; a comma means all of them."""
    conditions = ["singleton"] if request.alone else []
    if request.after:
        conditions.append("afterany:" + ":".join(request.after))
    return ",".join(conditions)


def _why(answer: Answer) -> str:
    return f"no answer in {SECONDS:g} s" if answer.code is None else answer.last_words or f"exit code {answer.code}"


def _field(job: str, field: str) -> str:
    """One field of a job as squeue prints it; empty where squeue gives no answer."""
    answer = ask([*_SQUEUE, "-j", job, "-o", field], 15, {"SLURM_TIME_FORMAT": "%s"})
    return answer.out.strip() if answer.code == 0 else ""


def _configuration() -> str:
    """The configuration in use, as its server tells it."""
    return ask(["scontrol", "show", "config"], SECONDS).out if shutil.which("scontrol") else ""


def _servers(configuration: str) -> tuple[str, ...]:
    hosts = re.findall(r"^SlurmctldHost(?:\[\d+\])?\s*=\s*([^\s(]+)", configuration, re.MULTILINE)
    port = re.search(r"^SlurmctldPort\s*=\s*(\S+)", configuration, re.MULTILINE)
    names = (server_name(host).partition(".")[0] for host in hosts)
    return tuple(f"{name}:{port[1]}" if port else name for name in names)


def _local(moment: dt.datetime) -> str:
    """`moment` on this machine's clock, as sbatch reads it; a time that comes twice, as the clock is set back, in seconds since 1970."""
    here = moment.astimezone()
    wall = here.replace(tzinfo=None)
    if wall.timestamp() != wall.replace(fold=1).timestamp():
        return f"uts{int(here.timestamp())}"
    return wall.strftime("%Y-%m-%dT%H:%M:%S")


# -- on the node (ganhpc.launch.schedulers.base.NodeSide) -----------------------------------------------------------------

JOB_VARIABLE = "SLURM_JOB_ID"
REMOTE_SHELL = ()


def enclosing_job() -> str:
    """The job on whose node this process runs: `salloc` sets the job's variables on the frontend too, but not its node's name. A start-up file
    or an editor may keep the variables of a job that has ended."""
    job = os.environ.get(JOB_VARIABLE, "")
    there = job.isdigit() and bool(os.environ.get("SLURMD_NODENAME"))
    return job if there and lives(job) is not False else ""


def cluster_name() -> str:
    """The cluster, where Slurm names it, and its servers: names of clusters are not unique."""
    return " ".join([os.environ.get("SLURM_CLUSTER_NAME", ""), *_servers(_configuration())]).strip()


def job_start() -> float | None:
    """On the node: when this job started, in seconds since 1970."""
    return _of_this_job("%S")


def job_end() -> float | None:
    """On the node: when this job really ends, in seconds since 1970."""
    end = _of_this_job("%e")
    return end if end is not None else instant(os.environ.get("SLURM_JOB_END_TIME", ""))


def _of_this_job(field: str) -> float | None:
    """A moment of this job: of a heterogeneous one, the earliest of its components'."""
    job, task = os.environ.get("SLURM_JOB_ID", ""), os.environ.get("SLURM_ARRAY_TASK_ID", "")
    if job and job == os.environ.get("SLURM_ARRAY_JOB_ID") and task.isdigit():
        # The number of an array's last task is that of the array too, by which squeue tells of every task.
        job = f"{job}_{task}"
    found = [moment for line in _field(job, field).splitlines() if (moment := instant(line)) is not None]
    return min(found, default=None)


def job_name() -> str:
    """On the node: what names this job, and no other, nor its own start before it was requeued; empty outside a job."""
    job, cluster = os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURM_CLUSTER_NAME", "")
    return f"slurm job {job} of {cluster or '?'}, restart {os.environ.get('SLURM_RESTART_COUNT') or 0}" if job else ""


def lives(job: str, tag: str = "") -> bool | None:
    """On the node: whether a job runs, the one with `tag` where there is one; None where it can't be told, or it is about to end."""
    answer = ask([*_SQUEUE, "-t", "all", "-j", job, "-o", FIELDS], 15)
    if answer.code != 0:
        return False if "Invalid job id" in answer.err else None
    found = jobs_of(answer.out)
    if not found or any(each.native == "COMPLETING" or each.state is JobState.UNKNOWN for each in found):
        return None
    return runs_as(next((each for each in found if each.state is JobState.RUNNING), found[0]), tag)


def hosts() -> list[str]:
    """On the node: the names of the job's nodes, the first one first."""
    answer = ask(["scontrol", "show", "hostnames", os.environ.get("SLURM_JOB_NODELIST", "")], 15)
    return answer.out.split() if answer.code == 0 else []


def node_rank() -> int:
    """On the node: its place among the job's nodes."""
    return int(os.environ.get("SLURM_NODEID", "0"))


def go_on() -> int:
    """On the node: put this very job back into the queue; returns the exit code to end with."""
    ask(["scontrol", "requeue", os.environ.get("SLURM_JOB_ID", "")], 30)
    return 0
