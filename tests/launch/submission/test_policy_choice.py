"""Rules don't travel with a run folder: the policy comes from the place."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import os
import shlex
from pathlib import Path
from typing import Any

import pytest

from ganhpc.core.errors import UserError
from ganhpc.core.files import write_json
from ganhpc.core.settings import Settings
from ganhpc.launch.policy.policy import Policy, load_policy
from ganhpc.launch.schedulers.local import Local
from ganhpc.launch.schedulers.oar import Oar
from ganhpc.launch.schedulers.slurm import Slurm
from ganhpc.launch.submission import policy_choice
from ganhpc.launch.submission.policy_choice import choose, laxer
from ganhpc.runs.run_folder import Run
from tests.conftest import Launch
from tests.helpers import made

STUDENT, GRID, NONE = load_policy("student"), load_policy("grid5000"), load_policy("none")


def recorded(tmp_path: Path, scheduler: str, policy: str, **values: Any) -> Run:
    run = made(tmp_path, **values)
    write_json(run.request_json, {"scheduler": scheduler, "policy": policy, "jobs": []})
    return run


def rules(folder: Path, longest: str, *names: str) -> None:
    """Files with a policy of jobs of at most `longest`, else the student's."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f'base = "student"\nmax_job = "{longest}"\n')


def test_the_place_decides_where_nothing_is_typed() -> None:
    assert choose(None, Settings(), Oar(Settings())).policy == STUDENT
    assert choose(None, Settings(), Slurm(Settings())).policy == STUDENT
    assert choose(None, Settings(), Local(Settings())).policy == NONE
    assert choose(None, Settings(policy="grid5000"), Local(Settings())).policy == GRID
    assert choose("none", Settings(policy="grid5000"), Oar(Settings())).policy == NONE


@pytest.mark.parametrize("named", ["rules.toml", "./rules.toml", "~/rules.toml", "$OWN/rules.toml"])
def test_a_file_of_the_settings_is_one_file_wherever_a_command_is_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    """It counted from the folder where one types, where another one of its name may lie; ~ was no home."""
    own, elsewhere = tmp_path / "own", tmp_path / "elsewhere"
    rules(own, "2h", "rules.toml")
    rules(elsewhere, "9h", "rules.toml")
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("HOME", str(own))
    monkeypatch.setenv("OWN", str(own))
    found = choose(None, Settings(own / "config.toml", policy=named), Oar(Settings()))
    assert (found.name, found.policy.max_job) == (str(own / "rules.toml"), 2 * 3600)


def test_a_folder_gives_no_other_meaning_to_a_policy_that_nobody_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A laxer student.toml lies in `policies` of the folder where the command is typed, such as another person's checkout."""
    file = tmp_path / "work" / "policies" / "student.toml"
    file.parent.mkdir(parents=True)
    file.write_text('base = "student"\nedges = []\nmax_job = "9h"\n')
    monkeypatch.chdir(file.parents[1])
    oar = Oar(Settings())
    assert choose(None, Settings(), oar).policy == STUDENT
    assert choose(None, Settings(policy="student"), oar).policy == STUDENT
    assert choose(None, Settings(), oar, recorded(tmp_path, "oar", "student")).policy == STUDENT
    assert choose(None, Settings(policy="none"), oar, recorded(tmp_path, "oar", "student", seed=1)).policy == STUDENT
    typed = choose("student", Settings(), oar)
    assert (typed.name, typed.policy.edges, typed.policy.max_job) == (str(file), (), 9 * 3600)


@pytest.mark.parametrize("name", ["lab", "lab.toml", "policies/lab.toml"])
def test_a_policy_of_the_settings_lies_beside_them_and_not_where_a_user_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A laxer file of that name lies in the folder where the command is typed, such as another person's checkout."""
    own, work = tmp_path / "own", tmp_path / "work"
    rules(own, "10m", "lab.toml", "policies/lab.toml")
    rules(work, "9h", "lab.toml", "policies/lab.toml")
    monkeypatch.chdir(work)
    settings, oar = Settings(path=own / "config.toml", policy=name), Oar(Settings())
    found = choose(None, settings, oar)
    assert found.policy.max_job == 600 and Path(found.name).is_relative_to(own), "a later command finds it too"
    again = choose(None, settings, oar, recorded(tmp_path, "oar", "lab"))
    assert again.policy.max_job == 600, "of a record neither"
    with pytest.raises(UserError, match=r"no policy 'lab'|can't be read"):
        choose(None, Settings(path=tmp_path / "config.toml", policy=name), oar)


def test_a_policy_that_is_typed_by_its_name_in_a_folder_is_found_again_from_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "work" / "policies" / "mine.toml"
    rules(file.parents[1], "10m", "policies/mine.toml")
    monkeypatch.chdir(file.parents[1])
    typed = choose("mine", Settings(), Oar(Settings()))
    monkeypatch.chdir(tmp_path)
    assert typed.name == str(file) and policy_choice.load(typed.name).policy.max_job == 600
    assert choose(None, Settings(), Oar(Settings()), recorded(tmp_path, "oar", typed.name)).policy.max_job == 600


@pytest.mark.parametrize(
    ("scheduler", "policy", "settings", "chosen"),
    [
        ("local", "none", None, "student"),
        ("oar", "none", None, "student"),
        ("oar", "grid5000", None, "student"),
        ("slurm", "student", "none", "none"),  # stricter, and of another scheduler
        ("oar", "student", "none", "student"),  # stricter, and of this one
        ("oar", "student", "grid5000", "grid5000"),  # one hour, but no quota
        ("oar", "no-such-policy", None, "student"),
        ("oar", "/no/such/file.toml", None, "student"),
    ],
)
def test_a_recorded_policy_counts_on_its_scheduler_and_makes_nothing_laxer(
    tmp_path: Path, scheduler: str, policy: str, settings: str | None, chosen: str
) -> None:
    run = recorded(tmp_path, scheduler, policy)
    found = choose(None, Settings(policy=settings), Oar(Settings()), run)
    assert found.policy.name == chosen
    assert bool(found.note) == (scheduler == "oar" and policy != chosen)
    typed = choose("none", Settings(policy=settings), Oar(Settings()), run)
    assert typed.policy == NONE and not typed.note


def test_a_policys_file_is_obeyed_in_ones_own_record_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "short.toml"
    rules(tmp_path, "10m", file.name)
    run = recorded(tmp_path, "oar", str(file))
    mine = choose(None, Settings(), Oar(Settings()), run)
    assert mine.policy.max_job == 600 and mine.name == str(file) and not mine.note
    monkeypatch.setattr(os, "getuid", lambda: file.stat().st_uid + 1)
    monkeypatch.setattr(policy_choice, "load", lambda name, load=policy_choice.load: load(name) if "/" not in name else pytest.fail("read"))  # fmt: skip
    theirs = choose(None, Settings(), Oar(Settings()), run)
    assert theirs.policy == STUDENT and "somebody else" in theirs.note


LIMITED = dataclasses.replace(GRID, max_job=3600, max_jobs=2, cores=8)


@pytest.mark.parametrize(
    ("changes", "rules"),
    [
        ({"max_job": 3601}, ["max_job"]),
        ({"max_job": None}, ["max_job"]),
        ({"max_job": 60, "max_jobs": 1, "title": "x", "min_slot": 1}, []),
        ({"max_jobs": 3}, ["max_jobs"]),
        ({"max_reservations": 3}, ["max_reservations"]),
        ({"gap": 60}, ["gap"]),
        ({"day_quota": 7201}, ["day_quota"]),
        ({"day_quota": None}, ["day_quota"]),
        ({"cores": 9}, ["cores"]),
        ({"cores": None}, []),
        ({"quota_free_job": 3601}, ["quota_free_job"]),
        ({"quota_free_notice": 601}, ["quota_free_notice"]),
        ({"night_limit": None}, ["night_limit"]),
        ({"weekend_limit": 10**9}, ["weekend_limit"]),
        ({"edges": (dt.time(9),)}, ["edges"]),
        ({"edges": (dt.time(9), dt.time(12), dt.time(19))}, []),
        ({"edge_days": "every"}, []),
        ({"end_before_edge": 59}, ["end_before_edge"]),
        ({"start_after_edge": 0}, ["start_after_edge"]),
        ({"lax": True}, ["lax"]),
        ({"country": ""}, ["country"]),
        ({"time_zone": "UTC"}, ["time_zone"]),
        ({"working_days": ("mon",)}, ["working_days"]),
        ({"day_start": dt.time(8)}, ["day_start"]),
    ],
)
def test_what_is_laxer(changes: dict[str, Any], rules: list[str]) -> None:
    assert laxer(dataclasses.replace(LIMITED, **changes), LIMITED) == rules


def test_nothing_is_laxer_than_no_rule_and_every_field_is_a_rule_or_known_not_to_be() -> None:
    assert laxer(GRID, NONE) == laxer(STUDENT, NONE) == laxer(NONE, NONE) == []
    assert laxer(dataclasses.replace(LIMITED, edge_days="working"), dataclasses.replace(LIMITED, edge_days="every")) == ["edge_days"]  # fmt: skip
    lax = dataclasses.replace(LIMITED, lax=True)
    assert laxer(dataclasses.replace(lax, lax_evening_from=dt.time(16)), lax) == ["lax_evening_from"]
    assert laxer(LIMITED, lax) == []
    assert {"name", "title", "min_slot"} < {field.name for field in dataclasses.fields(Policy)}


@pytest.mark.slow  # a second of processor time: processes of its own
def test_a_run_planned_here_without_rules_resumes_under_the_students_on_oar(tmp_path: Path, launch: Launch) -> None:
    run = recorded(tmp_path, "local", "none", epochs=None, time=3 * 3600.0)
    words = ("resume", str(run.folder), "--on", "oar", "--dry-run", "--json", "--now", "2026-11-24T07:50")
    done = launch(*words)
    slots = json.loads(done.stdout)["slots"]
    ends = [(dt.datetime.fromisoformat(s["start"]), dt.datetime.fromisoformat(s["end"])) for s in slots]
    assert json.loads(done.stdout)["policy"] == "student" and len(slots) > 3
    assert all((end - start).total_seconds() <= 3600 for start, end in ends)
    assert not any(start.hour < 9 <= end.hour for start, end in ends), "none across 9:00"
    typed = json.loads(launch(*words, "--policy", "none").stdout)
    assert typed["policy"] == "none" and len(typed["slots"]) == 1


@pytest.mark.parametrize(
    ("place", "typed", "found"),
    [
        ("oar", (), "-t exotic -q production --project gan -p gpu_model = 'A100'"),
        ("oar", ("--queue", "default"), "-t exotic -q default --project gan -p gpu_model = 'A100'"),
        ("slurm", (), ""),  # other words: nothing was asked for there
    ],
)
def test_resume_goes_on_with_what_was_asked_of_the_place(
    launch: Launch, tmp_path: Path, place: str, typed: tuple[str, ...], found: str
) -> None:
    run = recorded(tmp_path, "oar", "student", epochs=None, time=1200.0)
    asked = {"queue": "production", "account": "gan", "gpu_model": "A100", "job_type": "exotic", "nosuch": "x"}
    write_json(run.request_json, {**json.loads(run.request_json.read_text()), "asked": asked})
    words = ("resume", str(run.folder), "--on", place, "--dry-run", "--json", "--now", "2026-11-24T20:00", *typed)
    done = launch(*words)
    assert done.returncode == 0, done.stderr
    argv = shlex.split(json.loads(done.stdout)["jobs"][0]["command"])
    assert found in " ".join(argv)
    if place == "oar":
        kept = "--account gan --gpu-model A100 --type exotic, as it was submitted"
        assert (": " if typed else ": --queue production ") + kept in done.stderr
    else:
        assert "production" not in done.stdout and "as it was submitted" not in done.stderr


def test_resume_takes_no_place_from_the_record_of_somebody_else(launch: Launch, tmp_path: Path) -> None:
    run = recorded(tmp_path, "oar", "student", epochs=None, time=1200.0)
    job = {
        "tag": "a-1-b",
        "job_id": "7",
        "scheduler": "oar",
        "cluster": "",
        "uid": os.getuid() + 1,
        "user": "other",
        "ended": "timeout",
    }
    asked = {"queue": "production"}
    write_json(run.request_json, {"scheduler": "oar", "policy": "student", "asked": asked, "jobs": [job]})
    done = launch("resume", str(run.folder), "--on", "oar", "--dry-run", "--json", "--now", "2026-11-24T20:00")
    assert done.returncode == 0, done.stderr
    assert "production" not in done.stdout + done.stderr
