"""What steps, evaluations and saves cost: what is remembered, what is kept free."""

from __future__ import annotations

import pytest

from ganhpc.train.runtime.cost_estimates import FINAL_MARGIN, FIRST_SAVE, CostEstimates, Costs, Estimate


def test_the_pace_forgets_the_first_slow_step_and_follows_a_change() -> None:
    pace = Estimate()
    pace.observe(10.0)
    pace.observe(0.1)
    assert pace.seconds == pytest.approx(0.1)
    for _ in range(200):
        pace.observe(0.2)
    assert pace.seconds == pytest.approx(0.2, rel=0.01)


def test_nothing_measured_costs_nothing_but_a_save() -> None:
    assert CostEstimates().costs(2.0) == Costs(0.0, 0.0, FIRST_SAVE, FIRST_SAVE)


def test_the_last_evaluation_is_as_many_others_with_a_margin() -> None:
    paces = CostEstimates()
    paces.stepped(1.0, 10)
    paces.evaluated(3.0)
    paces.save.observe(0.5)
    costs = paces.costs(2.0)
    assert costs == Costs(step=0.1, evaluation=3.0, final=pytest.approx(FINAL_MARGIN * 6.0 + 0.5), save=0.5)
    assert costs.final > 1.1 * 6.0 + 0.5, (
        "a last evaluation with mirrored images took 1.1 times what the others foretold"
    )


def test_evaluations_cost_more_once_steps_do() -> None:
    paces = CostEstimates()
    paces.evaluated(1.0)
    for _ in range(20):
        paces.stepped(1.0, 10)
    assert paces.costs(1.0).evaluation == 1.0
    for _ in range(20):
        paces.stepped(2.0, 10)
    assert paces.costs(1.0).evaluation == pytest.approx(2.0, rel=0.05)
    paces.evaluated(2.0)  # it is measured again
    assert paces.costs(1.0).evaluation == pytest.approx(2.0, rel=0.2)


def test_another_stage_begins_without_what_the_last_one_cost() -> None:
    paces = CostEstimates()
    paces.stepped(1.0, 2)
    paces.evaluated(1.0)
    paces.save.observe(0.2)
    paces.forget()
    assert paces.costs(1.0) == Costs(0.0, 0.0, 0.2, 0.2)
