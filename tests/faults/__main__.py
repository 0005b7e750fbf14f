"""`python -m tests.faults [--all | --number N] [NAME ..]`: the campaign of faults at file operations, or the named parts of it.

--all tries every operation with every kill, and with one errno in turn: hours.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.faults.scenarios import SCENARIOS, campaign_of


def main() -> int:
    """Returns 1 where any fault went wrong; the worlds of those stay."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*SCENARIOS, []], metavar="NAME", help=", ".join(SCENARIOS))
    parser.add_argument("--all", action="store_true", help="every operation instead of a sample")
    parser.add_argument("--number", type=int, default=20, help="faults of each command  [default: 20]")
    typed = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="ganhpc-faults."))
    bad = 0
    for name in typed.names or SCENARIOS:
        _, wrong = campaign_of(
            name, place / name, None if typed.all else typed.number, lambda line: print(line, flush=True)
        )
        bad += wrong
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
