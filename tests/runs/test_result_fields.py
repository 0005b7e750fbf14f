"""Fields that every result has: the signature in them is that of the run's own folder."""

from __future__ import annotations

import json
from pathlib import Path

from ganhpc.core.files import write_json
from ganhpc.runs.result_fields import identity
from ganhpc.runs.run_files import is_of_another
from tests.run_folders import stopped


def test_the_signature_is_that_which_the_run_was_begun_with(tmp_path: Path) -> None:
    """A later version may make another one of the same definition: the result would be taken for that of another run."""
    run = stopped(tmp_path, "resumable")
    experiment = run.experiment()
    assert identity(run, experiment)["signature"] == experiment.signature
    write_json(run.experiment_json, {**json.loads(run.experiment_json.read_text()), "signature": "0123456789"})
    moved = type(run)(run.folder.rename(run.folder.with_name("mine")))
    assert is_of_another(moved.folder, {"signature": experiment.signature})
    assert not is_of_another(moved.folder, identity(moved, experiment))


def test_a_definition_that_cannot_be_read_at_the_end_costs_no_result(tmp_path: Path) -> None:
    run = stopped(tmp_path, "resumable")
    experiment = run.experiment()
    run.experiment_json.write_text("{")
    assert identity(run, experiment)["signature"] == experiment.signature
