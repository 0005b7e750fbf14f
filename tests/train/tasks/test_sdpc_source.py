"""--from: a run is held to the networks that it took, wherever they lie; what does not fit is refused before there is a run."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from ganhpc.core.errors import UserError
from ganhpc.core.files import Damaged
from ganhpc.core.weight_files import definition_of, digest_of
from ganhpc.datasets import held_data
from ganhpc.runs.experiment import Experiment
from ganhpc.runs.known_experiments import find
from ganhpc.runs.run_folder import Run
from ganhpc.train.gan import generator_io
from ganhpc.train.nets.sdpc import Sdpc
from tests.helpers import finish, trainer_of
from tests.train.loop.test_trainer import Killed, kill_at
from tests.train.tasks.tiny import made, task_of, tiny


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of sdpc."""
    run = made(tmp_path_factory.mktemp("sdpc"), "sdpc", epochs=1)
    finish(run)
    return run.folder


@pytest.fixture
def source(learned: Path, tmp_path: Path) -> Path:
    """A copy of that run, to be changed."""
    return Path(shutil.copytree(learned, tmp_path / "source"))


def launched(runs: Path, source: Path, **values: Any) -> Run:
    """The run that a launch with --from `source` finds or makes, held to its networks."""
    experiment = tiny("sdpc-gan", source=str(source), **values)
    run = Run.open(runs, experiment)
    held_data.hold(run.folder, experiment.definition, finished=run.result_json.exists())
    return run


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], object], **metadata: str) -> None:
    """The exported network in `folder`, changed by `change`, with further words about itself."""
    file = folder / "sdpc.safetensors"
    weights, about = load_file(file), definition_of(file)
    change(weights)
    save_file(weights, file, {**metadata, "definition": json.dumps(about, indent=2)})


def retrain(folder: Path) -> None:
    rewrite(folder, lambda weights: weights["weights.0"].view(-1)[:1].add_(1e-6))


@pytest.mark.slow  # 2 s in all
def test_a_run_goes_on_with_the_networks_that_it_began_with_and_no_others(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = launched(tmp_path / "runs", source, checkpoint_every=0.001)
    kill_at(monkeypatch, 3)
    with pytest.raises(Killed):
        trainer_of(run).fit()
    kept = sorted(path.read_bytes() for path in run.checkpoints.iterdir())
    before = (source / "sdpc.safetensors").read_bytes()
    retrain(source)
    sentence = r"the networks in .*/source are not those that this run began with: of 1, 1 replaced \(first: sdpc.safetensors\)"
    for go_on in (lambda: launched(tmp_path / "runs", source, checkpoint_every=0.001), lambda: trainer_of(run)):
        with pytest.raises(held_data.DataChanged, match=sentence):
            go_on()
    assert sorted(path.read_bytes() for path in run.checkpoints.iterdir()) == kept
    # What --new begins is another run, and each source finds its own again.
    experiment = tiny("sdpc-gan", source=str(source), checkpoint_every=0.001)
    new = Run.open(tmp_path / "runs", experiment, new=True)
    held_data.hold(new.folder, experiment.definition)
    assert launched(tmp_path / "runs", source, checkpoint_every=0.001) == new != run
    (source / "sdpc.safetensors").write_bytes(before)
    assert launched(tmp_path / "runs", source, checkpoint_every=0.001) == run
    assert finish(run)["segments"] == 2


def test_the_same_networks_are_known_again_elsewhere(source: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    run = launched(runs, source)
    moved = source.rename(tmp_path / "moved")
    with pytest.raises(
        UserError, match=r"--from .*/source: there is no such folder any more.*with --from and the new place"
    ):
        held_data.hold(run.folder, run.experiment().definition)
    # The version that wrote the file, and the order in it, are no part of the network.
    rewrite(moved, lambda _: None, ganhpc="another version", more="words")
    assert launched(runs, moved) == run and held_data.place(run.folder, "", "source") == str(moved)
    taken: Any = trainer_of(run).task
    net = generator_io.load_file_of(moved / "sdpc.safetensors")
    assert isinstance(net, Sdpc) and torch.equal(taken.generator.dictionaries[1], net.weights[1])
    assert finish(run)["segments"] == 1
    # A finished one needs its source no more.
    shutil.rmtree(moved)
    assert "not in" in held_data.hold(run.folder, run.experiment().definition, finished=True)


def test_a_run_of_an_older_version_is_held_from_its_next_launch_on_and_signatures_stay(
    source: Path, tmp_path: Path
) -> None:
    run = launched(tmp_path / "runs", source)
    for file in run.folder.glob("source*"):
        file.unlink()
    (run.folder / "status.json").write_text("{}")
    line = held_data.hold(run.folder, run.experiment().definition)
    assert "kept no record of its networks" in line
    retrain(source)
    with pytest.raises(held_data.DataChanged):
        held_data.hold(run.folder, run.experiment().definition)
    default: Experiment = find("sdpc-gan").from_preset("default")
    named = dataclasses.replace(default, source="/some/where/runs/sdpc/small-0123456789")  # type: ignore[call-arg]
    assert (default.signature, named.signature) == ("0cca0b821b", "26aa414087")


def test_a_field_called_source_that_names_no_run_of_ours_is_not_held(tmp_path: Path) -> None:
    """An experiment of a user's own may have such an option."""
    for word in ("web", str(tmp_path), str(tmp_path / "nothing")):
        assert held_data.hold(tmp_path, {"data": "lines", "source": word}, finished=True) == ""
    assert held_data.hold(tmp_path, {"data": "lines", "source": str(tmp_path)}) == ""
    assert not (tmp_path / "source.json").exists()


def test_any_change_of_an_exported_network_shows(source: Path) -> None:
    file = source / "sdpc.safetensors"
    whole, first = file.read_bytes(), digest_of(file)
    start = 8 + int.from_bytes(whole[:8], "little")
    assert len(first) == 24 and definition_of(file)["net"] == "sdpc"
    for at in (start, (start + len(whole)) // 2, len(whole) - 1):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert digest_of(file) != first
    for broken in (
        b"",
        whole[:7],
        whole[:100],
        whole[: start - 1],
        whole[:-1],
        b"\xff" * 64,
        b"\x02" + b"\0" * 7 + b"[]",
    ):
        file.write_bytes(broken)
        with pytest.raises(Damaged, match="no whole file of weights"):
            digest_of(file)
    file.write_bytes(whole)
    assert digest_of(file) == first


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"atoms": (6, 9)},
            "of another size .6/8 atoms of 8/4 for images of 16 pixels; this run paints with 6/9 atoms",
        ),
        ({"image_size": 32}, "of another size .* images of 32 pixels"),
        ({"dictionary": "hi-la"}, "this SDPC has --feedback 1.0, .* type --dictionary sdpc"),
        ({"feedback": 0.0}, "this SDPC has --feedback 1.0, and this run asks for none"),
    ],
)
def test_a_run_of_sdpc_that_does_not_fit_is_refused_before_there_is_a_run(
    values: dict[str, Any], sentence: str, learned: Path
) -> None:
    with pytest.raises(UserError, match=sentence):
        tiny("sdpc-gan", source=str(learned), **values)


@pytest.mark.parametrize(
    ("preparation", "sentence"),
    [
        ({"whitening": "none"}, "saw images under --whitening none, and this run undoes --whitening invertible"),
        ({"f0": 0.4}, "saw images under --whitening-peak 0.4"),
        ({"n": 4.0}, "saw images under --whitening-power 4.0"),
        ({"contrast": 9}, "saw images under --contrast 9, which this run does not undo"),
        ({"grey": True}, "saw images under --grey True"),
    ],
)
def test_a_run_of_sdpc_on_images_prepared_otherwise_is_refused(
    preparation: dict[str, Any], sentence: str, source: Path
) -> None:
    file = source / "sdpc.safetensors"
    about = definition_of(file)
    about["arguments"]["preparation"] |= preparation
    save_file(load_file(file), file, {"definition": json.dumps(about)})
    with pytest.raises(UserError, match=sentence):
        tiny("sdpc-gan", source=str(source))


def test_folders_without_a_whole_sdpc_are_refused_in_one_sentence(source: Path) -> None:
    cases: list[tuple[Callable[[Path], object], str]] = [
        (lambda file: file.write_bytes(file.read_bytes()[:50]), "is no whole file of weights: copy it again"),
        (
            lambda file: save_file({"a": torch.zeros(1)}, file),
            "sdpc.safetensors is no SDPC: give the folder of a run of sdpc",
        ),
        (lambda file: save_file({"a": torch.zeros(1)}, file, {"definition": "{"}), "a definition that can't be read"),
        (lambda file: (file.unlink(), file.mkdir()), "copy it again, or make one by"),
        (lambda file: file.rmdir(), "there is no finished run of sdpc in this folder"),
    ]
    for change, sentence in cases:
        change(source / "sdpc.safetensors")
        with pytest.raises(UserError, match=sentence) as caught:
            tiny("sdpc-gan", source=str(source))
        assert "\n" not in str(caught.value)


def test_every_name_of_a_source_is_one_run(learned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lines").symlink_to(learned)
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    # A data set is called lines, too.
    names = (str(learned), str(learned) + "/", "lines", "./lines/", "~/lines")
    assert {tiny("sdpc-gan", source=name).source for name in names} == {str(learned)}  # type: ignore[attr-defined]
    for name, sentence in (
        ("a", "no such folder|can't be followed"),
        ("./a", "can't be followed"),
        ("nothing", "no such folder"),
    ):
        with pytest.raises(UserError, match=f"--from .*({sentence})"):
            tiny("sdpc-gan", source=name)


def test_an_sdpc_of_colours_paints_no_grey_pictures(learned: Path) -> None:
    from ganhpc.train.tasks import sdpc_gan

    with pytest.raises(UserError, match="saw images of 3 channels, and --data lines has 1"):
        sdpc_gan._of_run(tiny("sdpc-gan", source=str(learned)), learned, (1, 16, 16))


def test_the_task_takes_the_networks_from_where_they_lie_now(learned: Path) -> None:
    net = generator_io.load_file_of(learned / "sdpc.safetensors")
    assert isinstance(net, Sdpc)
    task = task_of(tiny("sdpc-gan", source=str(learned)))
    assert "sdpc" not in task.modules and len(task.stages) == 1
    assert torch.equal(task.generator.dictionaries[1], net.weights[1])
    assert torch.equal(task.generator.scale, net.scales[0])
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    assert net(images).shape == images.shape
