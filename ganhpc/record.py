"""request.json: what was asked of a scheduler for one run. The launcher writes it, every reader of runs reads it.

{"scheduler", "policy", "launch", "submitted",         of the last launch
 "jobs": [{"tag", "job_id", "segment", "start", "end", "kind", "reason", "work", "seconds", "last", "launch", "command", "ended"}],
 "cancelled": time, "refused": sentence}                only while they hold

A job without an id was about to be submitted; `ended` is what the scheduler said of it once it was over.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from ganhpc.files import storage_errors, write_json
from ganhpc.run import Run
from ganhpc.run_files import Entry, Request, read_request


def read(run: Run) -> Request:
    """What request.json says; {"jobs": []} where there is none. Raises Damaged where a field does not hold what it should."""
    return read_request(run.request_json)


@contextmanager
def updated(run: Run) -> Iterator[Request]:
    """The record, written whole when the block ends; one process at a time. Raises UserError where it can't be written."""
    with storage_errors(run.folder):
        handle = os.open(run.folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        record = read(run)
        before = repr(record)
        yield record
        if repr(record) != before:
            write_json(run.request_json, record)
    finally:
        os.close(handle)


def note_intent(run: Run, entries: Iterable[Entry], launch: Request, *, about_to: bool) -> None:
    """Write down jobs that are about to be submitted, or (not `about_to`) that a person may submit by hand."""
    with updated(run) as record:
        if about_to:
            _forgive(record)
        # A job without an id was never accepted, or it would have been found by its tag.
        record["jobs"] = [job for job in record["jobs"] if job["job_id"]]
        record["jobs"] += [{**entry, "job_id": None} for entry in entries]
        record.update(launch)
        record["submitted"] = time.time()


def note_id(run: Run, tag: str, id: str, command: str = "") -> None:
    """Write down that the scheduler has taken the job with `tag`."""
    with updated(run) as record:
        for entry in record["jobs"]:
            if entry["tag"] == tag:
                entry |= {"job_id": id, **({"command": command} if command else {})}


def note_ended(run: Run, ended: Mapping[str | None, str]) -> None:
    """Write down what became of jobs: id -> the state in which the scheduler has left it."""
    with updated(run) as record:
        for entry in record["jobs"]:
            if (id := entry["job_id"]) in ended:
                entry["ended"] = ended[id]


def note_cancelled(run: Run) -> None:
    """Write down that the user wants no more of it; jobs of it that start all the same end at once."""
    with updated(run) as record:
        record["cancelled"] = time.time()


def note_refused(run: Run, sentence: str) -> None:
    """Write down why the last launch was refused."""
    with updated(run) as record:
        record["refused"] = sentence


def forgive(run: Run) -> None:
    """Forget that the run was cancelled or refused: it is about to go on."""
    if run.request_json.exists():
        with updated(run) as record:
            _forgive(record)


def _forgive(record: Request) -> None:
    record.pop("cancelled", None)
    record.pop("refused", None)


def open_jobs(record: Request) -> list[Entry]:
    """The jobs that, for all the record knows, may still wait or run."""
    return [job for job in record["jobs"] if not job.get("ended")]
