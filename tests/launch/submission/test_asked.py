"""What was asked is what is got: GPUs, names typed on the command line, and what a scheduler granted."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import shlex
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from ganhpc.core.errors import UserError
from ganhpc.core.settings import Settings
from ganhpc.launch.policy.policy import Policy, load_policy
from ganhpc.launch.schedulers import typed_requests
from ganhpc.launch.schedulers.base import Job, JobState, PreparedJob, Refused, Scheduler
from ganhpc.launch.schedulers.oar import Oar
from ganhpc.launch.schedulers.slurm import Slurm
from ganhpc.launch.submission import granted
from ganhpc.launch.submission import prepare as submit
from ganhpc.launch.submission.granted import Asked
from ganhpc.runs.run_folder import Run
from jobs.cifar import Cifar
from tests.conftest import Launch

EVENING = dt.datetime(2026, 11, 23, 19, 30, tzinfo=dt.UTC)
STUDENT, NONE = load_policy("student"), load_policy("none")
ROUNDED = dataclasses.replace(NONE, max_job=2 * 3600)


def prepared(tmp_path: Path, scheduler: Scheduler, **values: object) -> PreparedJob:
    experiment = Cifar.from_preset("course").replace(data="synthetic", time=600.0, **values)
    wanted = submit.Wanted(Run.planned(tmp_path / "runs", experiment), experiment)
    return submit.prepare([wanted], scheduler, NONE, EVENING).jobs[0]


def resources(job: PreparedJob) -> str:
    """What is asked for of OAR beside the walltime."""
    return job.argv[job.argv.index("-l") + 1].rpartition(",")[0]


# -- GPUs ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow  # 2 s in all
@pytest.mark.parametrize(
    ("settings", "values", "slurm", "oar"),
    [
        ({}, {}, 1, "/nodes=1/gpu=1"),
        ({}, {"device": "cuda"}, 1, "/nodes=1/gpu=1"),
        ({}, {"device": "cpu"}, 0, "/nodes=1"),
        ({"gpus_per_node": 0}, {}, 0, "/nodes=1"),
        ({"gpus_per_node": 2}, {}, 2, "/nodes=1/gpu=2"),
        ({"gpus_per_node": 2}, {"gpus_per_node": 1}, 1, "/nodes=1/gpu=1"),
        ({"resources": "/host=1/gpu=1"}, {"gpus_per_node": 2, "nodes": 2}, 2, "/host=2/gpu=2"),
        ({"resources": "/host=1/gpu=2"}, {}, 1, "/host=1/gpu=2"),
    ],
)
def test_a_job_asks_for_one_gpu_unless_told_otherwise(
    tmp_path: Path, settings: dict[str, object], values: dict[str, object], slurm: int, oar: str
) -> None:
    script = prepared(tmp_path, Slurm(Settings(**settings)), **values).script  # type: ignore[arg-type]
    asked = [line for line in script.splitlines() if "gpus-per-node" in line]
    assert asked == ([f"#SBATCH --gpus-per-node={slurm}"] if slurm else [])
    job = prepared(tmp_path, Oar(Settings(**settings)), **values)  # type: ignore[arg-type]
    assert resources(job) == oar
    gpus = int(oar.rpartition("gpu=")[2]) if "gpu=" in oar else 1
    assert job.request.tasks_per_node == gpus, "one process a GPU"


@pytest.mark.slow  # 2 s in all
@pytest.mark.parametrize(
    ("own", "words", "asked"),
    [
        ("/nodes=2", ("--nodes", "1"), "/nodes=1"),
        ("/nodes=2", (), "/nodes=2"),
        ("/host=2/gpu=2", ("--nodes=1", "--gpus-per-node=1"), "/host=1/gpu=1"),
        ("{gpu_model='x'}/core=4", ("--nodes", "1"), "{gpu_model='x'}/nodes=1/core=4"),
    ],
)
def test_a_typed_one_goes_before_the_settings(
    tmp_path: Path, launch: Launch, own: str, words: Sequence[str], asked: str
) -> None:
    """One is also the number where nothing is typed."""
    (tmp_path / "config.toml").write_text(f'resources = "{own}"\n')
    usual = (
        "cifar",
        "--preset",
        "course",
        "--data",
        "synthetic",
        "--time",
        "10m",
        "--on",
        "oar",
        "--dry-run",
        "--json",
    )
    done = launch(*usual, *words, GANHPC_CONFIG=str(tmp_path / "config.toml"))
    assert done.returncode == 0, done.stderr
    words_of_oarsub = shlex.split(json.loads(done.stdout)["jobs"][0]["command"])
    assert words_of_oarsub[words_of_oarsub.index("-l") + 1].rpartition(",")[0] == asked


CONTRADICTIONS = [
    ({}, {"device": "cpu", "gpus_per_node": 1}, {}, "--gpus-per-node 1 asks for GPUs, and --device cpu uses none"),
    ({}, {"device": "cuda", "gpus_per_node": 0}, {}, "needs a GPU, and --gpus-per-node 0 asks for none"),
    ({"gpus_per_node": 0}, {"device": "cuda"}, {}, "needs a GPU, and gpus_per_node = 0 in the settings asks for none"),
    ({}, {"device": "cpu"}, {"gpu_model": "a100"}, "--gpu-model a100 names a kind of GPU, and no GPU is asked for"),
    ({"gpus_per_node": 0}, {}, {"gpu_model": "a100"}, "--gpu-model a100 names a kind of GPU, and no GPU is asked for"),
    ({"options": ("--gres=gpu:1",)}, {}, {"gpu_model": "a100"}, "--gpu-model a100 names .* options in the settings"),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "values", "typed", "said"), CONTRADICTIONS)
def test_what_contradicts_itself_is_refused(
    tmp_path: Path, settings: dict[str, object], values: dict[str, object], typed: dict[str, str], said: str
) -> None:
    for cls in (Slurm,) if typed else (Slurm, Oar):  # OAR's models are a condition on nodes
        scheduler = cls(Settings(**settings))  # type: ignore[arg-type]
        typed_requests.asked(scheduler, typed)
        with pytest.raises(UserError, match=said):
            prepared(tmp_path, scheduler, **values)


def test_options_that_ask_for_gpus_are_the_settings_saying_so(tmp_path: Path) -> None:
    for option in ("--gres=gpu:a100:2", "--gpus=2", "-G2", "--gres gpu:2"):
        scheduler = Slurm(Settings(options=(option,)))
        job = prepared(tmp_path, scheduler)
        assert "gpus-per-node" not in job.script and job.request.tasks_per_node == 2
        with pytest.raises(
            UserError, match="--gpus-per-node 4 is typed, and 2 GPUs on each node are asked for by options in"
        ):
            prepared(tmp_path, scheduler, gpus_per_node=4)
        with pytest.raises(
            UserError,
            match=r"gpu_model = 'a100' in the settings names a kind of GPU, and the GPUs are asked for by options",
        ):
            prepared(tmp_path, Slurm(Settings(options=(option,), gpu_model="a100")))
        scheduler = Slurm(Settings(job_types=(("two", (option,)),)))
        typed_requests.asked(scheduler, {"job_type": "two"})
        with pytest.raises(UserError, match=r"2 GPUs on each node are asked for by the job type \(--type\)"):
            prepared(tmp_path, scheduler, gpus_per_node=4)


@pytest.mark.parametrize(
    ("scheduler", "by"),
    [
        (Slurm(Settings(options=("--gres=gpu:2",), gpus_per_node=1)), "options in the settings"),
        (Oar(Settings(resources="/host=1/gpu=2", gpus_per_node=1)), "resources in the settings"),
    ],
)
def test_settings_that_ask_for_two_numbers_of_gpus_are_refused(tmp_path: Path, scheduler: Scheduler, by: str) -> None:
    """Slurm got both, and OAR gave two GPUs to one process."""
    with pytest.raises(UserError, match=f"gpus_per_node is 1 in the settings, and 2 GPUs .* asked for by {by}"):
        prepared(tmp_path, scheduler)
    site = dataclasses.replace(scheduler.site, gpus_per_node=2)
    job = prepared(tmp_path, type(scheduler)(site))
    assert job.request.tasks_per_node == 2 and "gpus-per-node" not in job.script, "asked for once"


# -- typed names ---------------------------------------------------------------------------------------------------------------


TYPED = {"queue": "production", "account": "gan", "gpu_model": "A100", "constraint": "big"}


def test_typed_names_go_before_the_settings_on_both_schedulers(tmp_path: Path) -> None:
    slurm = Slurm(Settings(partition="main", account="mine", constraint="small", options=("--partition=other",)))
    typed_requests.asked(slurm, {**TYPED, "qos": "long"})
    lines = [line for line in prepared(tmp_path, slurm).script.splitlines() if line.startswith("#SBATCH")]
    wanted = ["--gpus-per-node=A100:1", "--partition=production", "--account=gan", "--qos=long", "--constraint=big"]
    assert [line.removeprefix("#SBATCH ") for line in lines[-5:]] == wanted, (
        "behind options, since the last word counts"
    )
    oar = Oar(Settings(queue="default", project="mine", properties="mem > 3"))
    typed_requests.asked(oar, {**TYPED, "cluster": "chifflot", "job_type": "exotic"})
    argv = prepared(tmp_path, oar).argv
    pairs = set(pairwise(argv))
    where = "(mem > 3) AND gpu_model = 'A100' AND cluster = 'chifflot' AND (big)"
    assert {("-q", "production"), ("--project", "gan"), ("-t", "exotic"), ("-p", where)} <= pairs


def test_job_types_of_the_settings_and_besteffort(tmp_path: Path) -> None:
    slurm = Slurm(Settings(job_types=(("long", ("--qos=long --mem=4G",)),)))
    with pytest.raises(UserError, match=r"--type 'lang' is not in job_types of the settings: .*long"):
        typed_requests.asked(slurm, {"job_type": "lang"})
    typed_requests.asked(slurm, {"job_type": "long"})
    assert "#SBATCH --qos=long\n#SBATCH --mem=4G" in prepared(tmp_path, slurm).script
    oar = Oar(Settings())
    assert oar.capabilities().reservations
    typed_requests.asked(oar, {"job_type": "besteffort"})
    assert not oar.capabilities().reservations, "OAR takes no reservation of a besteffort job"
    typed_requests.asked(oar, {"job_type": "night"})
    assert "night" in prepared(tmp_path, oar).argv
    for kind in ("deadline=2026-11-30 08:00:00", "postpone=x", "noop"):
        typed_requests.asked(oar, {"job_type": kind})
        with pytest.raises(UserError, match="--type has"):
            prepared(tmp_path, oar)


@pytest.mark.parametrize(
    ("scheduler", "values", "said"),
    [
        (None, {"queue": "x"}, "--queue is for OAR and Slurm"),
        (Oar(Settings()), {"qos": "x"}, "OAR has no qualities of service"),
        (Slurm(Settings()), {"cluster": "x"}, "--partition or --constraint"),
        (Oar(Settings()), {"queue": "-t deadline"}, "is no name"),
        (Slurm(Settings()), {"account": ""}, "is no name"),
    ],
)
def test_what_a_place_does_not_have_is_refused(scheduler: Scheduler | None, values: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        typed_requests.asked(scheduler, values)


@pytest.mark.slow  # 3 s in all
@pytest.mark.parametrize("words", [("cifar",), ("night", "cifar"), ("cifar", "--scan", "lr=1e-3,1e-4")])
def test_every_command_takes_the_names_and_no_signature_changes(launch: Launch, words: tuple[str, ...]) -> None:
    common = (
        *words,
        "--data",
        "synthetic",
        "--time",
        "10m",
        "--on",
        "slurm",
        "--policy",
        "none",
        "--dry-run",
        "--json",
    )
    plain, named = launch(*common), launch(*common, "--partition", "prod", "--gpu-model", "a100", "--qos", "long")
    assert named.returncode == 0, named.stderr
    if words[0] != "night":
        assert "--partition=prod" in named.stdout and "--gpus-per-node=a100:1" in named.stdout

    def runs(text: str) -> list[str]:
        return [line.strip() for line in text.splitlines() if line.strip().startswith('"run":')]

    assert runs(plain.stdout) == runs(named.stdout) != []


def test_mail_container_conda_and_modules(tmp_path: Path) -> None:
    site = Settings(
        mail="me@x.fr", container="apptainer exec --nv 'my image.sif'", conda="my env", modules=("cuda/12", "a b")
    )
    job = prepared(tmp_path, Slurm(site))
    assert "#SBATCH --mail-user=me@x.fr\n#SBATCH --mail-type=END,FAIL" in job.script
    assert "module load cuda/12\nmodule load 'a b'" in job.script and "conda activate 'my env'" in job.script
    assert "apptainer exec --nv 'my image.sif' python -m ganhpc.node" in job.script
    argv = prepared(tmp_path, Oar(site)).argv
    assert argv[argv.index("--notify") + 1] == "[END,ERROR]mail:me@x.fr"


# -- what was granted -----------------------------------------------------------------------------------------------------------

ASKED = Asked("cafe-1-00", 3600, EVENING)


def job(walltime: float | None = 3600, start: float | None = None, count: int = 1) -> Job:
    return Job("7", JobState.WAITING, tag=ASKED.tag, walltime=walltime, start=start, count=count)


@pytest.mark.parametrize(
    ("jobs", "policy", "said"),
    [
        ([job()], STUDENT, ""),
        ([job(3630)], STUDENT, "made one of 1h30s of a job of 1h"),
        ([job(3630)], ROUNDED, ""),
        ([job(3700)], ROUNDED, "made one of 1h1m40s of a job of 1h"),
        ([], STUDENT, ""),
        ([job(4 * 3600)], STUDENT, "made one of 4h of a job of 1h, which policy student doesn't allow"),
        ([job(None)], STUDENT, "made one without an end"),
        ([job(4 * 3600)], NONE, ""),
        ([job(), job()], NONE, "made 2 jobs of the one"),
        ([job(count=3)], NONE, "made 3 jobs of the one"),
        ([job(start=EVENING.timestamp() - 3600)], STUDENT, "starts the job before"),
        ([job(start=EVENING.timestamp())], STUDENT, ""),
    ],
)
def test_a_granted_job_that_breaks_the_rule(jobs: list[Job], policy: Policy, said: str) -> None:
    found = granted.broken(jobs, ASKED, policy)
    assert said in found if said else not found


class Odd(Slurm):
    """A Slurm that changes what was asked, or does not tell."""

    def __init__(self, *told: Job, known: Sequence[Job] = ()) -> None:
        super().__init__(Settings())
        self.told, self.known, self.cancelled = told, known, list[str]()

    def queue(self) -> list[Job]:
        return list(self.told)

    def jobs(self, ids: Sequence[str]) -> dict[str, Job]:
        known = {job.id: job for job in self.known}
        return {id: known.get(id, Job(id, JobState.UNKNOWN)) for id in ids}

    def cancel(self, job: str) -> None:
        self.cancelled.append(job)


def test_a_job_that_breaks_the_rule_is_taken_back_and_a_shortened_one_is_said() -> None:
    scheduler = Odd(job(8 * 3600))
    with pytest.raises(Refused, match=r"made one of 8h of a job of 1h.*by a rule of the site; job 7 is taken back"):
        granted.check(scheduler, "7", ASKED, STUDENT)
    assert scheduler.cancelled == ["7"]
    scheduler = Odd(job(1800))
    assert granted.check(scheduler, "7", ASKED, STUDENT) == "the site shortened it from 1h to 30m"
    assert scheduler.cancelled == []


def test_all_jobs_that_were_made_of_one_are_taken_back() -> None:
    """The jobs of an array have one tag; jobs of other tags, and earlier ones, are left alone."""
    same = [dataclasses.replace(job(), id=id, tag=ASKED.tag) for id in ("8", "7", "9")]
    scheduler = Odd(*same, dataclasses.replace(job(), id="10", tag="other"), dataclasses.replace(same[0], id="6"))
    with pytest.raises(Refused, match=r"made 3 jobs of the one.*; jobs 7, 8, 9 are taken back"):
        granted.check(scheduler, "7", ASKED, STUDENT)
    assert scheduler.cancelled == ["7", "8", "9"]


def test_a_job_that_the_scheduler_does_not_tell_of_is_not_taken_for_a_good_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(granted, "PAUSE_SECONDS", 0.0)
    scheduler = Odd()
    with pytest.raises(Refused, match=r"^Slurm does not tell what became of the job.*; job 7 is taken back$"):
        granted.check(scheduler, "7", ASKED, STUDENT)
    assert scheduler.cancelled == ["7"]
    assert granted.check(Odd(), "7", ASKED, NONE) == "", "there is no rule that it may break"
    ended = Job("7", JobState.ENDED, "COMPLETED")
    assert granted.check(Odd(known=[ended]), "7", ASKED, STUDENT) == "", "it was quick"


@pytest.mark.parametrize("tag", ["", "of-another"])
@pytest.mark.parametrize("policy", [STUDENT, NONE], ids=lambda policy: policy.name)
def test_a_job_whose_tag_the_site_has_hidden_is_taken_back(tag: str, policy: Policy) -> None:
    """Nobody would find it again: the same command would submit a second one."""
    hidden = dataclasses.replace(job(), tag=tag)
    scheduler = Odd(hidden, dataclasses.replace(job(), id="8", tag="another"))
    with pytest.raises(
        Refused, match=r"it took the tag cafe-1-00 out of the job.* by a rule of the site; job 7 is taken back$"
    ):
        granted.check(scheduler, "7", ASKED, policy)
    assert scheduler.cancelled == ["7"]
    ended = dataclasses.replace(hidden, state=JobState.ENDED, native="COMPLETED")
    assert granted.check(Odd(known=[ended]), "7", ASKED, policy) == "", "accounts keep no tags"


def test_a_job_that_was_to_wait_for_another_and_does_not_is_taken_back() -> None:
    asked = dataclasses.replace(ASKED, after=("5", "6"))
    before = [Job("5", JobState.RUNNING, "RUNNING"), Job("6", JobState.ENDED, "COMPLETED")]
    with pytest.raises(Refused, match="does not wait for job 5, behind which it was to start, by a rule of the site"):
        granted.check(Odd(job(), known=before), "7", asked, STUDENT)
    waits = dataclasses.replace(job(), after=("5",))
    assert granted.check(Odd(waits, known=before), "7", asked, STUDENT) == ""


# -- types that run at night, or by day, only -----------------------------------------------------------------------------------


@pytest.mark.slow  # 5 s in all
@pytest.mark.parametrize(
    ("kind", "now", "policy", "starts"),
    [
        ("night", "2026-11-24T14:00", STUDENT, ["24T19:01", "24T20:02"]),
        ("night", "2026-11-24T14:00", NONE, ["24T19:00"]),
        ("night", "2026-11-28T14:00", NONE, ["28T14:00"]),  # a Saturday
        ("day", "2026-11-24T14:00", STUDENT, ["24T14:00", "24T15:01"]),
        ("day", "2026-11-24T18:30", NONE, ["24T18:30", "25T09:00"]),
        ("day", "2026-11-27T20:00", NONE, ["30T09:00"]),
        ("exotic", "2026-11-24T14:00", NONE, ["24T14:00"]),
    ],
)
def test_a_type_that_runs_at_night_or_by_day_only_is_planned_so(
    tmp_path: Path, kind: str, now: str, policy: Policy, starts: list[str]
) -> None:
    site = Settings(by_type=(f"-t '{kind}'",), time_zone="Europe/Paris")
    experiment = Cifar.from_preset("course").replace(data="synthetic", time=7000.0)
    wanted = submit.Wanted(Run.planned(tmp_path / "runs", experiment), experiment)
    moment = dt.datetime.fromisoformat(now).replace(tzinfo=submit.zone(site, policy))
    slots = submit.prepare([wanted], Oar(site), policy, moment).plan.slots
    assert [f"{slot.start:%dT%H:%M}" for slot in slots] == starts
    hours = [(slot.start.hour, (slot.end - dt.timedelta(seconds=1)).hour) for slot in slots]
    if kind == "day":
        assert all(9 <= hour < 19 for pair in hours for hour in pair)
