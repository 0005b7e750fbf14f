"""Submission, second half: what is there already, and sending what is not.

One launcher at a time submits; what is about to be submitted is written down first, with a tag that the scheduler keeps, so that
a crash in between never submits twice.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import errno
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

from ganhpc.core.errors import BusyError, UserError
from ganhpc.core.files import atomic_open, must_be_no_link, open_regular, storage_errors
from ganhpc.core.locks import Held, file_lock
from ganhpc.core.settings import state_folder
from ganhpc.core.storage_errors import fault, remove_leftovers
from ganhpc.launch.planner.planner import Slot
from ganhpc.launch.policy.policy import Policy
from ganhpc.launch.schedulers import registry
from ganhpc.launch.schedulers.base import Job, JobRequest, JobState, PreparedJob, Refused, Scheduler, find_job
from ganhpc.launch.submission import granted, recent_jobs
from ganhpc.launch.submission.granted import Asked
from ganhpc.launch.submission.prepare import LEAST_WALLTIME, SLACK_SECONDS, Submission, Wanted
from ganhpc.launch.submission.recent_jobs import Submitted
from ganhpc.runs import job_origin, submission_record
from ganhpc.runs.foreign_folders import must_be_own
from ganhpc.runs.job_origin import Origin
from ganhpc.runs.run_files import RefusalSource, Request
from ganhpc.runs.run_folder import Run, State

PATIENCE_SECONDS = 60.0
"""Seconds that a launcher waits for another one."""
LATE_SECONDS = 45.0
"""Seconds that a plan may age while its jobs are submitted; jobs that may be late have SLACK_SECONDS in hand."""


class SubmittedJob(NamedTuple):
    """A job that the scheduler has taken, and what is to be said of it."""

    id: str
    note: str = ""


@contextmanager
def one_launcher(scheduler: str) -> Iterator[None]:
    """One launcher of this user at a time looks at the queue and submits; another waits up to a minute. Raises BusyError."""
    folder = state_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise fault(error, folder, elsewhere="`export XDG_STATE_HOME=/a/folder/of/yours`") from None
    try:
        with file_lock(folder / f"submit-{scheduler}.lock", PATIENCE_SECONDS):
            remove_leftovers(folder)
            yield
    except Held:
        raise BusyError(
            "another launcher of yours is submitting for over a minute: wait for it, then type the command again."
        ) from None


def survey(
    wanted: Sequence[Wanted], queue: Sequence[Job], here: Origin | None = None, *, noting: bool = True
) -> tuple[list[Wanted], list[str]]:
    """(what is still to be submitted, sentences on the rest). `here`: whose queue of which place it is; `noting`: the number of a job that
    the record does not have yet is written into it.

    A run with living jobs that will end it is submitted already. One whose launch was cut short (a refusal, a crash) lacks its later
    segments only. One with jobs at another place, or of another person, is not submitted here: only they know whether those live.
    """
    todo, said = [], []
    for w in {w.run.folder: w for w in wanted}.values():
        alive: list[tuple[submission_record.Entry, Job]] = []
        tree = submission_record.read(w.run)
        for entry in submission_record.open_jobs(tree):
            if job := find_job(entry, queue):
                alive.append((entry, job))
                if noting and entry["job_id"] != job.id:
                    submission_record.note_id(w.run, entry["tag"], job.id, here=here)
        mine = {entry["tag"] for entry, _ in alive}
        others = [entry for entry in job_origin.elsewhere(tree, here) if entry["tag"] not in mine] if here else []
        if others:
            said.append(_others(w, others))
            continue
        of_one_job = w.experiment.budget.time is None and w.segments is None
        whole = of_one_job or any(entry["last"] for entry, _ in alive)
        if alive and whole:
            jobs = ", ".join(f"{job.id} ({job.state.value})" for _, job in alive)
            said.append(f"{w.run} is submitted already, as job {jobs}: `{w.run.command('cancel')}` takes it back.")
        elif not alive and w.run.is_held():
            said.append(f"{w.run} is running already, outside of any known job: wait for it, or stop it where it runs.")
        else:
            living = tuple(sorted((job for _, job in alive), key=lambda job: job.end or 0.0))
            todo.append(dataclasses.replace(w, submitted=sum(_to_do(e, job) for e, job in alive), behind=living))
    return todo, said


def _others(w: Wanted, entries: Sequence[submission_record.Entry]) -> str:
    """The sentence on a run that somebody has submitted elsewhere."""
    return (
        f"{w.run} is submitted elsewhere, as {job_origin.described(entries, registry.place)}, which can't be asked here: nothing is submitted. "
        f"Type `{w.run.command('status')}` there: once those jobs have ended, the same command goes on here. Or type it "
        f"with --new for another run; or, where nobody can ask that place any more, `{w.run.command('cancel', '--elsewhere')}`."
    )


def _to_do(entry: submission_record.Entry, job: Job) -> float:
    """Seconds of its run that a living job has yet to do."""
    return max(
        0.0, entry["work"] - max(0.0, time.time() - job.start if job.start and job.state is JobState.RUNNING else 0.0)
    )


# -- sending ------------------------------------------------------------------------------------------------------------


def send(
    submission: Submission,
    wanted: Sequence[Wanted],
    policy_source: str,
    clock: Callable[[], dt.datetime] | None = None,
) -> list[SubmittedJob]:
    """Submit every job of the plan in order. Raises UserError where the scheduler refuses one; those before it stay, and are named.

    `policy_source` is what names the policy for a later `resume`. By `clock`, submitting stops before a job whose place in the plan
    has come meanwhile: what is returned is shorter then, and the rest wants a new plan.
    """
    runs = {w.run.folder.absolute(): w.run for w in wanted}
    pairs = list(zip(submission.plan.slots, submission.jobs, strict=True))
    note_plan(submission, wanted, policy_source, about_to=True)
    sent: list[SubmittedJob] = []
    for slot, prepared in pairs:
        if clock and _is_past(submission, slot, clock()):
            return sent
        job = dataclasses.replace(prepared.request, after=_after(prepared.request, sent))
        try:
            ready, taken = _hand_over(submission.scheduler, job, slot, submission.policy)
        except Refused as refused:
            earlier = [living.id for w in wanted for living in w.behind]
            left = [runs[job.request.run] for _, job in pairs[len(sent) :]]
            raise _refusal(submission, [*earlier, *(job.id for job in sent)], len(sent) + 1, refused, left) from None
        if clock and _ends_late(slot, ready, clock()):
            granted.take_back(submission.scheduler, taken.id)
            return sent
        sent.append(taken)
        submission_record.note_id(runs[job.run], job.tag, taken.id, ready.command)
        noted = Submitted.at(submission.scheduler.origin, taken.id, slot.start.timestamp(), job.seconds, job.tag)
        recent_jobs.add(submission.scheduler.name, noted)
    return sent


def _is_past(submission: Submission, slot: Slot, now: dt.datetime) -> bool:
    """True if a slot was planned for later, and that moment has come; or the plan is too old: jobs have no more than SLACK_SECONDS in hand."""
    assert submission.now
    planned, present = submission.now.timestamp(), now.timestamp()
    # A slot that starts at once has the next whole second for its start, which may come while the scheduler is asked.
    has_come = slot.kind != "now" and planned < slot.start.timestamp() <= present
    return has_come or present - planned > LATE_SECONDS


def _ends_late(slot: Slot, ready: PreparedJob, now: dt.datetime) -> bool:
    """True if a job taken at `now`, after a long while or a suspension of this process, could end after the time that the rules leave it."""
    latest = ready.request.deadline or ready.request.until
    if latest is None or slot.kind == "reservation":
        return False
    return now + dt.timedelta(seconds=ready.request.seconds) > latest


def note_plan(submission: Submission, wanted: Sequence[Wanted], policy_source: str, *, about_to: bool = False) -> None:
    """Write the plan into the records of its runs. `about_to`: it is sent now, which ends what was said of a cancelling."""
    scheduler = submission.scheduler
    launch: Request = {"scheduler": scheduler.name, "policy": policy_source, "launch": submission.launch}
    launch["asked"] = dict(scheduler.typed)
    pairs = list(zip(submission.plan.slots, submission.jobs, strict=True))
    for w in wanted:
        entries = [_entry(slot, job) for slot, job in pairs if job.request.run == w.run.folder.absolute()]
        submission_record.note_intent(w.run, entries, launch, about_to=about_to, here=submission.scheduler.origin)


def write_script(job: PreparedJob) -> None:
    """Write the job's script where its command looks for it. Raises UserError where something else lies in the
    place of its log (a job would wait for a fifo until its end), or a folder of the run is another run's."""
    must_be_no_link(job.request.log)
    must_be_own(job.request.run)
    with suppress(FileNotFoundError), open_regular(job.request.log):
        pass
    with storage_errors(job.script_path.parent):
        job.script_path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_open(job.script_path) as file:
        file.write(job.script.encode())
    job.script_path.chmod(0o755)


def _entry(slot: Slot, job: PreparedJob) -> submission_record.Entry:
    request = job.request
    return {
        "segment": slot.segment,
        "start": slot.start.isoformat(),
        "end": slot.end.isoformat(),
        "kind": slot.kind,
        "reason": slot.reason,
        "tag": request.tag,
        "work": slot.work,
        "seconds": request.seconds,
        "last": request.last,
        "launch": request.launch,
    }


def _after(request: JobRequest, sent: Sequence[SubmittedJob]) -> tuple[str, ...]:
    """The jobs that must have ended first: those of before the plan, and of the plan those `sent` ones for which it waits."""
    return (*request.after, *(job.id for job in request.waits_for(sent)))


def _hand_over(scheduler: Scheduler, job: JobRequest, slot: Slot, policy: Policy) -> tuple[PreparedJob, SubmittedJob]:
    """Submit one job; a reservation whose slot is taken becomes a job that starts once it can and ends by the slot's end."""
    ready = scheduler.prepare(job)
    write_script(ready)
    try:
        id = scheduler.submit(ready)
    except Refused as refused:
        shorter = job.seconds - SLACK_SECONDS
        if (
            job.kind != "reservation"
            or refused.unsure
            or not scheduler.capabilities().begin
            or shorter < LEAST_WALLTIME
        ):
            raise
        loose = dataclasses.replace(job, kind="begin", deadline=slot.end, seconds=shorter)
        ready = scheduler.prepare(loose)
        write_script(ready)
        id = scheduler.submit(ready)
        note = f"no reservation ({refused}{_offer(scheduler, refused)}): it starts once it can, and ends by {slot.end:%H:%M:%S}"
        job = loose
    else:
        note = ""
    start = job.start if job.kind in ("begin", "reservation") else None
    said = granted.check(scheduler, id, Asked(job.tag, job.seconds, start, job.after), policy)
    return ready, SubmittedJob(id, "; ".join(filter(None, (note, said))))


def _offer(scheduler: Scheduler, refused: Refused) -> str:
    return f"; {scheduler.title} offers {refused.earliest:%a %d %b %H:%M:%S}" if refused.earliest else ""


_NO_GPU = (
    "; it asked for a GPU: where the cluster has none, type --device cpu, or write gpus_per_node = 0 in the settings"
)


def _usual_gpu(submission: Submission, number: int) -> bool:
    """True if a job asks for a GPU that nobody named."""
    scheduler, request = submission.scheduler, submission.jobs[number].request
    named = (request.typed_gpus, scheduler.site.gpus_per_node, scheduler.own_gpus())
    return request.gpus_per_node > 0 and named == (None, None, None)


def _refusal(
    submission: Submission, ids: Sequence[str], number: int, refused: Refused, left: Sequence[Run]
) -> UserError:
    """The sentence on a refused job, the `number`th; runs without any job are marked. `ids`: jobs of these runs that wait or run."""
    name = submission.scheduler.title
    kept = (
        f"job{'s' * (len(ids) > 1)} {', '.join(ids)} before it stay{'s' * (len(ids) == 1)} submitted"
        if ids
        else "nothing is submitted"
    )
    if refused.unsure:
        kept = "whether it took the job is not known"
    sentence = (
        f"{name} refused job {number} of {len(submission.jobs)}: {refused}{_offer(submission.scheduler, refused)}"
    )
    if refused.unsure:
        sentence = f"{name} gave no clear answer to job {number} of {len(submission.jobs)}: {refused}"
    else:
        if refused.code in submission.scheduler.codes_of_resources and _usual_gpu(submission, number - 1):
            sentence += _NO_GPU
        for run in left:
            if not any(job["job_id"] for job in submission_record.read(run)["jobs"]):
                submission_record.note_refused(run, sentence, RefusalSource.SCHEDULER)
    return UserError(f"{sentence}; {kept}. Type the command again to go on: it looks at the queue first.")


def note_refused(wanted: Sequence[Wanted], error: UserError) -> None:
    """Mark the runs that a rule has kept from being submitted."""
    for w in wanted:
        if w.run.run_status().state in (State.NEW, State.REFUSED):
            submission_record.note_refused(w.run, str(error), RefusalSource.POLICY)
