"""How time passes in the fake OAR: which job may start, which must end, and what is written down about it.

The rules are those seen on OAR 2.5.9 (docs/schedulers-notes.md). Simpler than the real thing in this: a scheduler pass
is never late (set `late` for reservations), and a job goes from Waiting to Running in one step.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.clusters.fake_oar import resources
from tests.clusters.fake_oar.state import ENDED, SECURITY, Job, State, date, duration, instant

CHECK = 10  # seconds between two looks at walltimes and checkpoints: both come up to that much late


def settle(state: State) -> None:
    """Let everything happen that should have happened by now, second by second where something can."""
    last, now = state.data.get("settled", 0), state.now
    for moment in sorted({when for job in state.all_jobs() for when in _moments(job, last, now)} | {now}):
        for job in state.all_jobs():
            if job["state"] == "Running":
                _check_running(state, job, moment)
        for job in state.all_jobs():
            if job["state"] == "Waiting":
                _try_to_start(state, job, moment)
    state.data["settled"] = now


def _moments(job: Job, last: int, now: int) -> list[int]:
    """The instants in (last, now] at which something may happen because of a job."""
    found = [job["submitted"] + 1, job["start"] + job["late"], job["stop"] + 1]
    found += [instant(value) for kind, value in types(job) if kind in ("postpone", "deadline")]
    if job["state"] == "Running" or job["reservation"] == "Scheduled":
        end = job["start"] + job["walltime"]
        found += range(end - job["checkpoint"] if job["checkpoint"] else end, end + 2 * CHECK, CHECK)
    return [when for when in found if last < when <= now]


def types(job: Job) -> list[tuple[str, str]]:
    """The types of a job as pairs: ("postpone", "2026-11-23 19:01:00"), ("idempotent", "")."""
    return [(kind, value) for kind, _, value in (text.partition("=") for text in job["types"])]


# --------------------------------------------------------------------------------------------------------- running jobs


def _check_running(state: State, job: Job, now: int) -> None:
    end = job["start"] + job["walltime"]
    if now > end:
        state.event(job, "FRAG_JOB_REQUEST", f"User root requested to frag the job {job['id']}", now)
        text = f"[sarko] Job [{job['id']}] from {job['start']} with {job['walltime']}; current time={now} (Elapsed)"
        state.event(job, "WALLTIME", text, now)
        kill(state, job, now)
    elif job["checkpoint"] and now >= end - job["checkpoint"] and now >= job.get("checked", 0) + CHECK:
        job["checked"] = now
        job["signals"].append(job["signal"])
        text = f"User oar (sarko) requested a checkpoint on the job {job['id']} on {first_host(state, job)}"
        state.event(job, "CHECKPOINT", text, now)
        text = f"[sarko] The job {job['id']} was notified to checkpoint itself on the node {first_host(state, job)}"
        state.event(job, "CHECKPOINT_SUCCESSFULL", text, now)


def kill(state: State, job: Job, now: int) -> None:
    """The end of a running job that OAR itself brings about: Error, and no exit code."""
    text = f"[Leon] Send the kill signal to oarexec on {first_host(state, job)} for job {job['id']}"
    state.event(job, "SEND_KILL_JOB", text, now)
    state.event(job, "SWITCH_INTO_ERROR_STATE", f"[bipbip {job['id']}] Ask to change the job state", now)
    job |= {"state": "Error", "stop": now}


def finish(state: State, job: Job, status: int, now: int) -> None:
    """The end of a job whose command has ended with the wait status `status`; resubmitted where OAR does so."""
    job |= {"state": "Terminated", "stop": now, "exit_code": status}
    state.event(job, "SWITCH_INTO_TERMINATE_STATE", f"[bipbip {job['id']}] Ask to change the job state", now)
    ran = now - job["start"]
    if "idempotent" in job["types"] and status == 99 << 8 and ran > 60 and job["reservation"] == "None":
        child = resubmit(state, job, now)
        reason = "type idempotent & exit code = 99 & duration > 60s"
        text = f"Resubmiting job {job['id']} => {child['id']} ({reason})"
        state.event(job, "RESUBMIT_JOB_AUTOMATICALLY", text, now)


def resubmit(state: State, job: Job, now: int) -> Job:
    """A new job with the request and array number of an ended one."""
    new = job | {"id": state.count("job"), "state": "Waiting", "start": 0, "stop": 0, "exit_code": None}
    new |= {"submitted": now, "parent": job["id"], "events": [], "signals": [], "resources": [], "begun": False}
    state.jobs[str(new["id"])] = new
    return new


def file_of(job: Job, kind: str) -> str:
    """The name of a job's stdout or stderr file."""
    return str(job[kind]).replace("%jobid%", str(job["id"]))


def hosts_of(state: State, job: Job) -> list[str]:
    rows = resources.table(state.setting("hosts"), state.setting("cores"))
    return list(dict.fromkeys(row["network_address"] for row in rows if row["resource_id"] in job["resources"]))


def first_host(state: State, job: Job) -> str:
    return hosts_of(state, job)[0]


# --------------------------------------------------------------------------------------------------------- waiting jobs


def _try_to_start(state: State, job: Job, now: int) -> None:
    if job["reservation"] == "Scheduled":
        _start_reservation(state, job, now)
        return
    if now <= job["submitted"] or not _may_start(state, job, now):
        return
    if ids := free(state, job, now, job["walltime"]):
        job["message"] += " (Karma=0.000,quota_ok)"
        job |= {"state": "Running", "begun": True, "start": now, "resources": ids}
        _enter(state, job, now)


def _start_reservation(state: State, job: Job, now: int) -> None:
    """A reservation that starts late keeps its end; one whose end has passed never starts."""
    end = job["start"] + job["walltime"]
    if now >= end:
        job |= {"state": "Error", "stop": job["start"], "message": "Reservation expired and couldn't be started."}
    elif now >= job["start"] + job["late"]:
        if (left := end - now) < job["walltime"]:
            text = f"Change walltime from {job['walltime']} to {left}"
            state.event(job, "REDUCE_RESERVATION_WALLTIME", text, now)
            job["message"] = job["message"].replace(f"W={duration(job['walltime'])}", f"W={duration(left)}")
            job |= {"start": now, "walltime": left}
        job |= {"state": "Running", "begun": True}
        _enter(state, job, now)


def _enter(state: State, job: Job, now: int) -> None:
    """The node goes into the job's folder by a line of Perl with the folder's name between apostrophes: one that ends there breaks the
    line, and the node is put out of service; one that is not there ends the job alone."""
    host, name = first_host(state, job), job["directory"]
    if not re.fullmatch(r"(?s)(?:[^'\\]|\\.)*", name):
        text = f"error of oarexec, exit value = 2550; the job {job['id']} is in Error and the node {host} is Suspected; {IF_SPECIAL}"
        state.event(job, "EXIT_VALUE_OAREXEC", f"[bipbip {job['id']}] {text}", now)
        state.data.setdefault("suspected", []).append(host)
    elif not Path(re.sub(r"\\(['\\])", r"\1", name)).is_dir():
        state.event(job, "SWITCH_INTO_ERROR_STATE", f"[bipbip {job['id']}] Ask to change the job state", now)
        text = f"Cannot go into the working directory {name} of the job on node {host}"
        state.event(job, "WORKING_DIRECTORY", f"[bipbip {job['id']}] {text}", now)
    else:
        return
    job |= {"state": "Error", "stop": now}


IF_SPECIAL = (
    "If this job is of type cosystem or deploy, check if the oar server is able to connect to the corresponding nodes, "
    "oar-node started"
)


def _may_start(state: State, job: Job, now: int) -> bool:
    for kind, value in types(job):
        if kind == "postpone" and now < instant(value):
            return False
        if kind == "deadline" and now >= instant(value):
            message = f"Job will never run (deadline={date(instant(value))}), setting it to error"
            job |= {"state": "Error", "message": message}
            return False
        if kind == "deadline" and now + job["walltime"] + SECURITY > instant(value):
            return False
    for parent in job["dependencies"]:
        if (known := state.jobs.get(str(parent))) is None or known["state"] not in ENDED:
            job["message"] = f"Cannot determine scheduling time due to dependency with the job {parent}"
            return False
    job["message"] = job["request"]  # what an earlier obstacle had put there
    return True


def free(state: State, job: Job, start: int, walltime: int) -> list[int] | None:
    """Resources that `job` could have from `start` on, or None: every job keeps its own for SECURITY s more."""
    end, busy = start + walltime + SECURITY, set()
    for other in state.all_jobs():
        holds = other["state"] == "Running" or (other["state"] == "Waiting" and other["reservation"] == "Scheduled")
        if holds and other["start"] <= end and start <= other["start"] + other["walltime"] + SECURITY:
            busy |= set(other["resources"])
    rows = resources.table(state.setting("hosts"), state.setting("cores"))
    suspected = state.data.get("suspected", [])
    rows = [row for row in resources.matching(rows, job["where"]) if row["resource_id"] not in busy]
    rows = [row for row in rows if row["network_address"] not in suspected]
    return resources.choose(rows, job["levels"])


def reserve(state: State, job: Job, now: int) -> str:
    """Decide on an advance reservation, and say so in OAR's words; the job waits, or is in Error."""
    start, walltime = job["start"], job["walltime"]
    job["reservation"] = "Scheduled"
    if now >= start + walltime:
        verdict = "Reservation too old"
    else:
        start = max(start, now)
        ends = [other["start"] + other["walltime"] + SECURITY + 1 for other in state.all_jobs() if other is not job]
        for moment in sorted({start, *(end for end in ends if end > start)}):
            if ids := free(state, job, moment, walltime):
                if moment == start:
                    job |= {"state": "Waiting", "start": start, "resources": ids}
                    return "GOOD RESERVATION"
                verdict = f"This reservation could run at {date(moment)}"
                break
        else:
            verdict = "This reservation cannot run"
    job |= {"state": "Error", "stop": job["start"], "message": verdict}
    return verdict
