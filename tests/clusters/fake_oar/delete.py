"""The fake oardel: deletion, -c (checkpoint) and -s (signal)."""

from __future__ import annotations

import getopt

from tests.clusters.fake_oar import simulate
from tests.clusters.fake_oar.state import ENDED, Job, State
from tests.clusters.fake_oar.words import Refused, complain


def main(state: State, words: list[str]) -> int:
    try:
        pairs, rest = getopt.gnu_getopt(words, "cs:V", ["checkpoint", "signal=", "version"])
    except getopt.GetoptError as error:
        raise Refused(1, f"Unknown option: {error.opt}") from None
    options = {flag.lstrip("-")[0]: value for flag, value in pairs}
    if "V" in options or "v" in options:
        print("OAR version : 2.5.9 (Canicule)")
        return 0
    if not rest:
        print("Usage: /usr/lib/oar/oardel [options] <job_id> [job_id [...] ] ")
        return 1
    code, numbers, registered = 0, [], []
    for word in rest:
        if word.isdigit():
            numbers.append(int(word))
        else:
            complain(f'[ERROR] "{word}" is not a valid job identifier')
            code = 4
    for number in numbers:
        job = state.jobs.get(str(number))
        if "c" in options or "s" in options:
            code = _signal(state, number, job, options.get("s")) or code
            continue
        failed = _delete(state, number, job)
        code = failed or code
        registered += [] if failed else [number]
    if registered:
        print(f"The job(s) [ {' '.join(map(str, registered))} ] will be deleted in the near future.")
    return code


def _delete(state: State, number: int, job: Job | None) -> int:
    print(f"Deleting the job = {number} ...", end="")
    problem = None
    if job is None or job["user"] != state.setting("user"):
        problem, code = "You are not the right user.", 1
    elif job.get("deleted"):
        problem, code = "This job was already killed.", 6
    if job is None or problem:
        print("ERROR.")
        complain(f"Cannot frag {number} ; {problem}")
        return code
    print("REGISTERED.")
    job["deleted"] = True
    state.event(job, "FRAG_JOB_REQUEST", f"User {job['user']} requested to frag the job {number}", state.now)
    if job["state"] == "Running":
        simulate.kill(state, job, state.now)
    elif job["state"] not in ENDED:
        job |= {"state": "Error", "stop": job["start"], "message": "Job killed by Leon directly"}
    return 0


def _signal(state: State, number: int, job: Job | None, name: str | None) -> int:
    verb, doing = ("signal", f"Signaling the job {number} with {name} signal.\n") if name else ("checkpoint", "")
    print(doing or f"Checkpointing the job {number} ...", end="")
    if job is None or job["state"] != "Running":
        print("ERROR.")
        reason, code = ("This job is not running.", 5) if job else ("You are not the right user.", 1)
        complain(f"Cannot {verb} {number} ; {reason}")
        return code
    host, now = simulate.first_host(state, job), state.now
    job["signals"].append(name or job["signal"])
    if name:
        text = f"User {job['user']} requested the signal {name} on the job {number}"
        state.event(job, f"SIGNAL_{name}", text, now)
        done, kind = f"The job {number} was notified to signal itself with {name} on {host}.", "SIG_SUCCESS"
    else:
        state.event(job, "CHECKPOINT", f"User {job['user']} requested a checkpoint on the job {number}", now)
        done, kind = f"The job {number} was notified to checkpoint itself on {host}.", "CHECKPOINT_SUCCESS"
    print(f"DONE.\n{done}")
    state.event(job, kind, done, now)
    return 0
