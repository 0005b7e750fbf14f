"""Checks of the disks, the schedulers, the time zone and the configuration."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import tempfile
import zoneinfo
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from ganhpc.core import settings as site
from ganhpc.core.errors import UserError
from ganhpc.core.subprocesses import ask
from ganhpc.launch.doctor.finding import Finding, bad, good, note
from ganhpc.launch.schedulers import registry
from ganhpc.launch.schedulers.base import JobRequest, Scheduler
from ganhpc.launch.submission import readiness

LITTLE, TOO_LITTLE = 2_000_000_000, 200_000_000
"""Free bytes below which a disk is worth a note, and below which a run can't be kept."""
_LITTLE_FILES = 2_000
"""Free places for files (inodes) that a few runs take."""
SCHEDULER_SECONDS = 10.0
_GRID5000 = "Europe/Paris"


def check_configuration() -> Iterator[Finding]:
    """The configuration file."""
    try:
        settings = site.load()
    except UserError as error:
        yield bad("configuration", str(error), "")
        return
    if settings.path is None:
        where = " or ".join(map(str, site.places()))
        yield good("configuration", f"none, and none is needed (it may lie at {where})", path=None)
        return
    said = {
        f.name: value
        for f in fields(settings)
        if f.name != "path" and (value := getattr(settings, f.name)) not in (None, ())
    }
    facts = {"path": str(settings.path), **{key: str(value) for key, value in said.items()}}
    if fix := _wrong(settings):
        yield note("configuration", f"{settings.path}: {fix[0]}", fix[1], **facts)
    else:
        yield good("configuration", f"{settings.path}: {', '.join(said) or 'says nothing'}", **facts)


def _wrong(settings: site.Settings) -> tuple[str, str] | None:
    """Faults that a reader of the file can't see: a folder or a program that is not there. (what, how to fix it)"""
    if settings.data_root and not settings.data_root.is_dir():
        return f"data_root {settings.data_root} is no folder", f"`mkdir -p {settings.data_root}`, or correct data_root."
    if said := readiness.setup_problem(settings.setup_lines):
        return f"setup is not shell that bash reads ({said})", "Correct it: no job is sent with it."
    if (settings.python or settings.conda) and (said := readiness.python_problem(settings)):
        return said, "No job is sent with it."
    return None


def check_disk(name: str, folder: Path) -> Iterator[Finding]:
    """True if `folder` (or what will become its parent) can be written, and what is free there."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    facts: dict[str, Any] = {"folder": str(folder), "free_bytes": None}
    if reason := unwritable(there):
        flag = "--runs DIR or runs in the configuration" if name == "runs" else "the variable GANHPC_DATA"
        yield bad(name, f"{folder} can't be written: {reason}", f"Choose another folder with {flag}.", **facts)
        return
    usage, files = shutil.disk_usage(there), os.statvfs(there)
    facts["free_bytes"] = usage.free
    text = f"{folder}{'' if folder.exists() else ' (not made yet)'}, {usage.free / 1e9:.1f} GB free of {usage.total / 1e9:.1f}"
    few_files = files.f_files > 0 and files.f_favail < _LITTLE_FILES
    if usage.free < TOO_LITTLE:
        yield bad(name, text, "Free some space, or choose a folder on another disk.", **facts)
    elif usage.free < LITTLE or few_files:
        what = f"Only {files.f_favail} more files fit" if few_files else "A few runs will fill it"
        yield note(name, text, f"{what}: free some space, or choose a folder on another disk.", **facts)
    else:
        yield good(name, text, **facts)


def unwritable(folder: Path) -> str:
    """The reason for which no file can be made in `folder`; empty where one can."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".ganhpc-doctor-") as file:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return ""


def check_quota() -> Iterator[Finding]:
    """The user's quotas, where the system has a command `quota` that knows any."""
    if shutil.which("quota"):
        answer = ask(["quota", "-w", "-p"], 10.0)
        for disk, used, limit in quotas(answer.out):
            text = f"{used / 1e9:.1f} GB of {limit / 1e9:.1f} used on {disk}"
            facts = {"disk": disk, "used_bytes": used, "limit_bytes": limit}
            if used >= 0.9 * limit:
                yield note(
                    "quota",
                    text,
                    "Free some space before a run fails: `du -sh * | sort -h` shows where it is.",
                    **facts,
                )
            else:
                yield good("quota", text, **facts)


def quotas(text: str) -> Iterator[tuple[str, int, int]]:
    """(file system, bytes used, bytes allowed) of each line of `quota -w -p` that has a limit. Blocks are of 1 KiB; a star
    marks what is exceeded."""
    for line in text.splitlines():
        words = line.replace("*", " ").split()
        if len(words) >= 4 and all(word.isdigit() for word in words[1:4]):
            used, soft, hard = (int(word) * 1024 for word in words[1:4])
            if soft or hard:
                yield words[0], used, soft or hard


def check_schedulers() -> Iterator[Finding]:
    """The schedulers of clusters: their commands, and whether their servers answer."""
    here = [each for each in map(registry.scheduler_class, registry.CLUSTERS) if shutil.which(each.command)]
    if not here:
        yield good("schedulers", "none: jobs run on this machine", found=[])
    settings = _settings()
    for each in here:
        yield _server(each(settings))


def _settings() -> site.Settings:
    """The settings; none of them where they can't be read, which is told of by their own check."""
    try:
        return site.load()
    except UserError:
        return site.Settings()


def _refused(scheduler: Scheduler) -> str:
    """The sentence with which any job is refused here, by what the settings ask of the scheduler; empty where none is."""
    try:
        gpus = scheduler.gpus_of_settings()
        scheduler.prepare(JobRequest("doctor", Path("/run"), 1, 600, "now", gpus_per_node=1 if gpus is None else gpus))
    except UserError as error:
        return str(error)
    return ""


def _server(scheduler: Scheduler) -> Finding:
    name, command = scheduler.name, list(scheduler.ping())
    job = registry.node_side(name).enclosing_job()
    answer = ask(command, SCHEDULER_SECONDS)
    facts = {"scheduler": name, "answers": False}
    asked = f"`{' '.join(command)}`"
    if answer.code is None:
        said = f"gives no answer to {asked} in {SCHEDULER_SECONDS:.0f} s"
    elif answer.code:
        said = f"answers {asked} with: {answer.last_words[:160] or f'exit code {answer.code}'}"
    elif not scheduler.is_up(answer):
        said = f"is down: {answer.last_words[:160]}"
    elif refused := _refused(scheduler):
        return note(name, f"answers, and no job is sent: {refused}", "", **facts | {"answers": True})
    else:
        where = f"this is job {job}" if job else "this is outside of any job (don't train on a frontend)"
        return good(name, f"answers; {where}{scheduler.remark()}", **facts | {"answers": True})
    return note(
        name,
        f"is installed but {said}",
        "Try again later; nothing trains on a frontend meanwhile (--on local where this machine may compute).",
        **facts,
    )


def check_time_zone(configured: str | None) -> Iterator[Finding]:
    """The zone in which nights are planned, and the one in which OAR reads dates, which is the system's whatever TZ says."""
    own, system = os.environ.get("TZ"), system_zone()
    zone = configured or own or system or "UTC"
    facts = {"configured": configured, "TZ": own, "system": system}
    now = dt.datetime.now(dt.UTC)
    if _zone(zone) is None:
        fix = "`unset TZ`, or give it a name such as Europe/Paris."
        yield note("time zone", f"TZ={zone!r} names no zone, so times are in UTC", fix, **facts)
        return
    local = now.astimezone(_zone(zone))
    text = f"{zone}, now {local:%A %H:%M}"
    write = f'Write time_zone = "{_GRID5000}" in {site.places()[-1]}.'
    if configured is None and own and system and not _agree(own, system, now):
        yield note(
            "time zone",
            f"{text} (TZ), but the system is on {system}, which OAR goes by",
            f"`unset TZ`. {write}",
            **facts,
        )
    elif shutil.which("oarsub") and not _agree(zone, _GRID5000, now):
        yield note(
            "time zone", f"{text}; on Grid'5000 it is {_GRID5000}", f"There: {write[0].lower()}{write[1:]}", **facts
        )
    else:
        aside = f" (the system is on {system})" if configured and system and not _agree(zone, system, now) else ""
        yield good("time zone", text + aside, **facts)


def system_zone() -> str | None:
    """The name of the system's own zone, or None where the system doesn't tell."""
    target = os.path.realpath("/etc/localtime")
    if "zoneinfo/" in target:
        return target.split("zoneinfo/", 1)[1].removeprefix("posix/")
    try:
        return Path("/etc/timezone").read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def _zone(name: str) -> zoneinfo.ZoneInfo | None:
    try:
        return zoneinfo.ZoneInfo(name.removeprefix(":"))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _agree(one: str, other: str, now: dt.datetime) -> bool:
    """True if two zones show the same time in every month from `now` on: Etc/UTC and UTC do."""
    first, second = _zone(one), _zone(other)
    months = [now + dt.timedelta(days=30 * n) for n in range(13)]
    return bool(first and second) and all(
        m.astimezone(first).utcoffset() == m.astimezone(second).utcoffset() for m in months
    )
