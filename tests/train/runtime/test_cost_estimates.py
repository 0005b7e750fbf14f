"""What steps, evaluations and saves cost: what is remembered, what is kept free."""

from __future__ import annotations

import pytest

from ganhpc.train.runtime.cost_estimates import FINAL_MARGIN, FIRST_SAVE, MOST_UNEVEN, CostEstimates, Costs, Estimate


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
    estimates = CostEstimates()
    estimates.stepped(1.0, 10)
    estimates.evaluated(3.0)
    estimates.save.observe(0.5)
    costs = estimates.costs(2.0)
    assert costs == Costs(step=0.1, evaluation=3.0, final=pytest.approx(FINAL_MARGIN * 6.0 + 0.5), save=0.5)
    assert costs.final > 1.1 * 6.0 + 0.5, (
        "a last evaluation with mirrored images took 1.1 times what the others foretold"
    )


def test_evaluations_cost_more_once_steps_do() -> None:
    estimates = CostEstimates()
    estimates.evaluated(1.0)
    for _ in range(20):
        estimates.stepped(1.0, 10)
    assert estimates.costs(1.0).evaluation == 1.0
    for _ in range(20):
        estimates.stepped(2.0, 10)
    assert estimates.costs(1.0).evaluation == pytest.approx(2.0, rel=0.05)
    estimates.evaluated(2.0)  # it is measured again
    assert estimates.costs(1.0).evaluation == pytest.approx(2.0, rel=0.2)


def test_another_stage_begins_without_what_the_last_one_cost() -> None:
    estimates = CostEstimates()
    estimates.stepped(1.0, 2)
    estimates.evaluated(1.0)
    estimates.save.observe(0.2)
    estimates.forget()
    assert estimates.costs(1.0) == Costs(0.0, 0.0, 0.2, 0.2)


def test_an_uneven_pace_keeps_more_free_for_the_last_evaluation() -> None:
    """As on a machine with other programs: a busy moment may fall on the last evaluation."""
    estimates = CostEstimates()
    estimates.evaluated(1.0)
    estimates.stepped(9.9, 10)  # warming up
    for seconds in (1.0, 1.0, 1.6, 1.0):
        estimates.stepped(seconds, 10)
    uneven = estimates.costs(1.0)
    assert uneven.final == pytest.approx(1.6 * FINAL_MARGIN + FIRST_SAVE, rel=0.05)
    assert uneven.evaluation < 1.3, "those in between meet the mean pace"
    for _ in range(300):
        estimates.stepped(1.0, 10)
    assert estimates.costs(1.0).final == pytest.approx(FINAL_MARGIN + FIRST_SAVE, rel=0.01), "forgotten"
    estimates.stepped(9000.0, 10)
    assert estimates.costs(1.0).final < 12 and estimates._uneven == MOST_UNEVEN


def test_a_process_that_was_held_for_long_is_not_that_slow_and_a_pace_that_lasts_is_followed() -> None:
    """Else the seconds of a stopped process would leave no room for another step, and end the run."""
    pace = Estimate()
    for total in (1.0, 1.0, 1.0, 9000.0):
        pace.observe(total, 10)
    assert pace.seconds is not None and pace.seconds < 0.9
    for _ in range(20):
        pace.observe(1.0, 10)
    assert pace.seconds == pytest.approx(0.1, rel=0.1)
    for _ in range(4):
        pace.observe(100.0, 10)
    assert pace.seconds == pytest.approx(10.0, rel=0.1), "a hundred times slower from now on"


def test_single_fast_steps_and_warming_up_are_no_change_of_pace() -> None:
    estimates = CostEstimates()
    estimates.evaluated(1.0)
    for seconds, steps in ((5.0, 1), (1.0, 10), (1.0, 10), (0.03, 1), (0.09, 1)):
        estimates.stepped(seconds, steps)
    assert estimates._uneven == 1.0


def test_what_is_drawn_may_fall_due_before_the_last_evaluation() -> None:
    estimates = CostEstimates()
    for seconds in (0.0, 0.4, 0.7, 0.0, 0.1):
        estimates.sampled(seconds)
    assert estimates.costs(1.0).final == pytest.approx(0.7 + FIRST_SAVE)
