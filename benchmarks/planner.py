"""Time to plan many runs, and its growth with their number.

    python benchmarks/planner.py

Plans 250, 500, 1,000 and 2,000 runs of six hours, one hour a job, into a window that holds them all, and 1,000 runs into one
night. Prints the time of each (the least of five, on one core) and the cost of a run beside that of the smallest plan.
"""

from __future__ import annotations

import datetime as dt
import platform
import time
from zoneinfo import ZoneInfo

from ganhpc.launch.planner.planner import Plan, Window, Work, plan
from ganhpc.launch.policy.policy import load_policy

PARIS = ZoneInfo("Europe/Paris")
NOW = dt.datetime(2026, 11, 23, 17, 30, tzinfo=PARIS)
STUDENT = load_policy("student")


def timed(runs: int, days: int | None) -> tuple[float, Plan]:
    """Seconds that a plan of so many runs takes (the least of five), and the plan."""
    works = [Work(f"run{i}", 6 * 3600) for i in range(runs)]
    window = days and Window(NOW, NOW + dt.timedelta(days=days))
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        made = plan(works, STUDENT, [], NOW, PARIS, window or None, "oar")
        best = min(best, time.perf_counter() - start)
    return best, made


def main() -> None:
    print(f"Python {platform.python_version()} on {platform.machine()}, policy {STUDENT.name}, runs of 6 h")
    first = None
    for runs in (250, 500, 1000, 2000):
        seconds, made = timed(runs, days=runs // 3 + 30)
        assert not made.remaining
        first = first or seconds / runs
        ratio = seconds / runs / first
        print(f"{runs:5} runs, {len(made.slots):6} slots: {seconds:.3f} s, a run costs {ratio:.2f} x that of 250")
    seconds, made = timed(1000, days=None)
    print(f" 1000 runs, one night, {len(made.slots)} slots and {len(made.remaining)} remainders: {seconds:.4f} s")


if __name__ == "__main__":
    main()
