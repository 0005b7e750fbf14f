"""Kills and errors of storage at the k-th file operation of the launcher's verbs, this machine's queue, the node agent and the trainer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.scenarios import SCENARIOS, campaign_of
from tests.faults.test_damaged import TIMES


@pytest.mark.slow  # a minute and a half of processor time, all together: processes of its own
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_fault_at_any_operation_loses_nothing(name: str, tmp_path: Path) -> None:
    said: list[str] = []
    number = SCENARIOS[name].weight * TIMES
    met, wrong = campaign_of(name, tmp_path, number, said.append)
    assert not wrong, "\n".join(said)
    assert met > number / 2, "most faults are met"
