"""`launch.py night`: the plan as JSON and as a timeline, the script, and what is submitted."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ganhpc.cli.commands.night import command, definitions
from ganhpc.core.errors import UserError
from ganhpc.core.settings import Settings
from ganhpc.launch.policy.check import Request, check
from ganhpc.launch.policy.policy import load_policy
from ganhpc.launch.submission.prepare import zone
from ganhpc.runs import submission_record
from ganhpc.runs.run_folder import Run
from tests.clusters.fake_oar import FakeOar
from tests.conftest import Launch
from tests.launch.schedulers.oar_requests import install
from tests.launch.schedulers.shell_commands import program

STUDENT = load_policy("student")
PARIS = zone(Settings(), STUDENT)
DRY = ("--on", "oar", "--dry-run", "--json")
SMALL = ("--data", "synthetic", "--train-images", "512")


def plan(launch: Launch, *words: str, **env: str) -> dict[str, Any]:
    done = launch("night", *words, *DRY, **env)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def spans(slots: Sequence[dict[str, str]]) -> list[tuple[dt.datetime, dt.datetime]]:
    return [(dt.datetime.fromisoformat(slot["start"]), dt.datetime.fromisoformat(slot["end"])) for slot in slots]


@pytest.mark.slow  # 3 s of processor time for its 4 cases
@pytest.mark.parametrize(
    ("now", "first", "offset"),
    [
        ("2026-11-23T17:30:00", "2026-11-23T19:01:00", 1),
        ("2026-12-24", "2026-12-24T00:00:00", 1),
        ("2027-03-27", "2027-03-27T00:00:00", 1),
        ("2027-10-30", "2027-10-30T00:00:00", 2),
    ],
)
def test_six_hours_of_one_run_keep_every_rule(launch: Launch, now: str, first: str, offset: int) -> None:
    tree = plan(launch, "cifar", "--time", "6h", "--now", now)
    assert set(tree) == {"slots", "remaining", "said"} and tree["said"] == []
    assert tree["remaining"] == []
    assert all(set(slot) == {"run", "segment", "start", "end", "kind", "reason"} for slot in tree["slots"])
    times = spans(tree["slots"])
    assert times[0][0].isoformat() == f"{first}+{offset:02d}:00"
    assert sum((end - start).total_seconds() for start, end in times) == 6 * 3600
    assert all((after - before).total_seconds() >= 61 for (_, before), (after, _) in pairwise(times))
    moment = dt.datetime.fromisoformat(now).replace(tzinfo=PARIS)
    for start, end in times:
        assert not check(Request(start, int((end - start).total_seconds())), STUDENT, PARIS, moment)
    assert [slot["segment"] for slot in tree["slots"]] == list(range(1, len(times) + 1))


def test_a_full_night_has_its_two_reservations_around_the_morning_edge_and_says_what_is_left(launch: Launch) -> None:
    words = ("cifar", "began", "wgan-gp", "--time", "6h", "--now", "2026-11-23T17:30:00")
    tree = plan(launch, *words)
    before, after = tree["slots"][-2:]
    assert (before["kind"], after["kind"]) == ("reservation", "reservation")
    assert before["end"] == "2026-11-24T08:59:00+01:00"
    assert after["start"] == "2026-11-24T09:01:00+01:00"
    assert "the 09:00 edge of Tue 24 Nov" in before["reason"]
    assert "no more fits" in tree["remaining"][-1]["reason"]
    done = sum((end - start).total_seconds() for start, end in spans(tree["slots"]))
    assert done + sum(left["seconds"] for left in tree["remaining"]) == 18 * 3600


def test_the_window_is_the_users_where_they_say_so(launch: Launch) -> None:
    words = ("cifar", "--time", "6h", "--now", "2026-11-23T17:30:00", "--from", "21:00", "--until", "23:30")
    tree = plan(launch, *words)
    times = spans(tree["slots"])
    assert times[0][0].isoformat() == "2026-11-23T21:00:00+01:00"
    assert times[-1][1].isoformat() <= "2026-11-23T23:30:00+01:00"
    assert tree["remaining"][0]["seconds"] > 0


def test_the_timeline_reads_well_on_a_narrow_terminal(launch: Launch) -> None:
    words = (
        "night",
        "cifar:course",
        "began",
        "--time",
        "75m",
        "--now",
        "2026-11-23T17:30:00",
        "--on",
        "slurm",
        "--dry-run",
    )
    done = launch(*words, COLUMNS="80")
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "19:01:00 - 20:01:00" in done.stdout
    assert "Mon 23 Nov 2026" in done.stdout
    assert not (Path(str(done.args[1])).parent / "nothing").exists()


def test_presets_seeds_and_options_of_all() -> None:
    values = {"seeds": 2, "epochs": 3, "train_images": 200}
    made = definitions(("cifar:course", "cifar"), values)
    assert [(e.preset, e.seed, e.budget.epochs, e.budget.time) for e in made] == [
        ("course", 0, 3, None), ("course", 1, 3, None), ("default", 0, 3, None), ("default", 1, 3, None)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("nosuch",), "there is no experiment 'nosuch'"),
        (("cifar:nosuch",), "--preset 'nosuch' is not one of cifar's presets"),
        (("cifar", "cifar"), "is named twice: leave one out"),
    ],
)
def test_mistakes_are_sentences(words: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(UserError, match=re.escape(sentence)):
        definitions(words, {"seeds": 1})


def test_inside_a_job_a_night_is_not_left_in_the_queue_of_its_node(launch: Launch, tmp_path: Path) -> None:
    """It was queued there for the evening, and lost with the job."""
    (tmp_path / "bin").mkdir()
    program(tmp_path / "bin" / "squeue", f"echo {int(time.time()) + 600}")
    path = f"{tmp_path}/bin:{os.environ['PATH']}"
    env = {"SLURM_JOB_ID": "12", "SLURMD_NODENAME": "node1", "GANHPC_ON": "auto", "PATH": path}
    done = launch("night", "cifar", "--time", "1h", *SMALL, "--yes", **env)
    assert done.returncode == 2 and not list(tmp_path.glob("runs/*")), done.stdout
    assert "inside job 12 of Slurm" in done.stderr and "--on slurm" in done.stderr and "--on local" in done.stderr


def test_another_moment_is_for_planning_only(launch: Launch) -> None:
    done = launch("night", "cifar", "--now", "2026-11-23T17:30:00", "--yes")
    assert done.returncode == 2
    assert "--now plans from another moment" in done.stderr
    done = launch("night", "cifar", "--now", "tomorrow", "--dry-run")
    assert "--now 'tomorrow' is not a moment" in done.stderr


# -- submitted, with the fake OAR ----------------------------------------------------------------------------------------


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeOar:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    fake = install(tmp_path, monkeypatch)
    fake.set_clock(dt.datetime.now())
    (tmp_path / "free.toml").write_text('base = "student"\nedges = []\n')
    return fake


def soon(hours: float) -> str:
    return f"{dt.datetime.now().astimezone() + dt.timedelta(hours=hours):%Y-%m-%dT%H:%M:%S%z}"


@pytest.mark.slow  # 3 s of processor time: processes of its own
def test_yes_submits_and_leaves_a_script_that_says_so(launch: Launch, fake: FakeOar, tmp_path: Path) -> None:
    words = ("night", "cifar", "cifar:course", "--time", "75m", *SMALL, "--on", "oar", "--policy", "free.toml")
    done = launch(*words, "--from", soon(0.1), "--until", soon(8), "--yes", "--json")
    assert done.returncode == 0, done.stderr
    tree = json.loads(done.stdout)
    assert len(tree["sent"]) == len(tree["slots"]) == 4
    names = {fake.job(int(id))["name"] for id in tree["sent"]}
    assert len(names) == 4
    (script,) = tmp_path.glob("night-*.sh")
    assert f"Submitted already, as jobs {', '.join(tree['sent'])}" in script.read_text()
    again = subprocess.run(["bash", script], capture_output=True, text=True, timeout=300)
    assert (again.returncode, again.stdout) == (0, "")


def test_a_night_without_room_for_a_job_is_refused_and_leaves_no_script(
    launch: Launch, fake: FakeOar, tmp_path: Path
) -> None:
    """A script without a job ended as if it had submitted some."""
    words = ("night", "cifar", "--time", "75m", *SMALL, "--on", "oar", "--policy", "free.toml")
    done = launch(*words, "--from", soon(0.1), "--until", soon(0.11))
    assert done.returncode == 2 and "has no place for 1h15m of" in done.stderr and "no more fits" in done.stderr
    assert not list(tmp_path.glob("night-*.sh")) and not fake.run(["oarstat"]).stdout


@pytest.mark.slow  # 2 s of processor time: processes of its own
def test_jobs_are_told_of_where_their_script_cannot_be_written(launch: Launch, fake: FakeOar, tmp_path: Path) -> None:
    """They were submitted, and the command ended with an error on its script alone."""
    today = dt.datetime.now().astimezone().date()
    for days in (-1, 0, 1):  # something else has the script's place
        (tmp_path / f"night-{today + dt.timedelta(days=days)}.sh").mkdir()
    words = ("night", "cifar", "--time", "30m", *SMALL, "--on", "oar", "--policy", "free.toml", "--yes")
    done = launch(*words, "--from", soon(0.1), "--until", soon(8))
    assert done.returncode == 0, done.stderr
    assert "the jobs are submitted; the night's script could not be written" in done.stdout
    assert len(fake.run(["oarstat", "-J", "-f"]).stdout) > 2 and "segment 1" in done.stdout


@pytest.mark.slow  # 4 s of processor time: processes of its own
def test_without_a_yes_the_script_submits_by_hand_and_the_launcher_knows_the_jobs(
    launch: Launch, fake: FakeOar, tmp_path: Path
) -> None:
    words = ("night", "cifar", "--time", "75m", *SMALL, "--on", "oar", "--policy", "free.toml")
    done = launch(*words, "--from", soon(0.1), "--until", soon(8))
    assert done.returncode == 0, done.stderr
    assert "nothing is submitted" in done.stderr
    assert fake.run(["oarstat"]).stdout == ""
    (script,) = tmp_path.glob("night-*.sh")
    ours, theirs = socket.socketpair()  # standard error that can't be opened a second time, as under su, ssh or cron
    env = {**os.environ, **fake.env}
    by_hand = subprocess.run(["bash", script], cwd=tmp_path, env=env, stdout=theirs, stderr=theirs, timeout=300)
    assert by_hand.returncode == 0, ours.recv(9999)
    assert b"OAR_JOB_ID=2" in ours.recv(9999), "what oarsub says is shown"
    assert fake.job(2)["dependencies"] == [1]
    (run,) = Run.all(tmp_path / "runs")
    assert [job["job_id"] for job in submission_record.read(run)["jobs"]] == ["1", "2"], "the script has read them back"
    record, plan = run.request_json.read_bytes(), script.read_bytes()
    again = launch(*words, "--from", soon(0.1), "--until", soon(8))
    assert "is submitted already, as job 1 (waiting), 2 (waiting)" in " ".join(again.stdout.split()), again.stdout
    again = launch(*words, "--from", soon(0.1), "--until", soon(8), "--json")
    assert json.loads(again.stdout)["slots"] == [] and "is submitted already" in again.stderr
    dry = launch(*words, "--from", soon(0.1), "--until", soon(8), "--dry-run", "--json")
    told = json.loads(dry.stdout)
    assert told["slots"] == [] and "is submitted already, as job 1" in told["said"][0] and dry.stderr == ""
    dry = launch("cifar", "--time", "75m", *SMALL, "--on", "oar", "--policy", "free.toml", "--dry-run", "--json")
    told = json.loads(dry.stdout)
    assert told["jobs"] == [] and "is submitted already, as job 1" in told["said"][0], "it would send nothing"
    assert "is submitted already" in launch("resume", run.name, "--dry-run").stdout
    assert (run.request_json.read_bytes(), script.read_bytes()) == (record, plan), "no script submits it once more"
    seen = json.loads(launch("status", "--json").stdout)["runs"][0]
    assert (seen["state"], [job["id"] for job in seen["jobs"]]) == ("waiting", ["1", "2"])
    assert launch("cancel", "--all").returncode == 0
    assert not submission_record.open_jobs(submission_record.read(run)), "it is known whose jobs were cancelled"


@pytest.mark.slow  # a second of processor time: processes of its own
@pytest.mark.usefixtures("fake")
def test_on_this_machine_a_night_is_a_queue(launch: Launch, tmp_path: Path) -> None:
    words = ("night", "cifar:course", "--epochs", "1", "--seeds", "2", *SMALL, "--device", "cpu", "--on", "local")
    done = launch(*words, "--from", soon(-0.001), "--until", soon(8), "--yes", "--json", OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    tree = json.loads(done.stdout)
    assert [slot["kind"] for slot in tree["slots"]] == ["queue", "queue"]
    follow = launch("logs", tree["slots"][1]["run"], "-f", timeout=240)
    assert follow.returncode == 0, follow.stderr
    states = {seen["run"]: seen["state"] for seen in json.loads(launch("status", "--json").stdout)["runs"]}
    assert set(states.values()) == {"done"}
    first, second = (
        json.loads((tmp_path / "runs" / "cifar" / slot["run"] / "result.json").read_text()) for slot in tree["slots"]
    )
    assert first["finished"] <= second["finished"], "in their order"


# -- programs of users ---------------------------------------------------------------------------------------------------

WORDS = ("two words", "it's", '"', "$HOME", "`id`", "one\ntwo", "é漢", "", "*", "\\", "--", "--yes", "night", "@{x}")


def commands(runs: Path) -> list[list[str]]:
    return [list(run.experiment().command) for run in Run.all(runs)]  # type: ignore[attr-defined]


@pytest.mark.slow  # processes of its own
def test_a_program_in_a_night_of_oar_is_submitted_with_any_argument(
    launch: Launch, fake: FakeOar, tmp_path: Path
) -> None:
    words = ("night", "program", "--time", "75m", "--name", "--", "--stop-signal", "USR1", "--on", "oar")
    words += ("--policy", "free.toml", "--from", soon(0.1), "--until", soon(8))
    done = launch(*words, "--", "python", "own.py", *WORDS)
    assert done.returncode == 0 and "nothing is submitted" in done.stderr, done.stderr
    (script,) = tmp_path.glob("night-*.sh")
    lines = [line for line in script.read_text().splitlines() if line.startswith("job")]
    assert len(lines) == 2 and all(line.endswith(")") for line in lines), "one line for each job"
    env = {**os.environ, **fake.env}
    by_hand = subprocess.run(["bash", script], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    assert by_hand.returncode == 0, by_hand.stderr
    assert fake.job(2)["dependencies"] == [1]
    assert commands(tmp_path / "runs") == [["python", "own.py", *WORDS]]
    (run,) = Run.all(tmp_path / "runs")
    assert [job["job_id"] for job in submission_record.read(run)["jobs"]] == ["1", "2"]
    assert run.experiment().stop_signal == "USR1"  # type: ignore[attr-defined]
    assert not re.search(r"own\.py|\$HOME", script.read_text() + fake.job(1)["command"]), "the definition alone has it"


@pytest.mark.slow  # processes of its own
@pytest.mark.usefixtures("fake")
def test_a_program_in_a_night_of_this_machine_runs_beside_others_and_its_scan(launch: Launch, tmp_path: Path) -> None:
    text = "import json, sys; json.dump(sys.argv[1:], open(f'said-{sys.argv[1]}.json', 'w'))"
    words = ("night", "program", "--time", "1m", "--scan", "lr=1e-3,0.1", "--on", "local", "--from", soon(-0.001))
    done = launch(*words, "--until", soon(8), "--yes", "--json", "--", "python", "-c", text, "{lr}", *WORDS)
    assert done.returncode == 0, done.stderr
    slots = json.loads(done.stdout)["slots"]
    assert len(slots) == 2 and launch("logs", slots[1]["run"], "-f", timeout=120).returncode == 0
    for value in ("1e-3", "0.1"):
        assert json.loads((tmp_path / f"said-{value}.json").read_text()) == [value, *WORDS]
    rows = json.loads(launch("results", "--json").stdout)
    assert {row["state"] for row in rows} == {"done"} and len(rows) == 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("program",), "program needs the command of your program, behind two dashes"),
        (("program", "python", "a b"), "night program -- python 'a b'."),
        (("cifar", "--", "python"), "-- is for programs that are typed behind two dashes, and cifar is none"),
        (
            ("cifar", "--launcher", "torchrun"),
            "--launcher is for programs that are typed behind two dashes, and cifar is none",
        ),
        (
            ("cifar", "--watch-file", "x"),
            "--watch-file is for programs that are typed behind two dashes, and cifar is none",
        ),
        (("program", "cifar", "--batch-size", "8", "--", "true"), "--batch-size is no option of program"),
        (("program", "--resumable-exit", "0", "--", "true"), "--resumable-exit"),
    ],
)
def test_mistakes_with_programs_are_sentences(words: tuple[str, ...], sentence: str) -> None:
    from click import BadParameter

    with pytest.raises((UserError, BadParameter), match=re.escape(sentence)):
        command.main([*words[:1], "--on", "local", *words[1:]], standalone_mode=False)
