"""The plan of steps under a budget of time, driven by a made clock."""

from __future__ import annotations

import math
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganhpc.train.runtime.cost_estimates import Costs, Estimate
from ganhpc.train.runtime.training_clock import Clock, TrainingPlan


def simulate(
    plan: TrainingPlan, step_cost, evaluation: float, final: float, save: float, block: float = 0.2, seed: int = 0
) -> dict:
    """Drive `plan` as the loop does, on a clock that only this function moves."""
    rng = random.Random(seed)
    used, step, progress, pace, evaluated, first = 0.0, 0, 0.0, Estimate(), -1, None
    evaluation_pace, trace = Estimate(), [0.0]
    while True:
        costs = Costs(
            pace.seconds or 0.0, evaluation_pace.seconds or 0.0, final if evaluation_pace.seconds else 0.0, save
        )
        if (
            step % plan.steps_per_epoch == 0
            and evaluated != step
            and not (step and plan.steps_left(step, used, costs) < 1)
        ):
            used += evaluation
            evaluation_pace.observe(evaluation)
            evaluated = step
            used += save
            continue
        left = plan.steps_left(step, used, costs)
        if left < 1:
            break
        first = used if first is None else first
        progress = plan.by_time(progress, used, first, costs)
        wanted = block / pace.seconds if pace.seconds else 1
        n = max(1, int(min(wanted, plan.steps_per_epoch - step % plan.steps_per_epoch, math.ceil(left / 2))))
        took = sum(step_cost(step + k, rng) for k in range(n))
        for _ in range(n):
            progress = plan.progress(step + 1, progress, left)
            trace.append(progress)
            left -= 1
            step += 1
        used += took
        pace.observe(took, n)
    return {"used": used + final, "steps": step, "trace": trace}


@pytest.mark.slow  # 5 s of processor time: it computes
@settings(max_examples=60, deadline=None)
@given(
    budget=st.floats(20, 3600),
    step=st.floats(0.001, 0.3),
    spe=st.integers(5, 800),
    evaluation=st.floats(0.01, 1.0),
    noise=st.floats(0, 0.3),
    seed=st.integers(0, 100),
)
def test_no_budget_is_exceeded_by_more_than_a_step_and_an_evaluation(
    budget, step, spe, evaluation, noise, seed
) -> None:
    plan = TrainingPlan(spe, budget, None)
    done = simulate(
        plan, lambda _k, rng: step * (1 + noise * rng.uniform(-1, 1)), evaluation, 2 * evaluation, 0.02, seed=seed
    )
    assert done["used"] <= budget + step * (1 + noise) + 2 * evaluation + 0.02  # the last save
    assert done["used"] >= 0.95 * budget - (step + 2 * evaluation)


@pytest.mark.parametrize("factor", [0.25, 4.0])
def test_a_machine_that_changes_its_speed_still_ends_in_time(factor: float) -> None:
    plan = TrainingPlan(200, 300.0, None)
    done = simulate(plan, lambda k, _rng: 0.05 * (factor if k > 2000 else 1.0), 0.5, 1.0, 0.02)
    assert 0.95 * 300 <= done["used"] <= 300 + 0.05 * factor + 0.5
    assert done["trace"][-1] > 0.97, "the schedule reaches its end all the same"
    assert all(a <= b for a, b in zip(done["trace"], done["trace"][1:], strict=False)), "and never goes back"


def test_slow_first_steps_do_not_bend_the_schedule() -> None:
    """Seen on a busy machine: the first steps took fifty times as long, and the learning rate fell in the first epoch."""
    done = simulate(TrainingPlan(2500, 300.0, None), lambda k, _rng: 0.25 if k < 4 else 0.005, 5.0, 5.0, 0.02)
    trace = done["trace"]
    shares = [k / len(trace) for k in range(len(trace))]
    assert max(abs(a - b) for a, b in zip(trace, shares, strict=True)) < 0.05


def test_with_epochs_the_schedule_is_exact_and_time_is_a_cap() -> None:
    plan = TrainingPlan(10, None, 3)
    done = simulate(plan, lambda _k, _rng: 1.0, 1.0, 1.0, 0.0)
    assert done["steps"] == 30
    assert done["trace"] == [k / 30 for k in range(31)]
    capped = simulate(TrainingPlan(10, 15.0, 3), lambda _k, _rng: 1.0, 1.0, 1.0, 0.0)
    assert capped["steps"] < 30
    assert capped["used"] <= 17
    assert capped["trace"][-1] == capped["steps"] / 30


def test_a_budget_too_small_for_one_step_ends_at_once() -> None:
    assert TrainingPlan(10, 1.0, None).steps_left(0, 0.99, Costs(0.5, 0.1, 0.1, 0.0)) == 0.0


def test_the_clock_adds_segments_up_and_says_where_time_went() -> None:
    clock = Clock()
    clock.start()
    clock.begin_step()
    with clock.phase("forward"):
        sum(range(10_000))
    with clock.whole("evaluation"):
        sum(range(10_000))
    clock.stop()
    state = clock.state()
    later = Clock()
    later.load(state)
    assert later.used == state["used"] > 0
    shares = later.shares()
    assert shares["forward"] > 0 and shares["evaluation"] > 0 and shares["backward"] == 0
    assert sum(shares.values()) <= later.used


def test_a_step_made_after_the_clock_was_stopped_is_charged_to_no_phase() -> None:
    """That whose operations are counted at the end: the phases added up to more than the time."""
    clock = Clock()
    clock.start()
    clock.begin_step()
    with clock.phase("forward"):
        sum(range(10_000))
    clock.stop()
    shares = clock.shares()
    with clock.phase("forward"):
        sum(range(10_000))
    assert clock.shares() == shares and shares["forward"] > 0


def test_the_phases_of_a_device_with_a_queue_never_add_up_to_more_than_the_time() -> None:
    clock = Clock(lambda: time.sleep(0.002), sample_every=10)  # waiting costs more than a step
    clock.start()
    for _ in range(100):
        clock.begin_step()
        with clock.phase("forward"):
            pass
        with clock.phase("backward"):
            pass
    with clock.whole("evaluation"):
        time.sleep(0.01)
    shares = clock.shares()
    assert sum(shares.values()) <= clock.used
    assert shares["forward"] > 0 and shares["evaluation"] >= 0.01
