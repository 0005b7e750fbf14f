"""The French holidays as the library has them: `python -m tests.golden.holidays_of` writes the file of the policies anew."""

from __future__ import annotations

import json

import holidays

from ganhpc.launch.policy.calendar import KEPT

YEARS = range(2020, 2051)


def table() -> dict[str, dict[str, str]]:
    """Year -> date -> name."""
    return {
        str(year): {
            day.isoformat(): name
            for day, name in sorted(holidays.country_holidays(KEPT.stem, years=year, language="en_US").items())
        }
        for year in YEARS
    }


if __name__ == "__main__":
    KEPT.write_text(json.dumps({"source": f"holidays {holidays.__version__}", "years": table()}, indent=0) + "\n")
