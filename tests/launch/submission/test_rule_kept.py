"""Whatever stands in the environment, the options and the settings: a submission keeps the rule, or is refused in a sentence."""

from __future__ import annotations

import datetime as dt
import getopt
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ganhpc.cli.commands import policy as policy_command
from ganhpc.core.errors import UserError
from ganhpc.core.settings import Settings
from ganhpc.launch.policy.policy import Policy
from ganhpc.launch.schedulers.base import Scheduler
from ganhpc.launch.schedulers.oar import Oar
from ganhpc.launch.schedulers.slurm import Slurm
from ganhpc.launch.submission import granted
from ganhpc.launch.submission import prepare as submit
from ganhpc.launch.submission import submit as sending
from ganhpc.runs.run_folder import Run
from jobs.cifar import Cifar
from tests.launch.schedulers.shell_commands import program

HALF = Policy("half", max_job=1800, max_jobs=1, gap=2)
NOW = dt.datetime(2026, 11, 23, 17, 30, tzinfo=dt.UTC)
LONG = [
    "time=",
    "time-min=",
    "array=",
    "begin=",
    "job-name=",
    "output=",
    "dependency=",
    "mem=",
    "exclude=",
    "export=",
    "nice",
    "hold",
    "test-only",
]
"""Of sbatch, with Python's own getopt, which takes the abbreviations that the real one takes."""
ENVIRONMENT = {
    "SBATCH_TIMELIMIT": "time",
    "SBATCH_ARRAY_INX": "array",
    "SBATCH_JOB_NAME": "job-name",
    "SBATCH_OUTPUT": "output",
}
VALUES = {"SBATCH_TIMELIMIT": "8:00:00", "SBATCH_ARRAY_INX": "0-3", "SBATCH_JOB_NAME": "x", "SBATCH_OUTPUT": "/x"}
OPTIONS = [
    "--time=8:00:00", "-t 480", "-t480", "--tim 9:00:00", "--mem=4G --time 8:00:00", "--mem=4G", "--exclude=node7", "--array=0-3", "-a0-3", "--arr 0-1",
    "-l walltime=8", "-t exotic", "-t night", "-n x", "--resource=walltime=9:0:0", "--res x", "#SBATCH --time=9", "--export=NONE", "-J x", "-o /x", "-H",
]  # fmt: skip
RESOURCES = [None, "/host=1", "/host=1/gpu=1", "/host=1,walltime=9:00:00", "-l /host=1", "walltime=9"]


def effective(argv: list[str], script: str, env: Mapping[str, str]) -> dict[str, str]:
    """What sbatch makes of it all: the script goes before the environment, the command line before both."""
    asked = {name: env[key] for key, name in ENVIRONMENT.items() if key in env}
    lines = [line[8:] for line in script.splitlines() if line.startswith("#SBATCH ")]
    for words in (shlex.split(" ".join(lines)), argv[1:-1]):
        pairs, rest = getopt.gnu_getopt(words, "t:a:J:o:d:b:H", [*LONG, *MORE])
        assert not rest
        asked |= {SHORT.get(flag, flag.lstrip("-")): value for flag, value in pairs}
    return asked


MORE = [
    "comment=",
    "open-mode=",
    "chdir=",
    "requeue",
    "signal=",
    "deadline=",
    "nodes=",
    "ntasks-per-node=",
    "cpus-per-task=",
    "gpus-per-node=",
    "partition=",
]
SHORT = {"-t": "time", "-a": "array", "-J": "job-name", "-o": "output", "-d": "dependency", "-b": "begin", "-H": "hold"}


def minutes(text: str) -> float:
    hours, minutes, seconds = (int(part) for part in text.split(":"))
    return hours * 60 + minutes + seconds / 60


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    env=st.sets(st.sampled_from(sorted(VALUES))),
    options=st.lists(st.sampled_from(OPTIONS), max_size=2),
    resources=st.sampled_from(RESOURCES),
    oar=st.booleans(),
)
def test_every_submission_and_every_check_keep_the_rule_or_refuse(
    env: set[str], options: list[str], resources: str | None, oar: bool
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        site = Settings(options=tuple(options), resources=resources, python=sys.executable, gpus_per_node=0)
        scheduler: Scheduler = Oar(site) if oar else Slurm(site)
        words = 'printf "%s\\0" "$@" >"$0.words"; env -0 >"$0.env"'
        program(folder / "sbatch", f"{words}; echo Submitted batch job 7")
        program(folder / "oarsub", f'case "$1" in --version) exit;; esac; {words}; echo OAR_JOB_ID=7')
        for command in ("squeue", "sacct", "oarstat", "scontrol"):
            program(folder / command, "exit 1")
        experiment = Cifar.from_preset("course").replace(data="synthetic", time=1200.0, device="cpu")
        run = Run.open(folder / "runs", experiment)
        around = {"PATH": f"{folder}:{os.environ['PATH']}", **{key: VALUES[key] for key in env}}
        with mock.patch.dict(os.environ, around):
            refused = _submitted(run, scheduler)
            checked = _checked(run, scheduler, folder)
            assert bool(refused) == bool(checked), "`policy --check` refuses what a submission refuses"
        written = folder / ("oarsub" if oar else "sbatch")
        if refused:
            assert not written.with_name(written.name + ".words").exists(), "nothing is submitted"
            return
        typed = written.with_name(written.name + ".words").read_bytes().decode().split("\0")[:-1]
        seen = dict(
            line.partition("=")[::2] for line in written.with_name(written.name + ".env").read_text().split("\0")
        )
        _keeps(oar, typed, seen)


def _submitted(run: Run, scheduler: Scheduler) -> str:
    """Submit; returns the sentence of a refusal."""
    wanted = [submit.Wanted(run, run.experiment())]
    try:
        with mock.patch.object(
            granted, "check", return_value=""
        ):  # real schedulers tell (tests/clusters/test_granted.py)
            sending.send(submit.prepare(wanted, scheduler, HALF, NOW), wanted, "half")
    except UserError as error:
        return str(error)
    return ""


def _checked(run: Run, scheduler: Scheduler, folder: Path) -> str:
    (folder / "half.toml").write_text('max_job = "30m"\nmax_jobs = 1\ngap = "2s"\n')
    with (
        mock.patch("ganhpc.cli.launching.scheduler_launch.queue_if_here", lambda _: []),
        mock.patch("click.echo"),
    ):
        try:
            place = (scheduler, scheduler.site, NOW.isoformat(), scheduler.name)
            policy_command._check(str(folder / "half.toml"), run.name, folder / "runs", *place)
        except UserError as error:
            return str(error)
    return ""


def _keeps(oar: bool, typed: list[str], seen: Mapping[str, str]) -> None:
    """Judge what the scheduler's command got."""
    if oar:
        (asked,) = (typed[k + 1] for k, word in enumerate(typed) if word == "-l")
        (walltime,) = re.findall(r"walltime=([\d:]+)", asked)
        assert minutes(walltime) <= 30 and not [word for word in typed if re.match(r"--(ar|res)", word)]
        return
    script = Path(typed[-1]).read_text()
    try:
        got = effective(["sbatch", *typed], script, seen)
    except getopt.GetoptError:
        return  # a word that sbatch does not know: it refuses the job
    assert minutes(got["time"]) <= 30 and got["job-name"] == "ganhpc" and got["output"] == "/dev/null"
    assert not got.keys() & {"array", "hold", "test-only", "time-min"}
    assert "singleton" in got["dependency"]
