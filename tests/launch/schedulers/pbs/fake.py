"""qsub, qstat and qdel for a test: jobs are files in $FAKE_PBS, and run on this machine at once, one after those that they depend on.

Called by the names of the commands: links to a script that runs this file.
"""

from __future__ import annotations

import getpass
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

FOLDER = Path(os.environ["FAKE_PBS"])


def read(id: str) -> dict[str, Any]:
    return dict(json.loads((FOLDER / f"{id}.json").read_text()))


def write(id: str, tree: dict[str, Any]) -> None:
    new = FOLDER / f"{id}.{os.getpid()}"
    new.write_text(json.dumps(tree))
    new.replace(FOLDER / f"{id}.json")


def qsub(words: list[str]) -> None:
    *options, script = words
    given = list(zip(options[::2], options[1::2], strict=True))
    values = dict(given)
    wall = next(int(value.removeprefix("walltime=")) for flag, value in given if value.startswith("walltime="))
    id = f"{sum(1 for _ in FOLDER.glob('*.json')) + 1}.fake"
    tree = {
        "Job_Name": values["-N"],
        "Job_Owner": f"{getpass.getuser()}@here",
        "job_state": "Q",
        "Resource_List": {"walltime": f"{wall // 3600:02d}:{wall // 60 % 60:02d}:{wall % 60:02d}"},
        "Variable_List": dict(part.split("=") for part in values["-v"].split(",")),
        "depend": values.get("-W", "").removeprefix("depend="),
        "words": words,
    }
    write(id, tree)
    (FOLDER / f"{id}.sh").write_bytes(Path(script).read_bytes())
    if "-a" not in values:
        with Path(os.devnull).open("r+b") as null:
            subprocess.Popen(
                [sys.executable, __file__, "run", id], stdin=null, stdout=null, stderr=null, start_new_session=True
            )
    print(id)


def run(id: str) -> None:
    tree = read(id)
    for other in filter(None, tree["depend"].removeprefix("afterany:").split(":")):
        while read(other)["job_state"] != "F":
            time.sleep(0.1)
    nodes = FOLDER / f"{id}.nodes"
    nodes.write_text(f"{os.uname().nodename}\n")
    environment = {**os.environ, "PBS_JOBID": id, "PBS_NODEFILE": str(nodes)}
    write(id, {**tree, "job_state": "R", "stime": time.strftime("%c")})  # first: the job itself asks for it
    child = subprocess.Popen(["bash", str(FOLDER / f"{id}.sh")], env=environment)
    write(id, {**read(id), "Exit_status": child.wait(), "job_state": "F"})


def qstat(words: list[str]) -> None:
    if "-B" in words:
        return
    ids = [word for word in words if word.endswith(".fake")] or [path.stem for path in FOLDER.glob("*.json")]
    trees = {id: read(id) for id in ids if (FOLDER / f"{id}.json").exists()}
    print(json.dumps({"Jobs": {id: t for id, t in trees.items() if "-x" in words or t["job_state"] != "F"}}))


def qdel(words: list[str]) -> None:
    write(words[0], {**read(words[0]), "job_state": "F", "Exit_status": 271})


if __name__ == "__main__":
    command, words = sys.argv[1], sys.argv[2:]
    if command == "run":
        run(words[0])
    else:
        {"qsub": qsub, "qstat": qstat, "qdel": qdel}[command](words)
