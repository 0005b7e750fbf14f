"""The commands of the campaign: each with the world that it is typed in, and what must hold once it is typed again."""

from __future__ import annotations

import datetime as dt
import hashlib
import itertools
import shutil
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from ganhpc.launch.schedulers import local, local_queue_jobs, local_queue_worker
from ganhpc.runs import submission_record
from ganhpc.runs.run_folder import State
from tests.faults import campaign, folders
from tests.faults.campaign import Fault, Outcome
from tests.faults.hook.sitecustomize import LOOK
from tests.faults.trainings import a_new, a_new_run, agent, on_a_finished_run, resumable, trained, trainer
from tests.faults.world import World, typed
from tests.run_folders import stopped

COMMON = ("--data", "synthetic", "--train-images", "200", "--device", "cpu")


@dataclass(frozen=True)
class Scenario:
    """A command, and what must hold."""

    name: str
    prepare: Callable[[World], None]
    command: Callable[[World], object]
    holds: Callable[[World], None]
    """What must hold once the command has been typed again, without a fault."""
    between: Callable[[World, Outcome], None] = lambda *_: None
    """What must hold behind the fault."""
    code: int = 0
    """The exit code of the command when all is well."""
    weight: int = 4
    """Number of its faults that continuous integration tries; 0: only `python -m tests.faults` tries it."""
    program: str = ""
    """The program of ours that meets the fault, where it is one that the command starts; empty: the command itself."""

    def counted(self, place: Path) -> tuple[int, int]:
        """How many operations the command has when all is well: those that write, and all of them."""
        world = World(place)
        self.prepare(world)
        found = world.run(self.command, Fault(0, "none", self.program, reads=True))
        campaign.in_order(found)
        assert found.code == self.code, found.said
        self.holds(world)
        looks = sum(line.split()[1] == LOOK for line in found.operations)
        return len(found.operations) - looks, len(found.operations)

    def tried(self, place: Path, fault: Fault) -> Outcome:
        """The command under the fault, typed again, and once more."""
        world = World(place)
        self.prepare(world)
        met = world.run(self.command, fault)
        campaign.in_a_sentence(met, fault)
        self.between(world, met)
        for _ in range(2):
            again = world.run(self.command)
            campaign.in_order(again)
            assert again.code == self.code, f"typed again: {again.code} {again.said}"
            self.holds(world)
        assert not campaign.leftovers(world.home)
        return met


def nothing(world: World) -> None:
    """An empty world."""


# -- submitting -----------------------------------------------------------------------------------------------------------


def submitted(number: int) -> Callable[[World], None]:
    """Exactly so many jobs wait, each known to its run by its tag and its number, no segment twice."""

    def holds(world: World) -> None:
        queued = world.queued()
        assert len(queued) == number, queued
        entries = [entry for run in world.all() for entry in submission_record.read(run)["jobs"] if entry["job_id"]]
        open_ids = {
            str(entry["job_id"]): f"ganhpc:{entry['tag']}" for entry in entries if str(entry["job_id"]) in queued
        }
        assert open_ids == queued
        assert (
            len(
                {
                    (run.name, e["segment"])
                    for run in world.all()
                    for e in submission_record.read(run)["jobs"]
                    if e["job_id"]
                }
            )
            == number
        )

    return holds


def soon(hours: float) -> str:
    return f"{dt.datetime.now().astimezone() + dt.timedelta(hours=hours):%Y-%m-%dT%H:%M:%S%z}"


def night(world: World) -> object:
    words = ("night", "cifar:course", "--time", "75m", *COMMON, "--on", "oar", "--policy", "free.toml")
    return typed(*words, "--from", soon(0.1), "--until", soon(8), "--yes")(world)


def a_stopped_run(world: World) -> None:
    stopped(world.runs, "resumable", "SIGINT at the launcher", data="synthetic", train_images=200, device="cpu")


def resumed(world: World) -> object:
    (run,) = world.all()
    return typed("resume", run.name, "--on", "oar", "--policy", "free.toml")(world)


def two_waiting_jobs(world: World) -> None:
    found = world.run(night)
    assert found.code == 0, found.said


def none_left(world: World) -> None:
    assert not world.queued()
    assert all(run.run_status().state is State.CANCELLED for run in world.all())
    assert not [entry for run in world.all() for entry in submission_record.open_jobs(submission_record.read(run))]


# -- this machine's queue ---------------------------------------------------------------------------------------------------


def night_here(world: World) -> object:
    words = ("night", "cifar:course", "--epochs", "1", "--seeds", "2", *COMMON, "--on", "local")
    return typed(*words, "--from", soon(-0.001), "--until", soon(8), "--yes")(world)


def two_in_the_queue(world: World) -> None:
    with mock.patch.dict("os.environ", world.environ):
        jobs = list(local_queue_jobs.jobs(local.queue_folder()).values())
    known = {
        entry["tag"]: entry["job_id"]
        for run in world.all()
        for entry in submission_record.read(run)["jobs"]
        if entry["job_id"]
    }
    assert {job.tag: str(job.number) for job in jobs} == known and len(jobs) == 2
    assert all(Path(job.script).is_file() for job in jobs)


def three_jobs(world: World) -> None:
    """Three jobs that note that they began; the second one takes a moment."""
    with mock.patch.dict("os.environ", world.environ):
        for k in range(3):
            script = world.place / f"job{k}.sh"
            script.write_text(f"echo {k} >>{world.place}/ran\nsleep {0.4 if k == 1 else 0}\n")
            local_queue_jobs.add(local.queue_folder(), {"script": str(script), "tag": f"t{k}", "seconds": 60})


def runner(world: World) -> object:
    def main() -> int:
        from ganhpc.core.errors import UserError
        from ganhpc.core.printable import print_error

        try:  # a disk that stays full ends it
            with mock.patch.object(local_queue_worker, "PATIENCE_SECONDS", 0.3):
                return local_queue_worker.main(local.queue_folder())
        except UserError as error:
            print_error(error)
            return 2

    del world
    return main()


def each_ran_once(world: World) -> None:
    path = world.place / "ran"
    deadline = time.monotonic() + 120
    with mock.patch.dict("os.environ", world.environ):
        while any(job.state.alive for job in local_queue_jobs.jobs(local.queue_folder()).values()):
            assert time.monotonic() < deadline, "the queue does not end"
            time.sleep(0.05)
        assert len(local_queue_jobs.jobs(local.queue_folder())) == 3
    assert path.read_text().split() == ["0", "1", "2"]


# -- what only reads --------------------------------------------------------------------------------------------------------


def runs_of_every_state(world: World) -> None:
    folders.make(world.runs)


def digest(world: World) -> str:
    """All that runs hold."""
    found = hashlib.sha256()
    for path in sorted(world.runs.rglob("*")):
        if path.is_file() and ".index" not in path.name:
            found.update(f"{path.relative_to(world.runs)}".encode() + path.read_bytes())
    return found.hexdigest()


def reads(name: str, *words: str) -> Scenario:
    """A verb that only looks: what it looks at is as it was."""
    before: dict[str, str] = {}

    def prepare(world: World) -> None:
        runs_of_every_state(world)
        before[str(world.place)] = digest(world)

    def holds(world: World) -> None:
        assert digest(world) == before[str(world.place)]

    return Scenario(name, prepare, typed(*words), holds, weight=2)


def local_launch(world: World) -> object:
    return typed("cifar", "--preset", "course", "--epochs", "1", *COMMON, "--on", "local")(world)


def one_is_done(world: World) -> None:
    (run,) = world.all()
    assert run.run_status().state is State.DONE


SCENARIOS = {
    found.name: found
    for found in (
        Scenario("night", nothing, night, submitted(2), weight=2),
        Scenario("launch", nothing, typed("cifar", "--preset", "course", "--time", "30m", *COMMON, "--on", "oar", "--policy", "free.toml"), submitted(1), weight=1),
        Scenario("resume", a_stopped_run, resumed, submitted(1), weight=1),
        Scenario("cancel", two_waiting_jobs, typed("cancel", "--all"), none_left, weight=1),
        Scenario("night-here", nothing, night_here, two_in_the_queue, weight=6),
        Scenario("runner", three_jobs, runner, each_ran_once, weight=6),
        reads("status", "status", "--all"),
        reads("results", "results", "--each"),
        reads("results-json", "results", "--json"),
        Scenario("report", runs_of_every_state, typed("report", "runs/cifar", "--out", "report.html"), lambda _: None, weight=2),
        Scenario("trainer", a_new_run, trainer, trained, resumable, weight=5),
        Scenario("trainer-sdpc-gan", a_new("sdpc-gan", sdpc_share=0.5), trainer, trained, resumable, weight=0),
        Scenario("trainer-sdpc-gan-from", on_a_finished_run, trainer, trained, resumable, weight=1),
        Scenario("trainer-sdpc-began", a_new("sdpc-began"), trainer, trained, resumable, weight=0),
        Scenario("agent", a_new_run, agent, trained, weight=1),
        Scenario("local-launch", nothing, local_launch, one_is_done, weight=1),
        Scenario("trainer-of-launch", nothing, local_launch, one_is_done, weight=1, program="-m ganhpc.train"),
    )
}  # fmt: skip


def enough(number: int) -> int:
    """The least of `number` faults that are to be met: half of them, and one at least."""
    return max(1, (number + 1) // 2)


def campaign_of(name: str, place: Path, number: int | None, say: Callable[[str], object]) -> tuple[int, int]:
    """Try `number` faults of a scenario, or all: (how many were met, how many went wrong), each of those said."""
    scenario = SCENARIOS[name]
    if name.startswith("trainer"):
        import ganhpc.train.loop.trainer  # noqa: F401 (loaded once: each try is a fork)
    writing, all_of_them = scenario.counted(place / "whole")
    met = wrong = 0
    seed = zlib.crc32(name.encode())
    tried = list(campaign.faults(writing, all_of_them, number, seed, scenario.program))
    more = campaign.faults(writing, all_of_them, len(tried) + 4, seed + 1, scenario.program)
    spare = [fault for fault in more if fault not in tried]
    for fault in itertools.chain(tried, spare):
        if fault in spare and met >= enough(len(tried)):
            break  # a spare is for a fault whose operation was not reached
        try:
            met += bool(scenario.tried(place / str(fault), fault).fired)
            shutil.rmtree(place / str(fault), ignore_errors=True)
        except AssertionError as error:
            wrong += 1
            say(f"{name} {fault}, in {place / str(fault)}: {error}")
    say(
        f"{name}: {writing} operations that write, {all_of_them - writing} that read; {met} faults met, {wrong} went wrong"
    )
    return met, wrong
