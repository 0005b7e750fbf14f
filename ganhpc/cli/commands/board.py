"""`launch.py board`: TensorBoard over the runs, with the tunnel to type on the laptop; Ctrl-C ends it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from ganhpc.analysis import tensorboard_server
from ganhpc.cli.common_options import RUNS, Sections, Whole
from ganhpc.cli.output import say
from ganhpc.core.errors import UserError
from ganhpc.core.typed_command import typed_command
from ganhpc.core.units import counted
from ganhpc.launch.schedulers.choice import of_this_frontend
from ganhpc.launch.schedulers.enclosing_job import inside
from ganhpc.runs import find_run
from ganhpc.runs.run_folder import Run
from ganhpc.scans import scan_record

_REFRESH = 10.0
"""Seconds between two looks for new runs."""
PATIENCE = 60.0
"""Seconds for TensorBoard to begin to listen."""
_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # SIGINT too: a shell in the background has it ignored

command = Sections(
    "board",
    callback=lambda **values: show(**values),
    help="TensorBoard over the runs, on this machine alone, and the ssh line that brings it to your laptop. Ctrl-C ends it.\n\n"
    "RUN is a run's folder, its name, a part of it, or the name of a scan or an experiment; all runs without one. New runs appear by themselves.",
)
command.params.append(click.Argument(["words"], nargs=-1, metavar="[RUN]..."))
command.add(
    "Options",
    RUNS(),
    click.Option(
        ["--port"],
        type=Whole(1, 65_535),
        default=6006,
        show_default=True,
        metavar="N",
        help="port; where it is taken, the next free one",
    ),
    click.Option(
        ["--node"],
        metavar="HOST",
        help="print the tunnel to the TensorBoard that runs on this node, and start none here",
    ),
    click.Option(
        ["--login"],
        metavar="USER@HOST",
        help="the machine that you log in to, and your name there  [default: this one, or Grid'5000's access]",
    ),
)


def show(words: tuple[str, ...], runs: str, port: int, node: str | None, login: str | None) -> None:
    """Start TensorBoard on the runs that the words mean, and wait for its end or Ctrl-C."""
    if node:
        if words:
            raise UserError(
                "--node only prints the tunnel: leave the runs out, or type the command on the node itself."
            )
        _print_tunnel(port, node, login)
        return
    if why := tensorboard_server.missing():
        raise UserError(why)
    find = finder(words, Path(runs))
    if not (found := find()):
        raise UserError(
            f"no runs in {runs}: `{typed_command('cifar', '--data', 'synthetic', '--time', '20s', runs=Path(runs))}` makes one; or --runs DIR."
        )
    settled = tensorboard_server.free_port(port)
    if settled != port:
        say(f"port {port} is taken: {settled} is free", err=True)
    with tempfile.TemporaryDirectory(prefix="ganhpc-board-") as folder:
        shown = tensorboard_server.Shown(Path(folder) / "runs")
        shown.folder.mkdir()
        begun = shown.update(found)
        say(f"{begun} of {counted(len(found), 'run')} begun; new ones appear by themselves", err=True)
        with _ended_politely():
            _serve(shown, find, settled, Path(folder) / "log", login)


def finder(words: tuple[str, ...], runs: Path) -> Callable[[], list[Run]]:
    """A function that lists the runs that the words mean at that moment. Raises UserError where a word means none."""
    kinds = [word for word in words if (runs / word).is_dir() and not find_run.is_run(runs / word)]
    scans = [word for word in words if word not in kinds and scan_record.exact(word, runs)]
    rest = tuple(word for word in words if word not in (*kinds, *scans))
    chosen = find_run.find_runs(rest, runs) if rest else []

    def find() -> list[Run]:
        if not words:
            return find_run.find_runs((), runs)
        found = [*chosen, *(run for run in Run.all(runs) if run.folder.parent.name in {k.strip("/") for k in kinds})]
        for word in scans:
            found += kept.run_folders() if (kept := scan_record.exact(word, runs)) else []
        return list({run.folder: run for run in found}.values())

    return find


def _serve(
    shown: tensorboard_server.Shown, find: Callable[[], list[Run]], port: int, log: Path, login: str | None
) -> None:
    """Run the child until it ends by itself, or somebody wants it to."""
    child = tensorboard_server.start(shown.folder, port, 5, log)
    try:
        patience = time.monotonic() + PATIENCE
        while child.poll() is None and not tensorboard_server.answers(port) and time.monotonic() < patience:
            time.sleep(0.2)
        if child.poll() is not None or not tensorboard_server.answers(port):
            last = (log.read_text(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
            raise UserError(f"TensorBoard did not start: {last}")
        say(f"TensorBoard  http://localhost:{port}/")
        _print_tunnel(port, None, login)
        say("Ctrl-C ends it")
        while child.poll() is None:
            time.sleep(_REFRESH if child.poll() is None else 0)
            shown.update(find())
        raise UserError(f"TensorBoard ended by itself (exit code {child.returncode}): type the command again.")
    except KeyboardInterrupt:
        say("ended")
    finally:
        _end(child)


def _print_tunnel(port: int, node: str | None, login: str | None) -> None:
    line = tensorboard_server.tunnel(port, node=node, login=_login_for(node, login) if node else login)
    if not node and not login and "-J" not in line and inside():
        say(f"this is a job on {socket.gethostname()}: add --login USER@HOST, the machine that you log in to", err=True)
    say(f"on the laptop  {line}")
    say(f"then open      http://localhost:{line.split('-L ')[1].split(':')[0]}/")


def _login_for(node: str, login: str | None) -> str | None:
    """The machine through which a node is reached: as typed; else a cluster's frontend itself. Raises UserError for a short name, typed
    where nothing tells the way to it."""
    here = tensorboard_server.this_machine()
    if login or tensorboard_server.on_grid(node) or tensorboard_server.on_grid(here):
        return login
    if of_this_frontend():
        return here
    if "." in node or node in (here, here.partition(".")[0], "localhost"):
        return login
    raise UserError(
        f"--node {node} is a short name, which does not tell the way there: write it whole, such as {node}.lille.grid5000.fr, or add --login "
        f"USER@HOST, the machine that you log in to (--login USER@{node} where that is the node itself)."
    )


@contextmanager
def _ended_politely() -> Iterator[None]:
    """A closed terminal or a job's end is like Ctrl-C, so that the child ends with its parent."""

    def stop(number: int, frame: object) -> None:
        del number, frame
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in _ENDS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the child and what it started (TensorBoard has a server of its own for the data)."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
            child.wait(5)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
