"""`board`: what TensorBoard is given to read, the real program over HTTP, and the tunnels."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from ganhpc.analysis import tensorboard_server
from ganhpc.cli.commands.board import finder
from ganhpc.core.errors import UserError
from ganhpc.core.files import write_json
from ganhpc.runs.run_folder import Run
from ganhpc.runs.tensorboard_hparams import End
from ganhpc.scans import scan_record
from ganhpc.scans.scan_record import Field, Scan
from ganhpc.train.logging.tensorboard_writer import TensorBoardWriter
from tests.conftest import ROOT
from tests.faults import folders
from tests.run_folders import done, stopped


def drawn(run: Run, accuracies: list[float], end: End | None) -> Run:
    """Event files for `run`: an evaluation every ten steps."""
    curves = TensorBoardWriter(run, None)
    for k, accuracy in enumerate(accuracies):
        curves.scalars("epoch", 10 * k, {"test_accuracy": accuracy, "test_loss": 1 - accuracy})
    if end:
        curves.end(end)
    curves.close()
    write_json(
        run.status_json, {**run.status(), "last": {"test_accuracy": accuracies[-1], "test_loss": 1 - accuracies[-1]}}
    )
    return run


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two finished runs that differ in lr, a crashed one, and one that has not begun."""
    folder = tmp_path / "runs"
    drawn(done(folder, 0.6), [0.1, 0.6], End.SUCCESS)
    drawn(done(folder, 0.7, lr=0.5), [0.1, 0.7], End.SUCCESS)
    drawn(stopped(folder, "crashed", "the loss is not finite", lr=7.0), [0.1, 0.2], End.FAILURE)
    Run.open(folder, done(folder, 0.6).experiment().replace(seed=5))
    return folder


def test_a_scan_means_its_runs_those_too_that_are_added_later(runs: Path) -> None:
    names = [run.name for run in Run.all(runs)]
    field = Field("lr", "--lr", (0.5,))
    made = Scan(runs / "cifar", "rates", "cifar", {}, "product", (field,), 1, tuple(names[:1]))
    scan_record.record(made)
    find = finder(("rates", names[1]), runs)
    assert {run.name for run in find()} == set(names[:2])
    scan_record.record(dataclasses.replace(made, runs=(names[0], names[2])))
    assert {run.name for run in find()} == set(names[:3])


def test_links_are_short_and_columns_are_what_differs(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    shown = tensorboard_server.Shown(tmp_path / "links")
    assert shown.update(Run.all(runs)) == 3, "one has not begun"
    names = {path.name for path in (tmp_path / "links" / "cifar").iterdir()}
    assert names <= {run.name for run in Run.all(runs)} and len(names) == 3
    options, metrics = tensorboard_server.columns_of([run.folder for run in Run.all(runs) if run.tensorboard.is_dir()])
    assert {name: sorted(values) for name, values in options.items()} == {"lr": [0.12, 0.5, 7.0]}
    assert metrics == ["epoch/test_accuracy", "epoch/test_loss"]


OUT = (
    "/tmp/evil",
    "../../evil",
    "..",
    ".",
    "a/../../../evil",
    "/",
    "a\0b",
    "x" * 300,
    "events.out.tfevents.1",
    ["a"],
    {"a": 1},
    7,
    None,
    True,
)


@pytest.mark.parametrize("kind", OUT)
def test_no_word_of_a_run_leads_out_of_the_links_or_hides_the_others(runs: Path, tmp_path: Path, kind: Any) -> None:
    bad, *rest = [run for run in Run.all(runs) if run.tensorboard.is_dir()]
    write_json(bad.experiment_json, {**json.loads(bad.experiment_json.read_text()), "experiment": kind})
    (links := tmp_path / "deep" / "er" / "links").mkdir(parents=True)
    before = {path for path in tmp_path.rglob("*") if links not in path.parents}
    assert tensorboard_server.Shown(links).update(Run.all(runs)) == 3
    assert {path for path in tmp_path.rglob("*") if links not in path.parents} == before
    shown = sorted(path.parent.relative_to(links) for path in links.rglob("events.*") if path.is_symlink())
    assert len(set(shown)) == 3 and all(len(path.parts) == 2 for path in shown)
    assert {Path("cifar") / run.name for run in rest} < set(shown)


def test_a_run_whose_folder_cannot_be_looked_at_hides_no_other(runs: Path, tmp_path: Path) -> None:
    """Of another user, or by a name of a scan's record that no folder can have."""
    (links := tmp_path / "links").mkdir()
    odd = [Run(runs / "cifar" / name) for name in ("x" * 300, "a\0b", "gone")]
    assert tensorboard_server.Shown(links).update([*odd, *Run.all(runs)]) == 3


def get(port: int, path: str, body: dict[str, Any] | None = None) -> Any:
    request = urllib.request.Request(f"http://localhost:{port}{path}", headers={"Content-Type": "application/json"})
    request.data = json.dumps(body).encode() if body is not None else None
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


@pytest.mark.slow  # 2 s of processor time: processes of its own
def test_the_real_tensorboard_has_a_line_a_run_and_ends_with_ctrl_c(runs: Path) -> None:
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    port = taken.getsockname()[1]
    program = [sys.executable, "-u", str(ROOT / "launch.py"), "board", "--runs", str(runs), "--port", str(port)]
    child = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=runs)
    try:
        assert child.stdout
        address = child.stdout.readline()
        assert address.startswith("TensorBoard  http://localhost:"), child.stderr.read() if child.stderr else ""
        used = int(address.rstrip("/\n").rsplit(":", 1)[1])
        assert used > port, "the one that was asked for is taken"
        assert child.stdout.readline().startswith(
            f"on the laptop  ssh -N -L {used + 10_000 if used < 55_536 else used}:localhost:{used} "
        )
        statuses = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]
        ask = {"allowedStatuses": statuses, "colParams": [], "startIndex": 0, "sliceSize": 100}
        ends = {0.12: "STATUS_SUCCESS", 0.5: "STATUS_SUCCESS", 7.0: "STATUS_FAILURE"}
        limit = time.monotonic() + 120
        while True:  # it answers while it still loads: a run's end is the last that it reads of it
            try:
                groups = get(used, "/data/plugin/hparams/session_groups", ask)["sessionGroups"]
            except urllib.error.HTTPError:
                groups = []  # nothing is loaded yet
            lines = {group["hparams"]["lr"]: group["sessions"][0] for group in groups}
            seen = {lr: session["status"] for lr, session in lines.items()}
            if seen == ends:
                break
            assert time.monotonic() < limit, seen
            time.sleep(0.2)
        values = {m["name"]["tag"]: m["value"] for m in lines[0.5]["metricValues"]}
        assert values == pytest.approx({"epoch/test_accuracy": 0.7, "epoch/test_loss": 0.3})
        name = lines[0.5]["name"]
        points = get(used, f"/data/plugin/scalars/scalars?tag=epoch/test_accuracy&run={name}")
        assert [step for _, step, _ in points] == [0, 10]
        child.send_signal(signal.SIGINT)
        assert child.wait(120) == 0
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", used)) != 0, "the child has ended too"
    finally:
        taken.close()
        if child.poll() is None:
            child.terminate()
            child.wait(20)


@pytest.mark.parametrize(
    ("place", "wanted"),
    [
        ("flille.lille.grid5000.fr", "-J me@access.grid5000.fr me@lille"),
        ("frontend.nancy.grid5000.fr", "-J me@access.grid5000.fr me@nancy"),
        ("chifflot-1.lille.grid5000.fr", "-J me@access.grid5000.fr,me@lille me@chifflot-1.lille"),
        ("gpu7", "me@gpu7"),
    ],
)
def test_the_tunnel_goes_through_the_machines_of_the_site(
    monkeypatch: pytest.MonkeyPatch, place: str, wanted: str
) -> None:
    monkeypatch.setattr(tensorboard_server, "user_name", lambda: "me")
    assert tensorboard_server.tunnel(6006, node=place) == f"ssh -N -L 16006:localhost:6006 {wanted}"


def test_a_node_of_another_cluster_is_reached_through_its_login_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    line = tensorboard_server.tunnel(6006, node="node3", login="g14006889@gt-0.luminy.univ-amu.fr")
    assert line == "ssh -N -L 16006:localhost:6006 -J g14006889@gt-0.luminy.univ-amu.fr g14006889@node3"
    monkeypatch.setattr(socket, "getfqdn", lambda: "gt-0.luminy.univ-amu.fr")
    line = tensorboard_server.tunnel(6006, login="me@gt-0.luminy.univ-amu.fr")
    assert line == "ssh -N -L 16006:localhost:6006 me@gt-0.luminy.univ-amu.fr"
    assert "'me@a b'" in tensorboard_server.tunnel(6006, node="a b", login="me@x"), "every word is quoted"


def test_mistakes_are_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ganhpc.cli.commands.board import show

    ask: dict[str, Any] = {"words": (), "runs": str(tmp_path), "port": 6006, "node": None, "login": None}
    with pytest.raises(UserError, match="no runs in"):
        show(**ask)
    with pytest.raises(UserError, match="there is no run 'x'"):
        show(**{**ask, "words": ("x",)})
    monkeypatch.setattr(tensorboard_server, "TRIES", 1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserError, match="are taken"):
            tensorboard_server.free_port(taken.getsockname()[1])
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UserError, match="-m pip install tensorboard"):
        show(**ask)


def test_the_login_side_never_imports_torch(runs: Path) -> None:
    code = "import sys; from ganhpc.analysis import tensorboard_server as board; from ganhpc.runs.run_folder import Run; from pathlib import Path; import tempfile\n"
    code += (
        "board.Shown(Path(tempfile.mkdtemp())).update(Run.all(Path(sys.argv[1]))); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(runs)], cwd=ROOT, check=True, env={**os.environ}, timeout=60)


def test_a_nodes_short_name_needs_the_machine_that_one_logs_in_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a laptop `ssh me@chifflot-1` reaches nothing; on a cluster's frontend the way leads through that."""
    from ganhpc.cli.commands.board import show

    ask: dict[str, Any] = {"words": (), "runs": str(tmp_path), "port": 6006, "node": "gpu7", "login": None}
    monkeypatch.setattr(tensorboard_server, "user_name", lambda: "me")
    monkeypatch.setattr(tensorboard_server.socket, "getfqdn", lambda: "front.lab.fr")
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("SLURM_JOB_ID", "OAR_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(
        UserError, match=r"--node gpu7 is a short name.*gpu7\.lille\.grid5000\.fr, or add --login USER@HOST"
    ):
        show(**ask)
    for login, way in (("you@gt-0.fr", "-J you@gt-0.fr you@gpu7"), ("me@gpu7", "me@gpu7")):
        show(**{**ask, "login": login})
        assert f":6006 {way}\n" in capsys.readouterr().out
    (tmp_path / "sbatch").write_text("#!/bin/sh\n")
    (tmp_path / "sbatch").chmod(0o755)
    show(**ask)
    assert ":6006 -J me@front.lab.fr me@gpu7\n" in capsys.readouterr().out
    show(**{**ask, "node": "chifflot-1.lille.grid5000.fr"})
    assert "-J me@access.grid5000.fr,me@lille me@chifflot-1.lille\n" in capsys.readouterr().out


def test_a_nodes_short_name_goes_through_the_same_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorboard_server.socket, "getfqdn", lambda: "flille.lille.grid5000.fr")
    short, full = (
        tensorboard_server.tunnel(6006, node=node) for node in ("chifflot-1", "chifflot-1.lille.grid5000.fr")
    )
    assert short == full and " -J " in short


def test_runs_that_were_moved_or_renamed_are_shown_each_by_its_title(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = [run for run in Run.all(runs) if run.tensorboard.is_dir()]
    places = [tmp_path / name / "best" for name in ("a", "b", "c")]
    for run, place in zip(begun, places, strict=True):
        place.parent.mkdir()
        run.folder.rename(place)
    (tmp_path / "links").mkdir()
    shown = tensorboard_server.Shown(tmp_path / "links")
    monkeypatch.chdir(places[0])
    moved = [Run(Path()), *map(Run, places[1:])]
    assert shown.update(moved) == shown.update(moved) == 3
    links = {path.name: next(path.iterdir()).resolve().parents[1] for path in (tmp_path / "links" / "cifar").iterdir()}
    assert links == dict(zip(("best", "best (2)", "best (3)"), places, strict=True))


# -- hostile folders ----------------------------------------------------------------------------------------------------


def test_tensorboard_is_given_regular_files_only_new_ones_too(runs: Path, tmp_path: Path) -> None:
    """It would wait for a fifo, and read a device for ever."""
    run = next(run for run in Run.all(runs) if run.tensorboard.is_dir())
    os.mkfifo(run.tensorboard / "events.out.tfevents.1.fifo")
    (run.tensorboard / "events.out.tfevents.1.zero").symlink_to("/dev/zero")
    (run.tensorboard / "events.out.tfevents.1.loop").symlink_to("events.out.tfevents.1.loop")
    (run.tensorboard / "up").symlink_to("..")
    (run.tensorboard / "plugins" / "profile").mkdir(parents=True)
    (run.tensorboard / "plugins" / "profile" / "x.pb").touch()
    (tmp_path / "links").mkdir()
    shown = tensorboard_server.Shown(tmp_path / "links")
    shown.update([run])
    links = tmp_path / "links" / run.title
    found = {str(path.relative_to(links)) for path in links.rglob("*") if not path.is_dir()}
    whole = {path.name for path in run.tensorboard.iterdir() if path.is_file()}
    assert found == {*whole, "plugins/profile/x.pb"} and whole
    (run.tensorboard / "events.out.tfevents.2.new").touch()
    old = run.tensorboard / sorted(whole)[0]
    old.unlink()
    os.mkfifo(old)
    shown.update([run])
    assert (links / "events.out.tfevents.2.new").is_file()
    assert not (links / old.name).is_symlink()


@pytest.mark.parametrize(
    "name",
    ["x" * 255, "\x1b]0;x\x07", "a\nb", "\udcff\udcfe" * 60, "\u202eabc", "e" * 250 + "\u00e9", "=cmd|x"],
    ids=ascii,
)
def test_folders_of_any_name_are_shown_twice_too(runs: Path, tmp_path: Path, name: str) -> None:
    run = next(run for run in Run.all(runs) if run.tensorboard.is_dir())
    first = run.folder.rename(run.folder.with_name(name))
    second = Path(shutil.copytree(first, tmp_path / "elsewhere" / "cifar" / name))
    (tmp_path / "links").mkdir()
    assert tensorboard_server.Shown(tmp_path / "links").update([Run(first), Run(second)]) == 2
    names = [path.name for path in (tmp_path / "links" / "cifar").iterdir()]
    assert len(names) == 2 and all(each.isprintable() for each in names)


@pytest.mark.parametrize("seed", range(12))
def test_options_of_any_value_become_columns(runs: Path, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    (tmp_path / "links").mkdir()
    shown = tensorboard_server.Shown(tmp_path / "links")
    for run in Run.all(runs):
        tree = json.loads(run.experiment_json.read_bytes())
        for _ in range(3):
            tree = folders.mutated(tree, chance)
        run.experiment_json.write_bytes(folders.encoded(tree))
    assert shown.update(finder((), runs)()) == 3
