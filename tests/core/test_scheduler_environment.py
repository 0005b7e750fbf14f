"""Around the command: the environment of the schedulers' commands, the user, the job or the frontend on which it is typed."""

from __future__ import annotations

import json
import os
import pwd
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganhpc.cli.launching import local_launch
from ganhpc.core import settings, whoami
from ganhpc.core.errors import UserError
from ganhpc.core.scheduler_environment import KEPT, OMP_TYPED, TAKEN, for_commands
from ganhpc.core.settings import Settings
from ganhpc.core.subprocesses import ask
from ganhpc.launch.schedulers.base import JobRequest
from ganhpc.launch.schedulers.choice import pick
from ganhpc.launch.schedulers.enclosing_job import Inside, inside
from ganhpc.launch.schedulers.oar import Oar
from ganhpc.launch.schedulers.slurm import Slurm
from ganhpc.launch.submission.submit import write_script
from ganhpc.program import environment
from ganhpc.program.environment import Place
from ganhpc.runs import file_owner, job_deadline, last_words, trainer_protocol
from ganhpc.runs.job_deadline import Bound
from ganhpc.runs.run_folder import Run
from ganhpc.runs.trainer_processes import TrainerProcesses
from tests.conftest import Launch
from tests.helpers import ROOT, made
from tests.launch.schedulers.shell_commands import program

ME = pwd.getpwuid(os.getuid()).pw_name
PACED = (
    "cifar",
    "--preset",
    "course",
    "--data",
    "synthetic",
    "--train-images",
    "200",
    "--device",
    "cpu",
    "--time",
    "1h",
)
JOB = ("SLURM_JOB_ID", "SLURMD_NODENAME", "OAR_JOB_ID", "OAR_NODEFILE")


@pytest.fixture
def bin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the only one on the path beside the system's, without a scheduler; outside of any job."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "bash", "env", "timeout", "cat", "echo", "sleep", "printf"):
        if found := next((p for p in (Path("/usr/bin"), Path("/bin")) if (p / name).exists()), None):
            (folder / name).symlink_to(found / name)
    monkeypatch.setenv("PATH", str(folder))
    for name in JOB:
        monkeypatch.delenv(name, raising=False)
    return folder


def sent(bin: Path, tmp_path: Path, said: str = "Submitted batch job 42") -> tuple[str, str, str]:
    """(the id, the words, the environment) of a submission to an sbatch that writes down what it gets."""
    program(bin / "sbatch", f'printf "%s\\n" "$@" >{tmp_path}/words; env >{tmp_path}/env; printf "{said}\\n"')
    request = JobRequest("cafe-1-00", tmp_path / "run", 1, 600, "now")
    scheduler = Slurm(Settings())
    prepared = scheduler.prepare(request)
    write_script(prepared)
    id = scheduler.submit(prepared)
    return id, (tmp_path / "words").read_text(), (tmp_path / "env").read_text()


def test_a_submission_sees_neither_requests_nor_the_job_around_it(
    bin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = {
        "SBATCH_TIMELIMIT": "4:00:00", "SBATCH_OUTPUT": "/tmp/x", "SBATCH_JOB_NAME": "other", "SBATCH_ARRAY_INX": "0-3", "SLURM_CLUSTERS": "all",
        "SLURM_JOB_ID": "7", "SLURM_MEM_PER_GPU": "100", "SLURM_MEM_PER_CPU": "5", "SRUN_CPUS_PER_TASK": "3", "PMI_RANK": "0", "PMIX_RANK": "0",
        "OMPI_COMM_WORLD_SIZE": "2", "OAR_JOB_ID": "9", "RANK": "1", "WORLD_SIZE": "2", "CUDA_VISIBLE_DEVICES": "3", "USER": "other",
    }  # fmt: skip
    for name, value in {**bad, "SLURM_CONF": "/etc/my.conf", "MINE": "kept as it is"}.items():
        monkeypatch.setenv(name, value)
    _, words, env = sent(bin, tmp_path)
    lines = dict(line.partition("=")[::2] for line in env.splitlines())
    assert not {name: lines[name] for name in bad if lines.get(name) == bad[name]}
    assert (lines["SLURM_CONF"], lines["MINE"], lines["USER"]) == ("/etc/my.conf", "kept as it is", ME)
    typed = words.splitlines()
    assert {"--time=0:10:00", "--job-name=ganhpc", "--dependency=singleton", "--output=/dev/null"} <= set(typed)
    assert typed[-1].endswith(".sh"), "our words stand on the command line, which beats environment and script"


def test_the_clusters_configuration_is_the_one_of_the_folder_in_which_one_types(
    bin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs are submitted from /: a relative SLURM_CONF was another file there than for the questions before it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLURM_CONF", "b/slurm.conf")
    _, _, env = sent(bin, tmp_path)
    assert f"SLURM_CONF={tmp_path}/b/slurm.conf" in env.splitlines()
    program(bin / "squeue", "env")
    assert f"SLURM_CONF={tmp_path}/b/slurm.conf" in ask(["squeue"], 10).out.splitlines()
    text = (ROOT / "tests/golden/scripts/slurm-night.sh").read_text()
    line = next(line for line in text.splitlines() if "SLURM_CONF=$PWD" in line)
    done = subprocess.run(["bash", "-euc", f"{line}\ncd /; env"], env=os.environ, capture_output=True, text=True)
    assert f"SLURM_CONF={tmp_path}/b/slurm.conf" in done.stdout.splitlines(), done.stderr
    for value in ("/c", ""):
        done = subprocess.run(
            ["bash", "-euc", f"{line}\nenv"], env={**os.environ, "SLURM_CONF": value}, capture_output=True, text=True
        )
        assert f"SLURM_CONF={value}" in done.stdout.splitlines()


def test_questions_are_asked_without_filters_of_the_environment(bin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "SQUEUE_STATES",
        "SQUEUE_PARTITION",
        "SACCT_FORMAT",
        "SCANCEL_STATE",
        "SINFO_ALL",
        "SLURM_TIME_FORMAT",
        "OAR_X",
    ):
        monkeypatch.setenv(name, "odd")
    program(bin / "squeue", "env")
    shown = ask(["squeue"], 10, {"SLURM_TIME_FORMAT": "%s"}).out
    assert "odd" not in shown and "SLURM_TIME_FORMAT=%s" in shown


@given(
    st.dictionaries(
        st.tuples(st.sampled_from(TAKEN), st.text("ABCXYZ_", max_size=6)).map("".join), st.just("x"), max_size=8
    )
)
def test_no_name_of_a_scheduler_is_left_but_those_that_find_the_cluster(odd: dict[str, str]) -> None:
    kept = dict.fromkeys(KEPT, "/here") | {"PATH": "/bin", "OARCONFFILE": "/etc/oar.conf", "MASTER_ADDR": "mine"}
    left = for_commands({**odd, **kept})
    assert left == {**kept, "USER": ME, "LOGNAME": ME}


@pytest.mark.parametrize(
    "said", ["42", "42;lille", "Dear user\\n42", "Submitted batch job 42 on cluster x", "Submitted batch job 42\\n42"]
)
def test_the_number_is_read_in_every_form_that_sbatch_has(bin: Path, tmp_path: Path, said: str) -> None:
    assert sent(bin, tmp_path, said)[0] == "42"


# -- the frontend, and inside a job ------------------------------------------------------------------------------------------


DOWN = {
    "slurm": {"sbatch": "exit 1", "scontrol": "echo 'Slurmctld(primary) at h is DOWN'; exit 1"},
    "slurm without sbatch": {"squeue": "exit 1"},
    "oar": {"oarsub": "exit 1", "oarstat": "echo 'cannot connect' >&2; exit 2"},
    "oar without oarsub": {"oarstat": "exit 2"},
}


@pytest.mark.parametrize("which", DOWN)
def test_nothing_trains_on_a_frontend_whose_server_is_down(bin: Path, which: str) -> None:
    for name, line in DOWN[which].items():
        program(bin / name, line)
    with pytest.raises(UserError, match=r"nothing may train on a cluster's frontend: .*same command later.*--on local"):
        pick("auto", Settings())
    scheduler, _ = pick("auto", Settings(), dry_run=True)
    assert scheduler and which.startswith(scheduler.name)
    assert pick("local", Settings()) == (None, "--on local")


@pytest.mark.usefixtures("bin")
def test_where_no_cluster_is_auto_means_this_machine() -> None:
    assert pick("auto", Settings())[0] is None


@pytest.mark.parametrize(
    "words",
    [
        ("cifar", "--preset", "course", "--epochs", "1"),
        ("night", "cifar", "--yes"),
        ("cifar", "--scan", "lr=1e-3,1e-4"),
    ],
)
def test_no_command_computes_on_a_frontend(launch: Launch, tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "bin").mkdir()
    for name, line in DOWN["slurm"].items():
        program(tmp_path / "bin" / name, line)
    program(tmp_path / "bin" / "oarsub", "exit 1")
    program(tmp_path / "bin" / "oarstat", "exit 1")
    done = launch(
        *words, "--data", "synthetic", "--device", "cpu", GANHPC_ON="auto", PATH=f"{tmp_path}/bin:{os.environ['PATH']}"
    )
    assert done.returncode and "nothing may train on a cluster's frontend" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and not list(tmp_path.glob("runs/*/*"))


def test_inside_a_job_auto_means_this_machine_and_salloc_on_a_frontend_is_not_inside(
    bin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(bin / "sbatch", "exit 1")
    program(bin / "scontrol", "echo 'Slurmctld(primary) at h is UP'")
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    scheduler, _ = pick("auto", Settings())
    assert scheduler and scheduler.name == "slurm", "the shell of salloc runs on the frontend"
    monkeypatch.setenv("SLURMD_NODENAME", "node1")
    assert inside() == Inside("slurm", "12")
    assert pick("auto", Settings()) == (None, "inside job 12 of Slurm; --on slurm submits another one")
    states = {
        "RUNNING": True, "COMPLETING": True, "SUSPENDED": True, "A_LATER_WORD": True, "COMPLETED": False, "PENDING": False,
    }  # fmt: skip
    fields = r"\037N/A\037N/A\0371:00\037(null)\037None\037x\037(null)\037(null)\n"
    for said, there in (
        *((f"printf '12\\037{state}{fields}'", there) for state, there in states.items()),
        ("exit 1", True),
        ("echo slurm_load_jobs error: Invalid job id specified >&2; exit 1", False),
    ):
        program(bin / "squeue", said)
        assert bool(inside()) == there, "an editor may keep the variables of a job that has ended"
    scheduler, _ = pick("auto", Settings())
    assert scheduler and scheduler.name == "slurm", "this is a frontend"
    monkeypatch.delenv("SLURM_JOB_ID")
    monkeypatch.setenv("OAR_JOB_ID", "13")
    assert inside() is None
    (tmp_path / "nodes").write_text(f"{socket.gethostname()}\n")
    monkeypatch.setenv("OAR_NODEFILE", str(tmp_path / "nodes"))
    assert inside() == Inside("oar", "13")
    (tmp_path / "nodes").write_text("another-machine\n")
    assert inside() is None
    addresses = {"node-7": "127.0.0.1", "node-8": "192.0.2.8"}
    monkeypatch.setattr(socket, "getaddrinfo", lambda name, _: [(socket.AF_INET, 2, 17, "", (addresses[name], 0))])
    (tmp_path / "nodes").write_text("node-8\n")
    assert inside() is None
    (tmp_path / "nodes").write_text("node-8\nnode-7\n")
    assert inside() == Inside("oar", "13"), "a node that has another name than it says of itself"


# -- the user ------------------------------------------------------------------------------------------------------------------


def test_the_queue_is_that_of_the_processs_own_user(bin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "other")
    for name in ("squeue", "oarstat"):
        program(bin / name, f'echo "$@" >{tmp_path}/{name}; echo "$USER $LOGNAME" >>{tmp_path}/{name}')
    Slurm(Settings()).queue()
    Oar(Settings()).queue()
    for name in ("squeue", "oarstat"):
        asked, around = (tmp_path / name).read_text().splitlines()
        assert f"-u {ME} " in f"{asked} " and around == f"{ME} {ME}"


def test_a_user_without_a_name_or_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_: object) -> None:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("GANHPC_CONFIG", raising=False)
    assert whoami.user_name() == str(os.getuid())
    assert settings.places() == [settings.ROOT / "ganhpc.toml"]
    with pytest.raises(UserError, match="write the whole path, or `export HOME="):
        whoami.expand("~/runs")
    assert whoami.expand("/runs") == Path("/runs")


def test_without_home_the_systems_home_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in (None, ""):
        monkeypatch.setenv("HOME", value) if value is not None else monkeypatch.delenv("HOME", raising=False)
        assert whoami.expand("~/x") == Path(pwd.getpwuid(os.getuid()).pw_dir) / "x"


def test_a_nights_script_by_hand_is_as_clean() -> None:
    text = (ROOT / "tests/golden/scripts/slurm-night.sh").read_text()
    line = next(line for line in text.splitlines() if line.startswith("for name in $(compgen"))
    env = {
        "PATH": os.environ["PATH"],
        "SBATCH_TIMELIMIT": "8:00:00",
        "SLURM_JOB_ID": "1",
        "OAR_JOB_ID": "2",
        "SLURM_CONF": "/c",
        "MINE": "1",
    }
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", f"{line}\nenv"], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    names = {line.partition("=")[0] for line in done.stdout.splitlines()}
    assert {"SLURM_CONF", "MINE"} <= names and not names & {"SBATCH_TIMELIMIT", "SLURM_JOB_ID", "OAR_JOB_ID"}


@pytest.mark.slow  # 13 s of processor time: processes of its own
def test_a_training_typed_inside_a_job_saves_before_the_jobs_end(launch: Launch, tmp_path: Path) -> None:
    """A Slurm job of half a minute, in which a training of an hour is typed."""
    (tmp_path / "bin").mkdir()
    program(tmp_path / "bin" / "squeue", f"echo {int(time.time()) + 30}")
    env = {
        "SLURM_JOB_ID": "12",
        "SLURMD_NODENAME": "node1",
        "GANHPC_ON": "auto",
        "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
    }
    done = launch(*PACED, **env)
    assert "inside job 12 of Slurm" in done.stderr and "job 12 ends at" in done.stdout, done.stderr
    assert "out of time: the job ends" in done.stdout, done.stdout
    (run,) = tmp_path.glob("runs/*/*")
    assert list(run.glob("checkpoints/step-*")), "saved before the end"


def test_a_changed_end_reaches_the_trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = made(tmp_path)
    job = Inside("slurm", "12")
    monkeypatch.setattr(Inside, "end", lambda _: 5e9)
    assert local_launch._renew_bound(run, job, Bound(4e9)) == Bound(5e9)
    told = json.loads(run.deadline_json.read_text())
    assert (told["end"], told["owner"]) == (5e9, file_owner.process(os.getpid()))
    monkeypatch.setattr(Inside, "end", lambda _: None)
    assert local_launch._renew_bound(run, job, Bound(5e9)) == Bound(5e9), (
        "a scheduler that doesn't answer changes nothing"
    )


def test_a_home_that_is_not_there_is_not_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = Path(pwd.getpwuid(os.getuid()).pw_dir)
    for text, wanted in ((str(tmp_path), tmp_path), (str(tmp_path / "gone"), system), ("relative", system)):
        monkeypatch.setenv("HOME", text)
        assert whoami.home() == wanted


def test_inside_a_job_of_pbs_its_variables_are_taken_out_and_its_server_stays() -> None:
    around = {
        "PBS_JOBID": "7",
        "PBS_NODEFILE": "/n",
        "PBS_O_WORKDIR": "/w",
        "PBS_SERVER": "here",
        "PBS_CONF_FILE": "/c",
        "RANK": "1",
    }
    found = for_commands(around)
    assert {name for name in found if name in around} == {"PBS_SERVER", "PBS_CONF_FILE"}


def test_from_inside_a_training_nothing_of_it_reaches_what_is_submitted() -> None:
    """The threads and the rank of the outer training became those of the job; what a user may set for the launcher stays."""
    typed = dict.fromkeys(("GANHPC_CONFIG", "GANHPC_DATA", "GANHPC_JOBS", "GANHPC_RUNS", "GANHPC_ON"), "mine")
    outer = trainer_protocol.environment({}, one_machine=False) | job_deadline.environment("owner", Bound(4e9))
    outer |= environment.variables(Run(Path("/r/x")), 1, 0, 60.0, Place(tasks=2), outer) | Place(tasks=2).variables(1)
    found = for_commands({**outer, **typed, last_words.VARIABLE: "p", trainer_protocol.TAG: "t"})
    assert {name: value for name, value in found.items() if name.startswith("GANHPC_")} == typed
    assert not {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR"} & set(found)
    for own, left in (("", None), ("3", "3")):  # torchrun's own 1 is none of the user's
        found = for_commands({"OMP_NUM_THREADS": "1", OMP_TYPED: own})
        assert found.get("OMP_NUM_THREADS") == left
    assert for_commands({"OMP_NUM_THREADS": "2"})["OMP_NUM_THREADS"] == "2"
    assert OMP_TYPED not in environment.variables(Run(Path("/r/x")), 1, 0, 60.0, Place(), outer)


@pytest.mark.parametrize("entry", ["ganhpc.train", "ganhpc.train.torchrun", "ganhpc.program.runner"])
def test_a_trainer_is_none_of_the_processes_of_which_a_shell_keeps_the_variables(entry: str) -> None:
    """With WORLD_SIZE=2, as tutorials of torch have one export it, it waited for another process until its job ended."""
    kept = {
        "RANK": "1",
        "WORLD_SIZE": "2",
        "LOCAL_RANK": "1",
        "LOCAL_WORLD_SIZE": "x",
        "MASTER_ADDR": "a",
        "MASTER_PORT": "1",
    }
    kept |= {"TORCHELASTIC_RUN_ID": "x", "PET_STANDALONE": "1"}
    words = [
        sys.executable,
        "-c",
        "import json, os; print(json.dumps(dict(os.environ)))",
        entry,
    ]
    trainer = TrainerProcesses(words, {**os.environ, **kept, "MINE": "stays"}, stdout=subprocess.PIPE)
    assert trainer.child.stdout
    found = json.load(trainer.child.stdout)
    assert trainer.end() == 0 and found["MINE"] == "stays"
    own = entry == "ganhpc.program.runner"  # a program of the user's may need them, to be one process
    assert set(kept) & set(found) == (set(kept) if own else set())
