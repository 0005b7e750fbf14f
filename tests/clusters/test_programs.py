"""A user's own programs on a real Slurm and a real OAR."""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ganhpc.program import descendants
from tests.clusters import machine
from tests.clusters.conftest import slow_tests
from tests.clusters.machine import wait_until
from tests.clusters.programs import Programs, Uninterrupted
from tests.clusters.user import User, read

pytestmark = pytest.mark.cluster
PATIENCE = 300.0
"""Seconds for a program of few seconds, behind whatever else the cluster does on a busy machine."""


@pytest.fixture(scope="session")
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Uninterrupted | None:
    """The programs in one piece; None when no slow test is to be run."""
    if not slow_tests(request):
        return None
    return Uninterrupted(tmp_path_factory.mktemp("whole"), Path(machine.readable_python("torch")))


def _submitted(request: pytest.FixtureRequest, where: str) -> Iterator[Programs | None]:
    if request.getfixturevalue("whole") is None:
        yield None
        return
    cluster, checkout = request.getfixturevalue(f"{where}_cluster"), request.getfixturevalue("checkout")
    made = Programs(User(where, cluster, checkout, f"programs-{where}"))
    yield made
    made.user.close()


@pytest.fixture(scope="session")
def slurm_programs(request: pytest.FixtureRequest) -> Iterator[Programs | None]:
    yield from _submitted(request, "slurm")


@pytest.fixture(scope="session")
def oar_programs(request: pytest.FixtureRequest) -> Iterator[Programs | None]:
    yield from _submitted(request, "oar")


_SECONDS = itertools.count(424_200 + 100 * (os.getpid() % 1000))
"""Words by which a sleep is known."""


def _running(words: str) -> list[int]:
    """The processes with that command line."""
    line = b"".join(word.encode() + b"\0" for word in words.split())
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if path.read_bytes() == line:
                found.append(int(path.parent.name))
    return found


def _parent(pid: int) -> int:
    """The process that has started the runner: the node agent."""
    parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    assert b"ganhpc.node" in Path(f"/proc/{parent}/cmdline").read_bytes()
    return parent


ENDLESS = 'trap \'echo $n > "$1/n"; exit 0\' TERM; n=$(cat "$1/n" 2>/dev/null || echo 0); echo from $n; [ $n -gt 0 ] && exit 0; while :; do n=$((n + 1)); sleep 0.2; done'
WORDS = ("two words", "it's", '"', "$HOME", "`id`", "one\ntwo", "é漢", "", "*", "\\", "{{run}}")


@pytest.fixture(params=["slurm", "oar"])
def user(request: pytest.FixtureRequest, checkout: Path) -> Iterator[User]:
    request.getfixturevalue(f"{request.param}_programs")  # begun before the quick ones
    made = User(request.param, request.getfixturevalue(f"{request.param}_cluster"), checkout, f"own-{request.param}")
    yield made
    made.close()


def test_any_argument_arrives_and_a_killed_program_goes_on(user: User) -> None:
    """Submitted, its arguments as typed, its node agent killed by kill -9, submitted again by the same words, cancelled, resumed, done."""
    script = 'import json, sys; json.dump(sys.argv[2:], open(sys.argv[1] + "/said.json", "w"))'
    daemon = f"sleep {next(_SECONDS)}"
    whole = f'setsid env -i {daemon} & "$0" -c "$1" "$2" "${{@:3}}"; set -- "$2"; {ENDLESS}'
    words = ("bash", "-c", whole, user.python, script, "{checkpoints}", *WORDS)
    options = (
        "--time",
        "3m",
        "--name",
        "own",
        "--device",
        "cpu",
        "--on",
        user.where,
        "--policy",
        "free.toml",
        "--json",
    )

    def launch() -> Path:
        done = user.run("program", *options, "--", *map(str, words))
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return user.folder / "runs" / "program" / str(json.loads(done.stdout)["slots"][0]["run"])

    run = launch()
    said = run / "checkpoints" / "said.json"

    def running() -> int:
        status = read(run / "status.json")
        return int(status["pid"]) if status.get("state") == "running" and said.exists() and user.see(run)["jobs"] else 0

    pid = wait_until(running, PATIENCE, "the program runs", pause=0.5)
    assert json.loads(said.read_text()) == [word if word != "{{run}}" else "{run}" for word in WORDS]
    assert isinstance(pid, int)
    assert len(_running(daemon)) == 1
    time.sleep(4 * descendants._LOOK_SECONDS)  # as a program has run when its node agent is killed
    os.kill(_parent(pid), signal.SIGKILL)
    seen = user.settles(run, "resumable")
    assert "resume" in seen["next_command"] and seen["reason"].endswith("the last checkpoint is whole"), seen
    wait_until(lambda: not _running(daemon), PATIENCE, "nothing of the program survives its job")
    assert launch() == run
    wait_until(
        lambda: (run / "log.txt").read_text().count("from 0") == 2 and running(), PATIENCE, "it goes on", pause=0.5
    )
    assert user.run("cancel", run.name).returncode == 0
    assert user.see(run)["state"] == "cancelled"
    wait_until(lambda: (run / "checkpoints" / "n").exists(), PATIENCE, "it has saved", pause=0.5)
    resumed = user.run("resume", run.name, "--policy", "free.toml")
    assert resumed.returncode == 0, resumed.stderr
    seen = user.settles(run, "done")
    assert seen["state"] == "done" and read(run / "result.json")["segments"] == 3


BESIDE = """
import json, os, sys
names = ("RANK", "GANHPC_RANK", "LOCAL_RANK", "WORLD_SIZE", "GANHPC_SEGMENT")
told = {name: os.environ.get(name) for name in names}
json.dump({**told, "words": sys.argv[1:]}, open(f"{os.environ['GANHPC_CHECKPOINTS']}/{told['RANK']}.json", "w"))
"""


def test_a_program_on_two_nodes_in_a_night(user: User) -> None:
    """Slurm: plain, two processes on each node; OAR: by torchrun, one on each. Its words are any."""
    if user.where == "oar":  # of whole nodes, other tests' jobs may have a core
        (user.folder / "config.toml").write_text('resources = "/host=2/core=1"\n')
    tasks, launcher = (2, "plain") if user.where == "slurm" else (1, "torchrun")
    moments = (dt.datetime.now().astimezone() + dt.timedelta(minutes=m) for m in (-1, 60))
    begin, until = (f"{moment:%Y-%m-%dT%H:%M:%S%z}" for moment in moments)
    words = f"night program --nodes 2 --tasks-per-node {tasks} --launcher {launcher} --device cpu --time 4m --yes --json".split()
    words += ["--from", begin, "--until", until, "--on", user.where, "--policy", "free.toml"]
    done = user.run(*words, "--", user.python, "-c", BESIDE, *WORDS)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    run = user.folder / "runs" / "program" / str(json.loads(done.stdout)["slots"][0]["run"])
    user.wait(run, ("done", "crashed"))
    wanted = [word if word != "{{run}}" else "{run}" for word in WORDS]
    for rank in range(2 * tasks):
        told = {
            "RANK": str(rank),
            "GANHPC_RANK": str(rank),
            "LOCAL_RANK": str(rank % tasks),
            "WORLD_SIZE": str(2 * tasks),
        }
        said = read(run / "checkpoints" / f"{rank}.json")
        assert said == {**told, "GANHPC_SEGMENT": "1", "words": wanted}, (run / "log.txt").read_text()
    assert read(run / "result.json")["processes"] == 2 * tasks


@pytest.mark.slow
def test_the_four_programs_on_slurm(slurm_programs: Programs | None, whole: Uninterrupted | None) -> None:
    assert slurm_programs and whole
    slurm_programs.check(whole)


@pytest.mark.slow
def test_the_four_programs_on_oar(oar_programs: Programs | None, whole: Uninterrupted | None) -> None:
    assert oar_programs and whole
    oar_programs.check(whole)
