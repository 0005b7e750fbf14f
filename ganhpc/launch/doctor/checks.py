"""A look over the machine: what training needs, and the fix for what is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from ganhpc.core import settings as site
from ganhpc.core.errors import UserError
from ganhpc.datasets.image_cache import cache_folder
from ganhpc.launch.doctor import check_data as doctor_data
from ganhpc.launch.doctor import check_machine
from ganhpc.launch.doctor import check_python as doctor_python
from ganhpc.launch.doctor.finding import Finding

_Check = Callable[[], Iterator[Finding]]


def checks(runs: Path | None = None, data_root: Path | None = None) -> list[_Check]:
    """The checks, in the order in which they are shown."""
    try:
        settings = site.load()
    except UserError:
        settings = site.Settings()  # check_configuration says what is wrong with the file.
    return [
        doctor_python.check_python,
        check_machine.check_configuration,
        doctor_python.check_packages,
        doctor_python.check_torch,
        partial(doctor_data.check_data, data_root or settings.data_root),
        partial(check_machine.check_disk, "runs", runs or settings.runs or Path("runs")),
        partial(check_machine.check_disk, "cache", cache_folder()),
        check_machine.check_quota,
        check_machine.check_schedulers,
        partial(check_machine.check_time_zone, settings.time_zone),
    ]


def examine(todo: list[_Check]) -> Iterator[Finding]:
    """Findings of the checks. They run side by side, since some wait for another program; the order stays theirs."""
    with ThreadPoolExecutor(len(todo)) as pool:
        for findings in pool.map(lambda check: list(check()), todo):
            yield from findings
