"""The fake oarsub: the options, words and return codes of OAR 2.5.9's. What it does not imitate it refuses aloud."""

from __future__ import annotations

import getopt
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.clusters.fake_oar import resources, simulate
from tests.clusters.fake_oar.state import Job, State, duration, instant
from tests.clusters.fake_oar.words import NotImitated, Refused, complain

SHORT = "l:q:p:r:t:d:n:a:O:E:SJVh"
LONG = [
    "resource=", "queue=", "property=", "reservation=", "type=", "directory=", "name=", "anterior=", "stdout=",
    "stderr=", "scanscript", "json", "version", "help", "project=", "checkpoint=", "signal=", "hold", "notify=",
    "resubmit=",
]  # fmt: skip
NAMES = {
    "l": "resource", "q": "queue", "p": "property", "r": "reservation", "t": "type", "d": "directory", "n": "name",
    "a": "anterior", "O": "stdout", "E": "stderr", "S": "scanscript", "J": "json", "V": "version", "h": "help",
}  # fmt: skip
REAL_ONLY = ("-I", "-C", "-X", "-Y", "-D", "-k", "-i", "-e", "-s", "--array", "--array-param-file", "--interactive")
NUMBERS = ("anterior", "checkpoint", "signal", "resubmit")
MANY = ("resource", "type", "anterior")
ON_A_LINE = set(NAMES.values()) | {"project", "checkpoint", "signal", "hold", "notify"}
ON_A_LINE -= {"reservation", "scanscript", "json", "version", "help"}
TYPES = re.compile(
    r"besteffort|idempotent|(postpone|deadline)=\d{4}-\d\d-\d\d(\s+\d\d:\d\d(:\d\d)?)?"
)  # of those of the stock rule: container, deploy, placeholder and the like are not imitated
OTHER_TYPES = re.compile(
    r"(container|deploy|cosystem|noop|desktop_computing|placeholder|allowed|inner|timesharing|token|expire|state)\b"
)
FILE_NAME = re.compile(r"^[a-zA-Z0-9_./\-%\\ ]+$", re.MULTILINE)  # one good line of a name is enough
Options = dict[str, list[str]]


def main(state: State, words: list[str]) -> int:
    options, rest = read_options(words)
    if "version" in options:
        print("OAR version : 2.5.9 (Canicule)")
        return 0
    if "resubmit" in options:
        return _resubmit(state, int(options["resubmit"][-1]))
    if len(rest) != 1:
        if "reservation" in options:
            raise NotImitated("a reservation without a command")
        print("Usage: /usr/lib/oar/oarsub [options] [-I|-C|<script>]")
        return 5
    request = " ".join(["oarsub", *words])
    if "scanscript" in options:
        request += _scan(options, rest[0])
    return _submit(state, options, rest[0], request)


def read_options(words: list[str]) -> tuple[Options, list[str]]:
    """Each option by its long name with all its values, and the other words; a bad one raises Refused."""
    for word in words:
        if word.partition("=")[0] in REAL_ONLY:
            raise NotImitated(f"option {word}")
    try:
        pairs, rest = getopt.gnu_getopt(words, SHORT, LONG)
    except getopt.GetoptError as error:
        text = f"Unknown option: {error.opt}" if "not recognized" in error.msg else f"Option {error.opt}: {error.msg}"
        raise Refused(1, text) from None
    options: Options = {}
    for flag, value in pairs:
        name = NAMES.get(flag[1:], flag[2:])
        if name in NUMBERS and not value.isdigit():
            raise Refused(1, f'Value "{value}" invalid for option {flag.strip("-")} (number expected)')
        options.setdefault(name, []).append(value)
    return options, rest


def _scan(options: Options, command: str) -> str:
    """Take the #OAR lines of the script into `options`; returns what they add to the recorded request."""
    path, added, errors = command.split()[0], "", 0
    lines = Path(os.environ.get("PWD", ""), path).read_text().splitlines()
    for number, line in enumerate(lines, 1):
        if not (found := re.match(r"#OAR\s+(-\w|--[\w-]+)\s*(.*?)\s*$", line)):
            continue
        name = NAMES.get(found[1][1:], found[1][2:])
        if name not in ON_A_LINE:
            complain(
                f"/!\\ Not able to scan file line: {line}. at /usr/share/perl5/OAR/Sub.pm line 144, <FILE> line {number}."
            )
            errors += 1
        elif name in MANY or name not in options:
            options.setdefault(name, []).append(found[2])
        added += f"; {line}"
    if errors:
        raise Refused(12, f"[ERROR] {errors} error(s) encountered while parsing the file {path}.")
    return added


def _admit(state: State, options: Options, walltime: int | None) -> tuple[str, int]:
    """The stock admission rules, in their order; returns the queue and the walltime."""
    kinds, queue = options.get("type", []), options.get("queue", ["default"])[-1]
    if state.setting("user") in ("root", "oar"):
        _rule(254, "root and oar users are not allowed to submit jobs.", error=False)
    if "besteffort" in kinds:
        queue = "besteffort"
        print("[ADMISSION RULE] Automatically redirect in the besteffort queue")
        print("[ADMISSION RULE] Automatically add the besteffort constraint on the resources")
        if "reservation" in options:
            _rule(254, "a job cannot both be of type besteffort and be a reservation.")
    waiting = [j for j in state.all_jobs() if j["reservation"] != "None" and j["state"] in ("Waiting", "Hold")]
    if "reservation" in options and len(waiting) >= state.setting("reservations"):
        _rule(254, f"you cannot have more than {state.setting('reservations')} waiting advance reservations.")
    if walltime is None:
        walltime = 7200
        print(f"[ADMISSION RULE] Set default walltime to {walltime}.")
    for kind in kinds:
        if OTHER_TYPES.match(kind):
            raise NotImitated(f"type {kind}")
        if not TYPES.fullmatch(kind) or (state.setting("dialect") == 3 and "=" in kind):
            _rule(254, f"unknown job type: {kind}")
    print("[ADMISSION RULE] Modify resource description with type constraints")
    if queue not in ("default", "besteffort"):
        raise Refused(248, f"ERROR : The queue {queue} does not exist")
    return queue, walltime


def _rule(code: int, text: str, error: bool = True) -> None:
    raise Refused(code, f"[ADMISSION RULE] {'Error: ' if error else ''}{text}\n\n")


@dataclass
class Request:
    """What a submission asks for, once read."""

    command: str
    text: str  # the command line, as oarstat tells it
    levels: list[tuple[str, int]]
    walltime: int
    start: int | None  # of an advance reservation
    where: str  # the SQL condition of -p
    queue: str


def _submit(state: State, options: Options, command: str, text: str) -> int:
    request = _read_request(state, options, command, text)
    if "'" in options.get("name", [""])[-1]:  # it goes into OAR's SQL as it stands
        print("OAR_JOB_ID=")
        raise Refused(8, "[ERROR] Oarsub failed, please verify your request syntax.")
    job = _add_job(state, options, request, _size(state, request))
    print(f"OAR_JOB_ID={job['id']}")
    if "json" in options:
        print(f'\n##########\n{{\n   "job_id" : {job["id"]}\n}}\n\n##########\n')
    if request.start is None:
        return 0
    print("Reservation mode: waiting validation...")
    verdict = simulate.reserve(state, job, state.now)
    good = verdict == "GOOD RESERVATION"
    print("Reservation valid --> OK" if good else f"Reservation not valid --> KO ({verdict})")
    return 0 if good else 10


def _read_request(state: State, options: Options, command: str, text: str) -> Request:
    asked = options.get("resource", ["resource_id=1"])
    if len(asked) > 1 or "+" in asked[0] or "{" in asked[0]:
        raise NotImitated(f"the request {asked}")
    try:
        levels, walltime = resources.parse(asked[0])
    except resources.BadRequest as error:
        raise Refused(255, str(error)) from None
    start = _start_of(options["reservation"][-1]) if "reservation" in options else None
    for name, code in (("stdout", 244), ("stderr", 243)):
        if name in options and not FILE_NAME.search(options[name][-1]):
            raise Refused(code, f"/!\\ Invalid {name} file name (bad character)")
    queue, walltime = _admit(state, options, walltime)
    return Request(command, text, levels, walltime, start, options.get("property", [""])[-1], queue)


def _size(state: State, request: Request) -> int:
    """How many resources the request gets when the cluster is empty; Refused where that is never enough."""
    rows = resources.table(state.setting("hosts"), state.setting("cores"))
    try:
        possible = resources.choose(resources.matching(rows, request.where), request.levels)
        problem = "There are not enough resources for your request"
    except resources.BadRequest as error:
        possible, problem = None, str(error)
    if possible is None:
        print("OAR_JOB_ID=-5")
        raise Refused(8, f"{problem}\n[ERROR] Oarsub failed, please verify your request syntax.")
    return len(possible)


def _start_of(text: str) -> int:
    if not (found := re.fullmatch(r"\s*(\d{4}-\d\d?-\d\d?)\s+(\d\d?:\d\d?:\d\d?)\s*", text)):
        wrong = "Syntax error near the -r or --reservation option. The reservation date synstax is"
        raise Refused(7, f'[ERROR] {wrong} : "2027-03-25 17:32:12".')
    return instant(f"{found[1]} {found[2]}")


def _add_job(state: State, options: Options, request: Request, size: int) -> Job:
    """Put the new job into the state, with every value that oarstat later tells."""
    number, kinds, walltime = state.count("job"), options.get("type", []), duration(request.walltime)
    name = options["name"][-1] if "name" in options else None
    stem = f"OAR.{name}.%jobid%" if name else "OAR.%jobid%"
    wanted = "".join(f"/{level}={value}" for level, value in request.levels)
    project = options.get("project", ["default"])[-1]
    parts = (("N", name), ("P", "" if project == "default" else project), ("T", "|".join(kinds)))
    extra = "".join(f",{key}={value}" for key, value in parts if value)
    message = f"R={size},W={walltime},J={'B' if request.start is None else 'R'}{extra}"
    job = {
        "id": number, "state": "Hold" if "hold" in options else "Waiting", "name": name, "types": kinds,
        "command": request.command, "directory": options.get("directory", [os.environ.get("PWD", "")])[-1],
        "queue": request.queue, "project": project, "user": state.setting("user"),
        "where": request.where, "properties": _properties(request.where, "besteffort" in kinds), "size": size,
        "levels": request.levels, "walltime": request.walltime, "initial_request": request.text,
        "wanted": f"-l \"{{type = 'default'}}{wanted},walltime={walltime}\" ", "submitted": state.now,
        "dependencies": [int(parent) for parent in options.get("anterior", [])], "start": request.start or 0,
        "stop": 0, "reservation": "None" if request.start is None else "toSchedule", "exit_code": None,
        "checkpoint": int(options.get("checkpoint", ["0"])[-1]), "signal": int(options.get("signal", ["12"])[-1]),
        "message": message, "request": message, "events": [], "signals": [], "resources": [], "parent": 0,
        "late": state.setting("late"), "begun": False, "array": number,
    }  # fmt: skip
    job |= {kind: options.get(kind, [f"{stem}.{kind}"])[-1] for kind in ("stdout", "stderr")}
    state.jobs[str(number)] = job
    return job


def _properties(where: str, besteffort: bool) -> str:
    """The condition that the admission rules make of -p."""
    for addition in [*(["besteffort = 'YES'"] if besteffort else []), "desktop_computing = 'NO'"]:
        where = f"({where}) AND {addition}" if where else addition
    return f"({where}) AND drain='NO'"


def _resubmit(state: State, number: int) -> int:
    sys.stdout.write(f"Resubmitting job {number}...")
    job = state.jobs.get(str(number))
    if job is None:
        raise NotImitated("the resubmission of an unknown job")
    if job["reservation"] != "None":
        raise Refused(4, "[ERROR] An interactive job or a reservation cannot be resubmitted.")
    if job["state"] not in ("Terminated", "Error"):
        raise Refused(4, "[ERROR] The job must be in Error or Terminated state.")
    print(f"DONE\nOAR_JOB_ID={simulate.resubmit(state, job, state.now)['id']}")
    return 0
