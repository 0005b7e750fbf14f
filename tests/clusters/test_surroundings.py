"""On real schedulers: other jobs with odd names, sites that rename jobs, the user's own defaults, and shells in an unusual state."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clusters import machine, slurm
from tests.clusters.test_granted import LUA, site_rule
from tests.clusters.user import BEGUN, ENDLESS, SMALL, User, read

pytestmark = pytest.mark.cluster

MINUTES = 'max_job = "2m"\nmax_jobs = 1\ngap = "2s"\nmin_slot = "10s"\n'


@pytest.fixture(params=["slurm", "oar"])
def user(request: pytest.FixtureRequest, checkout: Path) -> Iterator[User]:
    cluster = request.getfixturevalue("slurm_bare" if request.param == "slurm" else "oar_cluster")
    made = User(request.param, cluster, checkout, f"around {request.param}")
    (made.folder / "minutes.toml").write_text(MINUTES)
    yield made
    made.close()


def of_others(user: User, name: str) -> str:
    """Submit a job of the user's own with this name; returns its number."""
    if user.where == "slurm":
        words = ["sbatch", "-H", "-J", name, "--comment", name, "-t", "30", "-o", "/dev/null", "--wrap", "sleep 600"]
    else:
        words = ["oarsub", "-n", name, "-l", "/core=1,walltime=0:30", "-d", "/", "sleep 600"]
    done = user.cluster.as_user(words, cwd="/")
    (number,) = re.findall(r"(?:Submitted batch job |OAR_JOB_ID=)(\d+)", done.stdout)
    return str(number)


def take_back(user: User, *numbers: str) -> None:
    user.cluster.as_user(["scancel" if user.where == "slurm" else "oardel", *numbers])


def test_jobs_of_any_name_are_waited_for(user: User) -> None:
    """Line breaks and separators in the names of the user's other jobs hide none of them from the rule of one job."""
    others = [of_others(user, name) for name in ("a\nb|c", "x\x1f\x1f\ny\x1e", '7 "q" \\ {[')]
    try:
        done = user.run(*SMALL, *ENDLESS, "--segments", "1", "--on", user.where, "--policy", "alone.toml", "--json")
        assert done.returncode == 0, done.stderr
        tree = json.loads(done.stdout)
        (sent,) = tree["sent"]
        if user.where == "slurm":
            waits = user.cluster.as_user(["squeue", "-h", "-j", sent, "-o", "%E"]).stdout
        else:
            waits = json.dumps(json.loads(user.cluster.as_user(["oarstat", "-f", "-J", "-j", sent]).stdout))
        assert all(number in re.findall(r"\d+", waits) for number in others), waits
    finally:
        take_back(user, *others)


RENAMES = {
    "oar": '$job_name = "ganhpc:site-" . int(rand(1000000));',
    "slurm": 'job.name = "site-" .. tostring(math.random(1000000)); job.comment = "site"',
}


def test_the_script_of_a_night_knows_jobs_that_the_site_renamed(user: User) -> None:
    words = ("night", "paced", "--data", "synthetic", "--device", "cpu", "--time", "4m", "--on", user.where)
    assert user.run(*words, "--policy", "none", *BEGUN).returncode == 0
    (script,) = user.folder.glob("night-*.sh")
    with site_rule(user, RENAMES[user.where]):
        first = user.cluster.as_user(["bash", script], cwd=user.folder)
        assert first.returncode == 0, first.stderr
        # Functions with the names of commands, and a clock of elsewhere, change nothing of it.
        blind = 'squeue() { :; }; oarstat() { :; }; export -f squeue oarstat; TZ=Asia/Tokyo bash "$0"'
        again = user.cluster.as_user(["bash", "-c", blind, script], cwd=user.folder)
    (run,) = (user.folder / "runs" / "paced").iterdir()
    (known,) = user.see(run)["jobs"]
    assert f"submitted already, as job {known['id']}: not submitted again" in again.stderr, again.stderr
    assert "is cancelled" in user.run("cancel", str(run)).stdout


def test_the_script_of_a_night_looks_for_jobs_that_came_since(user: User) -> None:
    """A job submitted behind the plan keeps its place; without it, the same script submits the night, and PYTHONHOME ends none of it."""
    words = ("night", *SMALL, "--time", "2m", "--on", user.where, "--policy", "minutes.toml")
    assert user.run(*words, *BEGUN).returncode == 0
    (script,) = user.folder.glob("night-*.sh")
    other = of_others(user, "mine")
    try:
        told = user.cluster.as_user(["bash", script], cwd=user.folder)
        assert told.returncode != 0 and "would make more than 1 at a time (policy minutes)" in told.stderr, told.stderr
        assert f"job {other}" in told.stderr and "python launch.py night" in told.stderr, told.stderr
        (run,) = (user.folder / "runs" / "paced").iterdir()
        assert not user.see(run)["jobs"]
    finally:
        take_back(user, other)
    odd = {"PYTHONHOME": "/nowhere", "PYTHONSTARTUP": "/nowhere", "PYTHONINSPECT": "1", "PYTHONPATH": "/nowhere"}
    there = lambda: user.cluster.as_user(["bash", script], cwd=user.folder, env=odd).returncode == 0  # noqa: E731
    machine.wait_until(there, 60, "the place of the job that was taken back", pause=0.5)
    assert len(user.see(run)["jobs"]) == 1
    if user.where == "slurm":  # OAR hands no environment on
        assert user.wait(run, ["running", "done"])["state"] in ("running", "done")


def test_the_script_of_a_night_takes_a_job_back_that_does_not_wait(slurm_bare: slurm.Slurm, checkout: Path) -> None:
    user = User("slurm", slurm_bare, checkout, "around night")
    try:
        (user.folder / "minutes.toml").write_text(MINUTES)
        words = ("night", *SMALL, "--time", "4m", "--on", "slurm", "--policy", "minutes.toml")
        assert user.run(*words, *BEGUN).returncode == 0
        (script,) = user.folder.glob("night-*.sh")
        with slurm_bare.submit_plugin(LUA.format("job.dependency = ''")):
            told = user.cluster.as_user(["bash", script], cwd=user.folder)
        assert told.returncode != 0, told.stdout
        assert re.search(r"does not wait for job \d+, behind which it was to start.*is taken back", told.stderr)
    finally:
        user.close()


def test_defaults_of_the_users_own_are_read_as_options_are(slurm_bare: slurm.Slurm, checkout: Path) -> None:
    """Many sites have the plugin that reads them; sbatch has no word against most."""
    user = User("slurm", slurm_bare, checkout, "around defaults")
    defaults = machine.home() / ".slurm" / "defaults"
    defaults.parent.mkdir(exist_ok=True)
    try:
        with slurm_bare.configured(CliFilterPlugins="user_defaults"):
            for line, name in (("*:array=0-2", "array"), ("sbatch:*:begin=now+1hour", "begin"), ("wait=1", "wait")):
                defaults.write_text(f"{line}\n")
                done = user.run(*SMALL, *ENDLESS, "--on", "slurm", "--policy", "alone.toml")
                assert f"sets --{name} of sbatch" in done.stderr and str(defaults) in done.stderr, done.stderr
            defaults.write_text("time=4:00:00\nsalloc:array=0-2\noutput=/tmp/elsewhere\n#begin=now+1hour\nnice=5\n")
            run = user.launch(*ENDLESS, "--segments", "1")
        (job,) = user.jobs(run)
        told = user.cluster.as_user(["squeue", "-h", "-r", "-j", job["job_id"], "-o", "%l %y"]).stdout.split()
        assert told[0] == "30:00" and len(told) == 2
    finally:
        machine.remove(defaults.parent)
        user.close()


def test_a_shell_in_an_unusual_state_trains_all_the_same(user: User) -> None:
    shell = (
        'cd() { builtin cd "$@" && echo "now in $PWD"; }; srun() { :; }; sbatch() { :; }; oarsub() { :; }; squeue() { :; }\n'
        "export -f cd srun sbatch oarsub squeue\n"
        'umask 077; unset HOME USER LOGNAME; exec "$@"'
    )
    around = {
        "TMPDIR": "/no/such", "CDPATH": "/tmp", "LD_PRELOAD": "/no/such.so", "PYTHONINSPECT": "1", "TZ": "Asia/Tokyo", "POSIXLY_CORRECT": "1",
        "SHELLOPTS": "noexec" if user.where == "slurm" else "", "LC_ALL": "nosuch", "BASH_ENV": str(user.folder / "mine.sh"),
        "GANHPC_CONFIG": str(user.folder / "config.toml"), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    (user.folder / "mine.sh").write_text("echo mine\n")
    shared = user.folder / "shared"
    shared.mkdir()
    (user.folder / "link").symlink_to(shared)
    machine.give(user.folder)
    bash = ["env", "-u", "SHELLOPTS", "bash", "-c", shell, "bash"]
    state = ["env", *(f"{name}={value}" for name, value in around.items() if value)]
    words = [*SMALL, "--epochs", "1", "--on", user.where, "--policy", "free.toml", "--runs", "link", "--json"]
    command = [*bash, *state, user.python, str(user.checkout / "launch.py"), *words]
    done = user.cluster.as_user(command, cwd=user.folder, timeout=120)
    assert done.returncode == 0, done.stderr
    run = shared / "paced" / json.loads(done.stdout)["slots"][0]["run"]
    user.settles(run, "done")
    assert read(run / "result.json")["processes"] == 1


def test_a_user_without_a_name_is_one_by_number(slurm_bare: slurm.Slurm, checkout: Path) -> None:
    """As in a container: squeue takes no such user, and tells of none of his jobs."""
    user = User("slurm", slurm_bare, checkout, "around number")
    number = 42424
    subprocess.run(["chown", "-R", f"{number}:{number}", user.folder], check=True)
    home = machine.home().stat().st_mode
    machine.home().chmod(0o755)
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(user.folder), "OMP_NUM_THREADS": "1", **slurm_bare.env}
    launch = [user.python, str(user.checkout / "launch.py")]

    def types(*words: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            words, user=number, group=number, extra_groups=[], env=env, cwd=user.folder,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done

    try:
        words = (*launch, *SMALL, *ENDLESS, "--segments", "1", "--on", "slurm", "--policy", "alone.toml")
        (sent,) = json.loads(types(*words, "--json").stdout)["sent"]
        assert f"is submitted already, as job {sent}" in types(*words).stdout
        assert f"jobs: {sent}" in types(*launch, "cancel", "--all").stdout
        night = ("night", "paced", "--data", "synthetic", "--device", "cpu", "--time", "4m", "--on", "slurm")
        types(*launch, *night, "--policy", "none", *BEGUN)
        (script,) = user.folder.glob("night-*.sh")
        types("bash", str(script))
        assert "not submitted again" in types("bash", str(script)).stderr
    finally:
        types(*launch, "cancel", "--all")
        machine.home().chmod(home)
        user.close()


def test_an_oarconffile_from_elsewhere_makes_no_second_cluster(oar_user: User, tmp_path: Path) -> None:
    """OAR's commands overwrite the variable: a run that was submitted with it is known without it, and the other way round."""
    other = tmp_path / "oar.conf"
    other.write_text('SERVER_HOSTNAME="elsewhere"\n')
    tmp_path.chmod(0o755)
    around = {"OARCONFFILE": str(other)}
    words = [*SMALL, *ENDLESS, "--segments", "1", "--on", "oar", "--policy", "alone.toml"]
    first = oar_user.run(*words, env=around)
    assert first.returncode == 0, first.stderr
    again = oar_user.run(*words)
    assert "is submitted already, as job" in again.stdout + again.stderr, again.stdout + again.stderr
    (run,) = (oar_user.folder / "runs" / "paced").iterdir()
    (job,) = oar_user.jobs(run)
    assert "elsewhere" not in str(job["cluster"])
    taken = oar_user.run("cancel", run.name, env=around)
    assert f"is cancelled (jobs: {job['job_id']})" in taken.stdout, taken.stdout + taken.stderr
