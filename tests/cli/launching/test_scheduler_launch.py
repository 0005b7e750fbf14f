"""Lines of a dry run on runs that are submitted already, beside others that have no place."""

from __future__ import annotations

import dataclasses

import pytest

from ganhpc.cli.launching.scheduler_launch import print_dry
from ganhpc.cli.output import screen
from ganhpc.launch.planner.planner import Remainder
from tests.launch.submission.fake_scheduler import Fake, submission

SAID = "a is submitted already, as job 1."


@pytest.mark.parametrize("left", [(), (Remainder("b", 3600, "no place before Monday"),)])
def test_a_run_without_a_place_is_said_beside_one_that_is_submitted(
    capsys: pytest.CaptureFixture[str], left: tuple[Remainder, ...]
) -> None:
    made = submission(Fake())
    made = dataclasses.replace(made, plan=dataclasses.replace(made.plan, remaining=left))
    print_dry(made, screen(), as_json=False, said=[SAID])
    out = capsys.readouterr().out
    assert SAID in out and ("no place before Monday" in out) == bool(left)
