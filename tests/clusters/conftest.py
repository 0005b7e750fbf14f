"""The clusters as fixtures of a test session, and the switch of the tests marked `cluster`.

With GANHPC_CLUSTERS=1 these tests run, and a machine that can't run them makes them fail; without it they are skipped,
since they start daemons as root and put a configuration of their own into /etc/oar while they run. GANHPC_CLUSTERS=all adds
those that take minutes: whole trainings through the schedulers, and what is marked slow.

Real daemons on a loaded machine miss a time limit now and then, so a test that fails is run once more; the summary shows it as RERUN.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.clusters import machine, oar, paced, slurm
from tests.clusters.chain import Chain, Reference
from tests.clusters.early import Again, Held, Hung
from tests.clusters.slow import SlowOar, SlowSlurm
from tests.clusters.user import User

SWITCH = "GANHPC_CLUSTERS"


def skip_reason() -> str | None:
    """Why the tests marked `cluster` are skipped, with the command that runs them, or None when they are not."""
    if os.environ.get(SWITCH) in ("1", "all"):
        return None
    reason = machine.why_not((*slurm.COMMANDS, *slurm.ACCOUNTING_COMMANDS, *oar.COMMANDS)) or "starts real schedulers"
    return f"{reason}; to run it: {machine.INSTALL} && {SWITCH}=1 python -m pytest -m cluster tests/clusters (as root)"


def turn(item: pytest.Item) -> int:
    """First the tests that take clusters down, last those that wait for what others have begun."""
    if item.path.name == "test_bringup.py":
        return 0
    return 2 if item.get_closest_marker("cluster") and item.get_closest_marker("slow") else 1


LONG = ("test_oar.py", "test_slurm.py")
"""Whole trainings through a scheduler, a minute or so each."""


def takes_minutes(item: pytest.Item) -> bool:
    """Whether it runs with GANHPC_CLUSTERS=all only."""
    return item.path.name in LONG or item.get_closest_marker("slow") is not None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.environ.get(SWITCH) == "1":
        kept = [item for item in items if not (item.get_closest_marker("cluster") and takes_minutes(item))]
        if left := [item for item in items if item not in set(kept)]:
            config.hook.pytest_deselected(items=left)
            items[:] = kept
    # Of the last ones, those of test_waiting.py make nodes absent behind the trainings of the others, whatever order was typed.
    items.sort(key=lambda item: (turn(item), item.path.name if turn(item) == 2 else ""))
    reason = skip_reason()
    for item in items:
        if item.get_closest_marker("cluster"):
            item.add_marker(pytest.mark.skip(reason=reason) if reason else pytest.mark.flaky(reruns=1))


@pytest.fixture(scope="session")
def slurm_cluster() -> Iterator[slurm.Slurm]:
    """A real Slurm with accounting, shared by the session."""
    with slurm.cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def slurm_bare() -> Iterator[slurm.Slurm]:
    """A real Slurm without accounting (no sacct), shared by the session; may be up beside the other."""
    with slurm.cluster(accounting=False) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def oar_cluster() -> Iterator[oar.Oar]:
    """A real OAR, shared by the session."""
    with oar.cluster() as cluster:
        yield cluster


@pytest.fixture
def slurm_user(slurm_cluster: slurm.Slurm, checkout: Path, request: pytest.FixtureRequest) -> Iterator[User]:
    """A user of Slurm, with a folder of the test's own."""
    yield from _user("slurm", slurm_cluster, checkout, request)


@pytest.fixture
def oar_user(oar_cluster: oar.Oar, checkout: Path, request: pytest.FixtureRequest) -> Iterator[User]:
    """A user of OAR, with a folder of the test's own."""
    yield from _user("oar", oar_cluster, checkout, request)


def _user(where: str, cluster: slurm.Slurm | oar.Oar, checkout: Path, request: pytest.FixtureRequest) -> Iterator[User]:
    made = User(where, cluster, checkout, f"{where} {request.node.name}"[:60])
    yield made
    made.close()


def slow_tests(request: pytest.FixtureRequest) -> bool:
    return any(item.get_closest_marker("slow") and item.get_closest_marker("cluster") for item in request.session.items)


@pytest.fixture(scope="session")
def slow_slurm(request: pytest.FixtureRequest) -> Iterator[SlowSlurm | None]:
    """Jobs that take more than a minute, started while other tests run; None when no slow test is to be run.

    The tests after those of the bring-up ask for this, so that the jobs have long begun when they are looked at.
    """
    if not slow_tests(request):
        yield None
        return
    with SlowSlurm(request.getfixturevalue("slurm_cluster")) as jobs:
        yield jobs


@pytest.fixture(scope="session")
def slow_oar(request: pytest.FixtureRequest) -> Iterator[SlowOar | None]:
    """The same on OAR; begun after the conversations, which need an empty cluster."""
    if not slow_tests(request):
        yield None
        return
    with SlowOar(request.getfixturevalue("oar_cluster")) as jobs:
        yield jobs


@pytest.fixture(scope="session")
def checkout() -> Path:
    """A copy of this checkout that the jobs' user can read."""
    copy = machine.readable_copy(Path(__file__).parents[2])
    paced.add(copy)
    return machine.give(copy)


@pytest.fixture(scope="session")
def reference(request: pytest.FixtureRequest, checkout: Path) -> Iterator[Reference | None]:
    """The uninterrupted training that the chains are compared with; None when no slow test is to be run."""
    if not slow_tests(request):
        yield None
        return
    user = User("local", request.getfixturevalue("slurm_cluster"), checkout, "reference")
    made = Reference(user)
    yield made
    made.child.kill()
    machine.remove(user.folder)


@pytest.fixture(scope="session")
def slurm_chain(slurm_cluster: slurm.Slurm, checkout: Path, reference: Reference | None) -> Iterator[Chain | None]:
    """A chain on Slurm, begun before the quick tests."""
    yield from _chain("slurm", slurm_cluster, checkout, reference)


@pytest.fixture(scope="session")
def oar_chain(oar_cluster: oar.Oar, checkout: Path, reference: Reference | None) -> Iterator[Chain | None]:
    """A chain on OAR, begun before the quick tests."""
    yield from _chain("oar", oar_cluster, checkout, reference)


def _chain(
    where: str, cluster: slurm.Slurm | oar.Oar, checkout: Path, reference: Reference | None
) -> Iterator[Chain | None]:
    if reference is None:
        yield None
        return
    user = User(where, cluster, checkout, f"chain-{where}")
    yield Chain(user, reference)
    user.close()


Early = TypeVar("Early", Hung, Again, Held)


def _early(kind: Callable[[Any, Path], Early], name: str, request: pytest.FixtureRequest) -> Iterator[Early | None]:
    """Launched early; None when no slow test is to be run."""
    if not slow_tests(request):
        yield None
        return
    made = kind(request.getfixturevalue(name), request.getfixturevalue("checkout"))
    yield made
    made.user.close()


@pytest.fixture(scope="session")
def slurm_hung(request: pytest.FixtureRequest) -> Iterator[Hung | None]:
    yield from _early(Hung, "slurm_cluster", request)


@pytest.fixture(scope="session")
def oar_hung(request: pytest.FixtureRequest) -> Iterator[Hung | None]:
    yield from _early(Hung, "oar_cluster", request)


@pytest.fixture(scope="session")
def oar_again(request: pytest.FixtureRequest) -> Iterator[Again | None]:
    yield from _early(Again, "oar_cluster", request)


@pytest.fixture(scope="session")
def oar_held(request: pytest.FixtureRequest) -> Iterator[Held | None]:
    yield from _early(Held, "oar_cluster", request)
