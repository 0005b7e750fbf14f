"""Where `launch.py report` writes."""

from __future__ import annotations

import pytest

from ganhpc.cli.commands.report import _file
from ganhpc.core.errors import UserError


@pytest.mark.parametrize("out", ["/dev/stdout", "/dev/null", "/dev/report.html"])
def test_no_report_takes_a_devices_place(out: str) -> None:
    with pytest.raises(UserError, match=r"is a device: name a file, such as report\.html"):
        _file("html", out, "run")
