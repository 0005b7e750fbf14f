"""The fake oarstat: -j, -u, -f, -s, -e and -J, alone and together, and the plain list."""

from __future__ import annotations

import json
import os
import pwd
import re
import sys
from typing import Any

from tests.clusters.fake_oar import resources, simulate
from tests.clusters.fake_oar.state import ENDED, Job, State, date
from tests.clusters.fake_oar.words import NotImitated, Refused

LETTERS = {"Waiting": "W", "Hold": "H", "Running": "R", "Terminated": "T", "Error": "E"}
# What OAR 3 calls the keys [from its documentation, not seen on a real one]
OAR3 = {"Job_Id": "id", "startTime": "start_time", "stopTime": "stop_time", "submissionTime": "submission_time"}
OAR3 |= {"scheduledStart": "scheduled_start", "launchingDirectory": "launching_directory", "jobType": "type"}


def main(state: State, words: list[str]) -> int:
    flags, numbers, user = _read(words)
    if "V" in flags:
        print("OAR version : 2.5.9 (Canicule)")
        return 0
    if condition := next((flag.removeprefix("sql ") for flag in flags if flag.startswith("sql ")), ""):
        jobs = [job for job in state.all_jobs() if _meets(job, condition)]
    elif numbers:
        jobs = [job for job in state.all_jobs() if job["id"] in numbers]
    else:
        jobs = [job for job in state.all_jobs() if job["state"] not in ENDED]
        mine = pwd.getpwuid(os.getuid()).pw_name  # whoever runs the fake is its user
        jobs = [job for job in jobs if user in (None, "", mine, job["user"])]
    if "e" in flags:
        _events(jobs)
    elif "s" in flags:
        _states(jobs, "J" in flags)
    elif "J" in flags:
        if jobs:  # not even {} where there is none, unlike -s -J
            _dump({str(job["id"]): _facts(state, job, "f" in flags) for job in jobs}, state.setting("dialect"))
    elif "f" in flags:
        raise NotImitated("oarstat -f without -J")
    else:
        _list(state, jobs)
    return 0


def _meets(job: Job, condition: str) -> bool:
    """True if one of the conditions of --sql that are imitated holds, which find jobs that have ended too."""
    if found := re.fullmatch(r"job_name = '([^']*)' OR command LIKE '%([^'%]*)%'", condition):
        return bool(job["name"] == found[1] or found[2].lower() in job["command"].lower())
    if found := re.fullmatch(r"job_user = '([^']*)' AND stop_time >= (\d+)", condition):
        return bool(job["user"] == found[1] and job["stop"] >= int(found[2]))
    raise NotImitated(f"oarstat --sql {condition!r}")


def _read(words: list[str]) -> tuple[set[str], list[int], str | None]:
    """Flags, job numbers and user; short options may be joined, and -j and -u take a value or none."""
    names = {"full": "f", "state": "s", "events": "e", "json": "J", "version": "V", "job": "j", "user": "u"}
    flags, numbers, user, rest = set(), [], None, list(words)
    while rest:
        word = rest.pop(0)
        if word.startswith("--"):
            name, _, given = word[2:].partition("=")
            if name == "sql":
                flags.add(f"sql {given or rest.pop(0)}")
                continue
            if name not in names:
                raise Refused(1, f"Unknown option: {name}")
            letters, attached = names[name], given
        elif word.startswith("-"):
            letters, attached = _split(word[1:])
        else:
            continue  # oarstat ignores other words
        for letter in letters:
            if letter not in "fseJVju":
                raise NotImitated(f"oarstat -{letter}")
            flags.add(letter)
        if letters[-1] in "ju":
            value = attached or (rest.pop(0) if rest and not rest[0].startswith("-") else "")
            if letters[-1] == "u":
                user = value
            elif not value.isdigit():
                raise Refused(1, f'Value "{value}" invalid for option j (number expected)')
            else:
                numbers.append(int(value))
    return flags, numbers, user


def _split(letters: str) -> tuple[str, str]:
    """`fj12` is -f -j 12."""
    for place, letter in enumerate(letters):
        if letter in "ju":
            return letters[: place + 1], letters[place + 1 :]
    return letters, ""


def _dump(data: dict[str, Any], dialect: int) -> None:
    """Pretty JSON as Perl writes it."""
    if dialect == 3:
        data = {number: {OAR3.get(key, key): value for key, value in facts.items()} for number, facts in data.items()}
    print(json.dumps(data, indent=3, separators=(",", " : ")) + "\n", end="")


def _states(jobs: list[Job], as_json: bool) -> None:
    if as_json:
        _dump({str(job["id"]): job["state"] for job in jobs}, 2)
    else:
        sys.stdout.writelines(f"{job['id']}: {job['state']}\n" for job in jobs)


def _events(jobs: list[Job]) -> None:
    """Plain text even with -J, as with the real one."""
    for event in sorted((event for job in jobs for event in job["events"]), key=lambda event: event["event_id"]):
        print(f"{date(event['date'])}> [{event['job_id']}] {event['type']}: {event['description']}")


def _list(state: State, jobs: list[Job]) -> None:
    if not jobs:
        return
    print("Job id    S User     Duration   System message")
    print("--------- - -------- ---------- ------------------------------------------------")
    for job in jobs:
        ran = state.now - job["start"] if job["state"] == "Running" else 0
        clock = f"{ran // 3600}:{ran // 60 % 60:02}:{ran % 60:02}"
        print(f"{job['id']:<9} {LETTERS[job['state']]} {job['user'][:8]:<8} {clock:>10} {job['message']}")


def _facts(state: State, job: Job, full: bool) -> dict[str, Any]:
    facts = {
        "Job_Id": job["id"], "array_id": job["array"], "array_index": 1, "name": job["name"], "owner": job["user"],
        "state": job["state"], "queue": job["queue"], "command": job["command"], "project": job["project"],
        "launchingDirectory": job["directory"], "jobType": "PASSIVE", "properties": job["properties"],
        "reservation": job["reservation"], "submissionTime": job["submitted"], "startTime": job["start"],
        "message": job["message"], "resubmit_job_id": job["parent"], "types": job["types"], "cpuset_name": None,
        "dependencies": job["dependencies"] if full and job["state"] not in ENDED else [],
        "stdout_file": simulate.file_of(job, "stdout"), "stderr_file": simulate.file_of(job, "stderr"),
        "assigned_resources": job["resources"] if job["begun"] else [],
        "assigned_network_address": simulate.hosts_of(state, job) if job["begun"] else [],
    }  # fmt: skip
    if job["reservation"] == "Scheduled" and job["state"] == "Waiting":
        rows = resources.table(state.setting("hosts"), state.setting("cores"))
        facts["reserved_resources"] = {
            str(row["resource_id"]): {"network_address": row["network_address"], "current_state": "Alive"}
            for row in rows
            if row["resource_id"] in job["resources"]
        }
    if full:
        reserved = job["state"] == "Waiting" and job["reservation"] == "Scheduled"
        facts |= {
            "job_user": job["user"], "stopTime": job["stop"], "exit_code": job["exit_code"],
            "walltime": job["walltime"] if reserved or job["begun"] else None, "wanted_resources": job["wanted"],
            "initial_request": job["initial_request"], "events": job["events"],
            "scheduledStart": job["start"] if reserved or job["state"] == "Running" else None,
        }  # fmt: skip
    return facts
