"""metrics.jsonl is written in the run's own folder, whatever lies in its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from ganhpc.core.errors import UserError
from ganhpc.train.logging.run_logger import RunLogger
from tests.helpers import made


@pytest.mark.parametrize("there", [True, False])
def test_figures_go_through_no_link(tmp_path: Path, there: bool) -> None:
    run, far = made(tmp_path), tmp_path / "far"
    if there:
        far.write_text("kept\n")
    run.metrics_jsonl.symlink_to(far)
    with RunLogger(run, None) as metrics:
        metrics.line("train", 1, {"loss": 1.0})
        assert not run.metrics_jsonl.is_symlink() and '"loss": 1.0' in run.metrics_jsonl.read_text()
        run.metrics_jsonl.unlink()
        run.metrics_jsonl.symlink_to(far)
        with pytest.raises(UserError, match=r"metrics\.jsonl is a link"):
            metrics.line("train", 2, {"loss": 1.0})
    assert (far.read_text() if there else far.exists()) == ("kept\n" if there else False)
