"""request.json: what was asked of a scheduler for one run. The launcher writes it, every reader of runs reads it.

{"scheduler", "policy", "asked", "launch", "submitted",         of the last launch
 "jobs": [{"tag", "job_id", "segment", "start", "end", "kind", "reason", "work", "seconds", "last", "launch", "command", "ended",
           "scheduler", "cluster", "servers", "uid", "user", "folder", "forgotten"}],
 "cancelled": time, "refused": sentence, "refused_by": RefusalSource}                only while they hold

A job without an id was about to be submitted; `ended` is what the scheduler said of it once it was over.
A job is identified by the scheduler, its cluster and servers, the user and the tag (ganhpc.runs.job_origin).
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager

from ganhpc.core.errors import BusyError
from ganhpc.core.files import write_json
from ganhpc.core.locks import folder_lock
from ganhpc.runs.job_origin import Origin, elsewhere
from ganhpc.runs.run_files import Entry, RefusalSource, Request, is_open, read_request
from ganhpc.runs.run_folder import Run


def read(run: Run) -> Request:
    """Contents of request.json; {"jobs": []} where there is none. Raises Damaged where a field does not hold what it should."""
    return read_request(run.request_json)


@contextmanager
def updated(run: Run) -> Iterator[Request]:
    """The record, written whole when the block ends; one process at a time. Raises UserError where it can't be written."""
    with folder_lock(run.folder):
        record = read(run)
        before = repr(record)
        yield record
        if repr(record) != before:
            write_json(run.request_json, record)


def note_intent(
    run: Run, entries: Iterable[Entry], launch: Request, *, about_to: bool, here: Origin | None = None
) -> None:
    """Write down jobs that are about to be submitted, or (not `about_to`) that a person may submit by hand.

    `here` is who submits them where. Raises BusyError where another person, or this one elsewhere, has submitted the run meanwhile.
    """
    with updated(run) as record:
        others = elsewhere(record, here) if here else []
        if others:
            raise BusyError(f"{run} has just been submitted elsewhere: type `{run.command('status')}`.")
        if about_to:
            _forgive(record)
        # A job without an id was never accepted, or it would have been found by its tag.
        record["jobs"] = [job for job in record["jobs"] if job["job_id"]]
        mine: Entry = here.to_entry() if here else {}
        mine["folder"] = str(run.folder.absolute())
        record["jobs"] += [{**entry, **mine, "job_id": None} for entry in entries]
        record.update(launch)
        record["submitted"] = time.time()


def note_id(run: Run, tag: str, id: str, command: str = "", here: Origin | None = None) -> None:
    """Write down that the scheduler has taken the job with `tag`; `here`: the place that knows it."""
    with updated(run) as record:
        for entry in record["jobs"]:
            if entry["tag"] == tag:
                entry.pop("forgotten", None)
                mine: Entry = here.to_entry() if here else {}
                entry |= {**mine, "job_id": id}
                if command:
                    entry["command"] = command


def note_ended(run: Run, ended: Mapping[str, str], forgotten: Collection[str] = ()) -> None:
    """Write down what became of jobs: tag -> the state in which the scheduler has left it.

    `forgotten`: tags of jobs that their scheduler does not know any more. That is no end: they stay open, and are asked for again.
    """
    assert "unknown" not in ended.values(), "nobody has said that the job has ended"
    with updated(run) as record:
        for entry in record["jobs"]:
            if (tag := entry["tag"]) in ended:
                entry["ended"] = ended[tag]
            elif tag in forgotten:
                entry.setdefault("forgotten", time.time())


def note_cancelled(run: Run) -> None:
    """Write down that the user wants no more of it; jobs of it that start all the same end at once."""
    with updated(run) as record:
        record["cancelled"] = time.time()


def note_refused(run: Run, sentence: str, source: RefusalSource | None = None) -> None:
    """Write down why the last launch was refused, and by whom where that is known."""
    with updated(run) as record:
        record["refused"] = sentence
        record.pop("refused_by", None)
        if source:
            record["refused_by"] = source.value


def _forgive(record: Request) -> None:
    record.pop("cancelled", None)
    record.pop("refused", None)
    record.pop("refused_by", None)


def open_jobs(record: Request) -> list[Entry]:
    """The jobs that, for all the record knows, may still wait or run."""
    return [job for job in record["jobs"] if is_open(job)]
