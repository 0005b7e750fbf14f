"""`launch.py program`: a program of one's own on this machine, from its start over several segments to each of its ends."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ganhpc
from ganhpc.core.errors import UserError
from ganhpc.core.settings import ROOT
from ganhpc.program import bounded_log, descendants, ending, figures, ledger, outcome, said_figures
from ganhpc.program.ledger import Ledger
from ganhpc.program.said_figures import SaidFigures
from ganhpc.program.stop_plan import Step, StopPlan
from ganhpc.runs import job_deadline, known_experiments, placeholders, result_fields
from ganhpc.runs.experiment import Experiment, from_typed
from ganhpc.runs.job_deadline import Bound
from ganhpc.runs.run_folder import Run, State
from jobs.program import Program
from tests.conftest import Launch

COUNTS = """
import json, os, signal, sys, time
from ganhpc.program import figures
path, last = os.path.join(sys.argv[1], "state.json"), int(sys.argv[2])
step = json.load(open(path)) if os.path.exists(path) else 0
print("begins at", step, flush=True)
def save():
    with open(path + ".new", "w") as file: json.dump(step, file)
    os.replace(path + ".new", path)
asked = []
if len(sys.argv) > 3: signal.signal(signal.SIGTERM, signal.SIG_IGN)  # which comes later, and on a busy machine before it has saved
signal.signal(getattr(signal, "SIG" + (sys.argv[3] if len(sys.argv) > 3 else "TERM")), lambda *_: asked.append(1))
while step < last:
    step += 1
    figures(step=step, accuracy=1 - 1 / step, wavy=-step)
    time.sleep(0.05)
    if asked:
        save(); print("saved", step, flush=True); sys.exit(0)
save()
"""
"""A program that counts, saves when it is told to stop, and goes on from there."""


def made(tmp_path: Path, *command: str, **values: Any) -> Run:
    """A new run of the command."""
    return Run.open(tmp_path / "runs", defined(*command, folder=str(tmp_path), **values))


def defined(*command: str, **values: Any) -> Experiment:
    return from_typed(Program, {"command": command, "time": 60.0, **values})


def segment(
    run: Run, seconds: float | None = None, launch: str = "a", patience: float = 300.0, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run one segment as a job of so many seconds."""
    words = [sys.executable, "-m", "ganhpc.program.runner", str(run.folder)]
    bound = Bound(time.time() + seconds) if seconds else None
    environ = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "GANHPC_LAUNCH": launch,
        **job_deadline.environment("me", bound),
        **env,
    }
    with run.log.open("ab") as log:
        return subprocess.run(
            words, env=environ, stdout=log, stderr=subprocess.PIPE, text=True, timeout=patience, check=False
        )


@contextlib.contextmanager
def job(run: Run, seconds: float) -> Iterator[subprocess.Popen[bytes]]:
    """One segment in the background, as a job whose end may be brought forward (`ends_in`)."""
    words = [sys.executable, "-m", "ganhpc.program.runner", str(run.folder)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "GANHPC_LAUNCH": "a", **job_deadline.environment("me")}
    ends_in(run, seconds)
    with run.log.open("ab") as log, subprocess.Popen(words, env=environ, stdout=log, stderr=log) as runner:
        yield runner


def ends_in(run: Run, seconds: float) -> float:
    """The job ends in so many seconds from now; returns when that is."""
    end = time.time() + seconds
    job_deadline.write(run, Bound(end), "me")
    return end


def counting(tmp_path: Path, last: int, *words: str, **values: Any) -> Run:
    (tmp_path / "count.py").write_text(COUNTS)
    return made(tmp_path, "python", "count.py", "{checkpoints}", str(last), *words, **values)


def wait_for(true: Callable[[], object], seconds: float = 120.0) -> None:
    patience = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < patience
        time.sleep(0.05)


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


# -- segments ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow  # 10 s in all
def test_three_segments_end_as_one(tmp_path: Path) -> None:
    run = counting(tmp_path, 150, "USR1", stop_signal="USR1", time=600.0)
    said = run.folder / "figures.jsonl"
    counted = lambda: len(said.read_text().splitlines()) if said.exists() else 0  # noqa: E731
    codes, states = [], []
    while not run.result_json.exists() and len(codes) < 12:
        enough = counted() + 30
        with job(run, 600.0) as runner:
            wait_for(lambda enough=enough: runner.poll() is not None or counted() >= enough)
            ends_in(run, 22.0)  # it is told at once, and has twelve seconds to save before it is killed
            codes.append(runner.wait(120))
        states.append(run.run_status().state)
    assert codes[-1] == 0 and set(codes[:-1]) == {75} and len(codes) >= 3
    assert set(states[:-1]) == {State.RESUMABLE}
    begins = [int(line.split()[-1]) for line in run.log.read_text().splitlines() if line.startswith("begins at")]
    saved = [int(line.split()[-1]) for line in run.log.read_text().splitlines() if line.startswith("saved")]
    assert begins == [0, *saved], "each goes on where the one before was told to stop"
    result = run.result()
    assert result is not None
    assert (result["segments"], result["steps"], result["headline"]) == (len(codes), 150, "")
    assert result["accuracy"] == pytest.approx(1 - 1 / 150)
    curve = json.loads(run.evaluation_json.read_text())["curve"]
    assert [point["step"] for point in curve] == list(range(1, 151))
    assert Ledger.read(run).stop_seconds is not None


@pytest.mark.slow  # 3 s in all
def test_the_same_words_are_the_same_run_and_other_contents_of_a_watched_file_another(
    launch: Launch, tmp_path: Path
) -> None:
    (tmp_path / "own.py").write_text("print('one')\n")
    words = (
        "program",
        "--on",
        "local",
        "--time",
        "30s",
        "--watch-file",
        "own.py",
        "--json",
        "--",
        "python",
        "own.py",
        "a b",
        "--new",
    )
    rows = [json.loads(launch(*words).stdout)[0] for _ in range(2)]
    assert [row["state"] for row in rows] == ["done", "done"] and rows[0]["run"] == rows[1]["run"]
    assert rows[0]["segments"] == 1
    (tmp_path / "own.py").write_text("print('two')\n")
    assert json.loads(launch(*words).stdout)[0]["run"] != rows[0]["run"]


@pytest.mark.slow  # 5 s in all
@pytest.mark.parametrize("change", ["edited", "a folder"])
def test_a_watched_file_that_changes_between_two_segments_stops_the_run(tmp_path: Path, change: str) -> None:
    own = tmp_path / "own.sh"
    own.write_text("echo $GANHPC_SEGMENT > $GANHPC_CHECKPOINTS/n; [ $GANHPC_SEGMENT = 2 ] || exit 75\n")
    text = own.read_text()
    run = made(tmp_path, "sh", "own.sh", watch_files=("own.sh",))
    assert segment(run).returncode == 75 and run.run_status().state is State.RESUMABLE
    own.unlink()
    if change == "edited":
        own.write_text(text + "# better\n")
    elif change == "a folder":
        own.mkdir()
    assert segment(run).returncode == 2
    found = run.run_status()
    assert (
        found.state is State.REFUSED and "the watched file 'own.sh'" in found.reason and "put it back" in found.reason
    )
    assert (run.checkpoints / "n").read_text() == "1\n", "the program was not started"
    if change == "a folder":
        own.rmdir()
    own.write_text(text)
    assert segment(run).returncode == 0 and run.run_status().state is State.DONE


@pytest.mark.slow  # 2 s in all
def test_a_crash_shows_the_last_lines_in_status(launch: Launch) -> None:
    script = "import sys; print('first'); print('second é'); sys.exit(7)"
    done = launch("program", "--on", "local", "--time", "30s", "--name", "bad", "--", "python", "-c", script)
    assert done.returncode == 1
    shown = launch("status", "bad").stdout
    assert "crashed" in shown and "exit code 7" in shown and "| first" in shown and "| second é" in shown


STARTS = {
    "python train.py | tee log": (None, "typed as bash -c 'python train.py | tee log'"),
    "source": (None, "typed as bash -c 'source ..'"),
    "./no_first_line": ("exit 3\n", "names its interpreter, such as #!/bin/bash; or type bash ./no_first_line"),
    "./windows.sh": ("#!/bin/sh\r\nexit 3\r\n", "Windows line ends name none"),
    "./not_executable": ("#!/bin/sh\n", "chmod +x"),
    "~/run.sh": (None, "leave them out"),
    "here.sh": ("#!/bin/sh\n", "is typed as ./here.sh"),
    "train.py": ("", "is typed as python train.py"),
    "cat " + "x" * 5000: (None, "typed as bash -c 'cat x"),
    ".": (None, "or its path"),
}


@pytest.mark.parametrize("name", STARTS)
def test_what_cannot_be_started_is_a_sentence_with_the_way_on(tmp_path: Path, name: str) -> None:
    text, way = STARTS[name]
    if text is not None:
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o644 if "not_executable" in name else 0o755)
    run = made(tmp_path, name)
    assert segment(run).returncode == 2
    found = run.run_status()
    assert found.state is State.REFUSED and "can't be started" in found.reason and way in found.reason, found


def test_a_program_that_is_not_there_is_a_sentence(launch: Launch) -> None:
    done = launch("program", "--on", "local", "--time", "30s", "--", "no-such-program")
    assert (
        done.returncode == 2
        and "'no-such-program' can't be started (No such file or directory)" in done.stdout + done.stderr
    )
    assert "Traceback" not in done.stdout + done.stderr
    done = launch("program", "--time", "30s")
    assert done.returncode == 2 and "behind two dashes" in done.stderr


@pytest.mark.slow  # 3 s in all
@pytest.mark.parametrize(
    ("code", "options", "state"), [(75, {}, "resumable"), (9, {"resumable_exit": 9}, "resumable"), (9, {}, "crashed")]
)
def test_exit_codes(tmp_path: Path, code: int, options: dict[str, Any], state: str) -> None:
    run = made(tmp_path, "sh", "-c", f"date > $GANHPC_CHECKPOINTS/x; exit {code}", **options)
    assert segment(run).returncode == (75 if state == "resumable" else 1)
    assert run.run_status().state == state


@pytest.mark.parametrize(
    ("code", "number", "words"),
    [
        (0, None, "ended with exit code 0"),
        (1, None, "ended with exit code 1"),
        (128, None, "ended with exit code 128"),
        (255, None, "ended with exit code 255"),
        (137, 9, "ended with exit code 137 (of a shell: SIGKILL)"),
        (139, 11, "ended with exit code 139 (of a shell: SIGSEGV)"),
        (-9, 9, "was killed by SIGKILL"),
        (-40, 40, "was killed by signal 40"),
    ],
)
def test_exit_codes_in_words(code: int, number: int | None, words: str) -> None:
    assert (ending.signal_of(code), ending.code_in_words(code)) == (number, words)


@pytest.mark.slow  # 2 s in all
def test_a_program_killed_below_its_shell_is_gone_on_with(tmp_path: Path) -> None:
    script = "date > $GANHPC_CHECKPOINTS/x; sh -c 'kill -9 $$'"
    run = made(tmp_path, "sh", "-c", f"{script}; exit $?")
    assert segment(run).returncode == 74
    status = run.run_status()
    assert status.state is State.RESUMABLE and "by SIGKILL from outside (exit code 137 of its shell)" in status.reason


@pytest.mark.slow  # 3 s in all
def test_a_program_that_begins_anew_each_time_gets_nowhere_after_two_segments(tmp_path: Path) -> None:
    run = made(tmp_path, "sh", "-c", "while true; do sleep 0.1; done")
    assert segment(run, 1.5).returncode == 75
    assert run.run_status().state is State.LOST
    assert segment(run, 1.5).returncode == 4
    status = run.run_status()
    assert status.state is State.CRASHED and "gets nowhere: 2 segments in a row" in status.reason
    assert run.result() is None


@pytest.mark.slow  # 6 s in all
def test_checkpoints_behind_a_link_to_another_disk_count(tmp_path: Path) -> None:
    """As where the home is small: the program gets on, and is not lost."""
    disk = tmp_path / "scratch"
    disk.mkdir()
    (disk / "round").symlink_to(disk)  # leads nowhere new
    script = f'ln -sfn {disk} "$GANHPC_CHECKPOINTS/here"; echo "$GANHPC_SEGMENT" >> "$GANHPC_CHECKPOINTS/here/state"; exit 75'
    run = made(tmp_path, "bash", "-c", script)
    for _ in range(4):
        assert segment(run).returncode == 75, run.run_status().reason
        assert run.run_status().state is State.RESUMABLE
    assert (disk / "state").read_text().split() == ["1", "2", "3", "4"]


def test_a_checkpoint_folder_that_can_not_be_listed_is_not_taken_for_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(tmp_path, "true")
    Ledger().write(run)
    (run.checkpoints / "best").mkdir(parents=True)
    assert not run.has_checkpoint()
    scandir = os.scandir

    def away(path: str) -> object:
        if str(path).endswith("best"):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", away)
    assert run.has_checkpoint()


def test_the_end_of_the_budget_is_done(tmp_path: Path) -> None:
    run = made(tmp_path, "sh", "-c", "touch $GANHPC_CHECKPOINTS/x; while true; do sleep 0.1; done", time=8.0)
    assert segment(run).returncode == 0
    result = run.result()
    assert result is not None and result["ended_by"] == "time" and 1.0 < result["train_seconds"] <= 8.0


@pytest.mark.slow  # 3 s in all
def test_a_program_that_ignores_signals_is_killed_in_time(tmp_path: Path) -> None:
    run = made(
        tmp_path,
        "sh",
        "-c",
        "trap '' TERM USR1 INT; touch $GANHPC_CHECKPOINTS/x; while true; do sleep 0.1; done",
        time=600.0,
    )
    with job(run, 60.0) as runner:
        wait_for((run.checkpoints / "x").exists)  # it ignores them by now
        end = ends_in(run, 7.0)
        assert runner.wait(120) == 75
    assert time.time() < end + 60.0
    assert "does not stop: it is killed" in run.log.read_text()


SAVES = """
import os, signal, sys, time
def save(number, frame):
    time.sleep(0.3)
    open(os.environ["GANHPC_CHECKPOINTS"] + "/saved", "w").write(signal.Signals(number).name)
    sys.exit(0)
signal.signal(signal.SIGUSR1, save)
open(os.environ["GANHPC_CHECKPOINTS"] + "/hears", "w")
while True: time.sleep(0.05)
"""


BELOW = {
    "run.sh": "#!/bin/sh\npython saves.py\necho over\n",
    "train.bash": "#!/bin/bash\npython saves.py\necho over\n",
    "by_env": "#!/usr/bin/env bash\npython saves.py\necho over\n",
    "accelerate": f"#!{sys.executable}\nimport subprocess\nsubprocess.call(['python', 'saves.py'])\n",
    "of_its_own": f"#!{sys.executable}\nimport subprocess\nsubprocess.call(['python', 'saves.py'])\n",
    "with_make": "#!/usr/bin/make -f\nall:\n\tpython saves.py\n",
}


@pytest.mark.slow  # 5 s in all
@pytest.mark.parametrize("name", BELOW)
def test_a_program_below_a_script_of_its_own_hears_the_signal(tmp_path: Path, name: str) -> None:
    """The process of ./run.sh is called run.sh, and not after its shell."""
    (tmp_path / "saves.py").write_text(SAVES)
    (tmp_path / name).write_text(BELOW[name])
    (tmp_path / name).chmod(0o755)
    run = made(tmp_path, f"./{name}", stop_signal="USR1", time=600.0)
    with job(run, 600.0) as runner:
        wait_for((run.checkpoints / "hears").exists)
        ends_in(run, 22.0)  # it is told at once, and has twelve seconds to save before it is killed
        assert runner.wait(120) == 75
    assert (run.checkpoints / "saved").read_text() == "SIGUSR1", run.log.read_text()


def test_a_program_that_is_suspended_hears_the_signal(tmp_path: Path) -> None:
    (tmp_path / "saves.py").write_text(SAVES + "\n")
    run = made(tmp_path, "python", "saves.py", stop_signal="USR1", time=600.0)
    with job(run, 600.0) as runner:
        wait_for((run.checkpoints / "hears").exists)
        tree = Path(f"/proc/{runner.pid}/task/{runner.pid}/children").read_text().split()
        program = next(int(pid) for pid in tree if b"saves.py" in Path(f"/proc/{pid}/cmdline").read_bytes())
        os.kill(program, signal.SIGSTOP)
        run.ask_to_stop("enough", "me")
        assert runner.wait(120) == 75
    assert (run.checkpoints / "saved").read_text() == "SIGUSR1", run.log.read_text()


@pytest.mark.slow  # 2 s in all
def test_make_gets_one_sigterm_and_passes_it_on(tmp_path: Path) -> None:
    """It does so itself; at a second one many programs stop without having saved."""
    (tmp_path / "Makefile").write_text("all:\n\tpython once.py\n")
    (tmp_path / "once.py").write_text(
        SAVES.replace("SIGUSR1", "SIGTERM")
        .replace("time.sleep(0.3)", "heard.append(number); time.sleep(1); assert heard == [number]")
        .replace("import os", "heard = []\nimport os", 1)
    )
    run = made(tmp_path, "make", time=600.0)
    with job(run, 600.0) as runner:
        wait_for((run.checkpoints / "hears").exists)
        ends_in(run, 60.0)
        run.ask_to_stop("enough", "me")
        assert runner.wait(120) == 75
    assert (run.checkpoints / "saved").read_text() == "SIGTERM", run.log.read_text()


BLOCKS = "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"
BLOCKS += "threading.Thread(target=signal.sigwait, args=([signal.SIGTERM],), daemon=True).start()"


@pytest.mark.parametrize(("name", "waits"), [("tini", ""), ("init.py", BLOCKS)])
def test_a_program_that_waits_for_a_signal_to_pass_it_on_gets_it_alone(tmp_path: Path, name: str, waits: str) -> None:
    """It has no handler; at a second signal many programs stop without having saved."""
    child = "subprocess.Popen(['sleep', '600'])\nprint('ready', flush=True)\ntime.sleep(600)"
    (tmp_path / name).write_text(f"#!{sys.executable}\nimport signal, subprocess, threading, time\n{waits}\n{child}\n")
    (tmp_path / name).chmod(0o755)
    with subprocess.Popen([tmp_path / name], stdout=subprocess.PIPE, start_new_session=True) as program:
        try:
            assert program.stdout is not None and program.stdout.readline() == b"ready\n"
            assert descendants.listeners(program.pid, signal.SIGTERM) == [program.pid]
        finally:
            os.killpg(program.pid, signal.SIGKILL)


def test_the_package_that_programs_import_is_whole() -> None:
    lines = "import ganhpc; from ganhpc import __version__; print(ganhpc.__version__, ganhpc.__path__)"
    env = {**os.environ, "PYTHONPATH": str(ROOT / "ganhpc" / "program" / "importable")}
    shown = subprocess.run([sys.executable, "-P", "-c", lines], env=env, capture_output=True, text=True, check=False)
    assert shown.stdout == f"{ganhpc.__version__} {[str(ROOT / 'ganhpc')]}\n", shown.stderr


def test_packages_of_the_user_s_own_are_not_hidden(tmp_path: Path) -> None:
    """Those named as folders of the checkout, and without __init__.py: any other with one on the path would go before."""
    for name in ("jobs", "docs", "templates"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "own.py").write_text("")
    lines = (
        "import jobs.own, docs.own, templates.own, ganhpc; from ganhpc.program import figures; figures(step=1, loss=3)"
    )
    (tmp_path / "train.py").write_text(f"{lines}\nprint(jobs.own.__file__, ganhpc.__file__)\n")
    run = made(tmp_path, "python", "train.py")
    assert segment(run).returncode == 0, run.log.read_text()
    assert f"{tmp_path}/jobs/own.py {ROOT}/ganhpc/__init__.py" in run.log.read_text()
    assert run.result()["loss"] == 3  # type: ignore[index]


# -- processes --------------------------------------------------------------------------------------------------------

DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open(sys.argv[1], "w").write(str(os.getpid()))
        os.execve(sys.executable, [sys.executable, "-c", "import time; time.sleep(60)"], {})
    os._exit(0)
while not os.path.exists(sys.argv[1]) or not open(sys.argv[1]).read(): time.sleep(0.02)
if len(sys.argv) > 2: time.sleep(60)
"""


def sleeps(pid: int) -> int:
    """The number of voluntary context switches of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))


def test_daemons_end_with_the_program(tmp_path: Path) -> None:
    run = made(tmp_path, "python", "-c", DAEMON, str(tmp_path / "pid"))
    assert segment(run).returncode == 0
    assert not lives(int((tmp_path / "pid").read_text()))


@pytest.mark.slow  # 3 s in all
@pytest.mark.parametrize("victim", ["runner", "program"])
def test_killed_at_any_moment_it_goes_on(tmp_path: Path, victim: str) -> None:
    run = made(tmp_path, "python", "-c", DAEMON, str(tmp_path / "pid"), "stay")
    words = [sys.executable, "-m", "ganhpc.program.runner", str(run.folder)]
    with run.log.open("ab") as log:
        runner = subprocess.Popen(words, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=log, stderr=log)
    wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    daemon = int((tmp_path / "pid").read_text())
    (run.checkpoints / "kept").write_text("x")
    tree = Path(f"/proc/{runner.pid}/task/{runner.pid}/children").read_text().split()
    guardian, program, *_ = map(int, tree)
    assert b"-c" in Path(f"/proc/{program}/cmdline").read_bytes().split(b"\0")
    wait_for(lambda: not Path(f"/proc/{daemon}/environ").read_bytes())  # nothing marks it any more
    if victim == "runner":  # its guardian has looked several times since, and has seen it
        slept = sleeps(guardian)
        wait_for(lambda: sleeps(guardian) >= slept + 4)
    os.kill(runner.pid if victim == "runner" else program, signal.SIGKILL)
    code = runner.wait(120)
    wait_for(lambda: not lives(daemon) and not lives(program))
    assert code == (-9 if victim == "runner" else 74)
    assert run.run_status().state is State.RESUMABLE
    assert not run.is_held()


@pytest.mark.slow  # 3 s in all
def test_a_gigabyte_of_output_keeps_head_and_end(tmp_path: Path) -> None:
    script = "import sys\nprint('the first line')\nfor _ in range(256): sys.stdout.write(('x' * 1023 + '\\n') * 1024)\nprint('the last line')"
    run = made(tmp_path, "python", "-c", script)
    assert segment(run).returncode == 0
    text = run.log.read_text()
    assert len(text) < bounded_log.MOST_BYTES + 2**19
    assert "the first line" in text and "the last line" in text
    left_out = int(text.partition("\n[")[2].partition(" bytes")[0])
    assert left_out + len(text) == pytest.approx(256 * 2**20, rel=0.001)


@pytest.mark.parametrize("line", [b"\rstep", b"x"])
def test_a_log_without_line_breaks_keeps_head_and_end(tmp_path: Path, line: bytes) -> None:
    """As of a progress bar."""
    path = tmp_path / "log.txt"
    read, write = os.pipe()
    log = bounded_log.BoundedLog([read], path)
    log.start()
    with os.fdopen(write, "wb") as file:
        file.write(b"the head" + line * (3 * bounded_log.MOST_BYTES // len(line)) + b"the end")
    log.join(120)
    data = path.read_bytes()
    assert data.startswith(b"the head") and data.endswith(b"the end\n") and len(data) < bounded_log.MOST_BYTES
    os.close(read)


def test_lines_of_several_processes_stay_whole(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    pipes = [os.pipe() for _ in range(2)]
    log = bounded_log.BoundedLog([read for read, _ in pipes], path, in_lines=True)
    log.start()
    for part in (b"half ", b"of a line", b"\n", b"\r10 %", b"\r20 %", b"the last"):
        for _, write in pipes:
            os.write(write, part)
            time.sleep(0.01)
    long = b"y" * (2 * bounded_log._LONGEST_LINE)
    os.write(pipes[0][1], long[: len(long) // 2])
    os.write(pipes[0][1], long[len(long) // 2 :])
    for _, write in pipes:
        os.close(write)
    log.join(60)
    text = path.read_bytes()
    assert text.count(b"half of a line\n") == 2 and text.count(b"y") == len(long)
    assert text.count(b"the last") == 2


def test_a_signal_to_every_process_of_the_job_ends_no_run_as_done(tmp_path: Path) -> None:
    """Slurm signals all of them at once: a program that saves and ends with 0 may have ended before the request is seen."""
    run = counting(tmp_path, 10_000)
    words = [sys.executable, "-m", "ganhpc.program.runner", str(run.folder)]
    with run.log.open("ab") as log:
        runner = subprocess.Popen(words, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=log, stderr=log)
    wait_for(lambda: (run.folder / "figures.jsonl").exists())
    tree = Path(f"/proc/{runner.pid}/task/{runner.pid}/children").read_text().split()
    program = next(int(pid) for pid in tree if b"count.py" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(program, signal.SIGUSR2)
    time.sleep(0.3)
    assert lives(program), "Slurm's warning is for the node agent"
    os.kill(program, signal.SIGTERM)
    os.kill(runner.pid, signal.SIGTERM)
    assert runner.wait(120) == 75
    assert run.run_status().state is State.RESUMABLE and run.result() is None


def test_it_has_no_terminal(tmp_path: Path) -> None:
    run = made(
        tmp_path, "python", "-c", "import sys; print(sys.stdin.isatty(), sys.stdin.read() == ''); open('/dev/tty')"
    )
    assert segment(run).returncode == 1
    assert "False True" in run.log.read_text() and "/dev/tty" in run.run_status().reason


def test_several_processes_have_ranks(tmp_path: Path) -> None:
    # In one write: print writes each word apart where PYTHONUNBUFFERED is set, as it is here, and both share a pipe.
    script = r"import os; os.write(1, ('rank %(RANK)s of %(WORLD_SIZE)s %(GANHPC_RANK)s\n' % os.environ).encode())"
    run = made(tmp_path, "python", "-c", script)
    words = [sys.executable, "-m", "ganhpc.program.runner", str(run.folder), "--tasks=2"]
    done = subprocess.run(words, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False, timeout=300)
    assert done.returncode == 0
    assert "rank 0 of 2 0" in run.log.read_text() and "rank 1 of 2 1" in run.log.read_text()


# -- words ------------------------------------------------------------------------------------------------------------

WORDS = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=20)


@settings(max_examples=200, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=6))
def test_any_argument_is_kept_exactly(words: list[str]) -> None:
    experiment = defined("program", *words, folder="/")
    tree = json.loads(json.dumps(experiment.to_json()))
    again = known_experiments.from_json(tree)
    assert isinstance(again, Program) and again.command == ("program", *words)
    assert again.signature == experiment.signature
    kept = [word for word in words if "{" not in word]
    assert [
        word for word in placeholders.filled(again.command[1:], {"run": "R"}) if "{" not in word and "R" not in word
    ] == [word for word in kept if "R" not in word]


def test_any_argument_reaches_the_program_as_typed(launch: Launch, tmp_path: Path) -> None:
    words = [
        "a b",
        "it's",
        '"',
        "$HOME",
        "`id`",
        "one\ntwo",
        "é漢",
        "",
        "*",
        "\\",
        "--time",
        "{x}",
        "{{run}}",
        "a;b",
        "-",
    ]
    script = "import json, sys; json.dump(sys.argv[1:], open('said.json', 'w'))"
    done = launch("program", "--on", "local", "--time", "30s", "--", "python", "-c", script, *words)
    assert done.returncode == 0, done.stdout
    words[words.index("{{run}}")] = "{run}"
    assert json.loads((tmp_path / "said.json").read_text()) == words


def test_braces() -> None:
    values = {"run": "R", "lr": "{run}"}
    assert placeholders.filled(["--lr={lr}", "{run}/{{run}}", "{other} {{other}} {", "{{lr}}"], values) == [
        "--lr={run}",
        "R/{run}",
        "{other} {{other}} {",
        "{lr}",
    ]


@pytest.mark.slow  # 4 s in all
def test_a_scan_passes_values_into_arguments(launch: Launch) -> None:
    script = "import sys; from ganhpc.program import figures; figures(step=1, score=-float(sys.argv[1]))"
    words = (
        "program",
        "--on",
        "local",
        "--time",
        "30s",
        "--headline",
        "score",
        "--better",
        "lower",
        "--scan",
        "lr=1e-3,0.01",
    )
    done = launch(*words, "--json", "--", "python", "-c", script, "{lr}")
    assert done.returncode == 0, done.stderr
    assert [(row["state"], row["score"]) for row in json.loads(done.stdout)] == [("done", -0.001), ("done", -0.01)]
    table = launch("results", "--scan", "lr").stdout
    assert "1e-3" in table and "-0.01" in table
    done = launch(*words, "--", "python", "-c", script, "{rate}")
    assert done.returncode == 2 and "no argument of the program takes its values: write {lr}" in done.stderr


@pytest.mark.slow  # 3 s in all
def test_a_report_shows_the_command_and_what_the_program_said(launch: Launch, tmp_path: Path) -> None:
    script = (
        "from ganhpc.program import figures; [figures(step=k, score=k * k) for k in range(9)]; print('the very end')"
    )
    words = ("--time", "30s", "--name", "told", "--headline", "score", "--", "python", "-c", script)
    assert launch("program", "--on", "local", *words).returncode == 0
    done = launch("report", "told", "--format", "md")
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("report-*.md")
    text = path.read_text()
    assert "the very end" in text and "Its command line" in text and "figures(step=k" in text and "64" in text
    assert "could not be read" not in text and "course" not in text


def test_measure_and_budget_need_each_other() -> None:
    from ganhpc.core.errors import UserError

    with pytest.raises(UserError, match="--budget-params needs --measure"):
        defined("x", budget_params=5)
    with pytest.raises(UserError, match="names no function"):
        defined("x", measure="train.py")


# -- parts ------------------------------------------------------------------------------------------------------------


def test_a_headline_can_not_be_a_field_of_results(tmp_path: Path) -> None:
    """The table would show the number of steps or the seed for the program's figure of that name."""
    run = made(tmp_path, "true")
    said = SaidFigures(tmp_path / "none")
    written = outcome.write(run, run.experiment(), Ledger(), said, "program", 1)
    assert set(written) == result_fields.OF_PROGRAMS
    for name in (*written, "epoch", "step"):
        with pytest.raises(UserError, match=f"--headline {name}: results have a field of that name.* my_{name}"):
            defined("true", headline=name)
    defined("true", headline="seeds")
    with pytest.raises(UserError, match="the program's name is empty"):
        defined("", "x")


def test_the_plan_of_a_stop_follows_the_last_one() -> None:
    first, slow, quick = (StopPlan.make(3600, 120, took) for took in (None, 300, 2))
    assert (first.ask, slow.ask, quick.ask) == (120, 472, 25)
    assert StopPlan.make(60, 120, None).ask == 15, "no more than a quarter of the segment"
    assert [first.step(left) for left in (121, 120, 20, 8, -1)] == [Step.RUN, Step.ASK, Step.TERM, Step.KILL, Step.KILL]


class Several:
    """A tensor with several values, as torch answers for one."""

    def __float__(self) -> float:
        raise RuntimeError("a Tensor with 2 elements cannot be converted to Scalar")


def test_figures_are_bounded_and_what_is_said_again_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "figures.jsonl"
    monkeypatch.setenv("GANHPC_FIGURES", str(path))
    for step in (1, 2, 3, 2, 3):
        figures(step=step, loss=float(step), odd=float("nan"))
    for odd in (10**400, Several(), "words", None, [1.0]):
        figures(step=9, loss=odd)
    path.open("a").write('{"step": 4, "loss":')
    said = SaidFigures(path)
    said.read()
    assert [point["step"] for point in said.curve] == [1, 2, 3] and said.last == {"step": 3, "loss": 3}
    for step in range(10_000):
        said.add({"step": float(step + 4), "loss": 0.0})
    assert len(said.curve) <= 2001


def curve(tmp_path: Path, *segments: str, saved: bool = True) -> list[tuple[float, float]]:
    """(step, loss) of a curve that several segments have said: blanks between its figures, STEP[@EPOCH]."""
    path, begins, number = tmp_path / "figures.jsonl", {}, 0
    with path.open("w") as file:
        for text in segments:
            begins[file.tell()] = saved
            for word in text.split():
                step, _, epoch = word.partition("@")
                number += 1
                point = {"step": int(step), "loss": number} | ({"epoch": float(epoch)} if epoch else {})
                file.write(json.dumps(point) + "\n")
    said = SaidFigures(path, begins)
    said.read()
    return [(int(point["step"]), int(point["loss"])) for point in said.curve]


def test_a_counter_that_begins_anew_goes_on_in_the_curve(tmp_path: Path) -> None:
    in_order = [(step, step) for step in range(1, 7)]
    assert curve(tmp_path, "1 2 3 1 2 3") == in_order, "as for each epoch"
    assert curve(tmp_path, "0 1 2 0 1 2") == [(step - 1, step) for step in range(1, 7)]
    assert curve(tmp_path, "10 20 30 10 20 30") == [(10 * step, step) for step in range(1, 7)]
    assert curve(tmp_path, "1 2 3", "1 2 3") == in_order, "as for each segment, though it goes on"
    assert curve(tmp_path, "1@0 2@0 1@1", "2@1 1@2 2@2") == in_order
    assert curve(tmp_path, "5 6 1 2", "3 4") == [(5, 1), (6, 2), (7, 3), (8, 4), (9, 5), (10, 6)]


def test_what_is_said_again_after_a_resumption_or_a_step_back_counts(tmp_path: Path) -> None:
    assert curve(tmp_path, "1 2 3 4", "3 4 5") == [(1, 1), (2, 2), (3, 5), (4, 6), (5, 7)]
    assert curve(tmp_path, "1 2 3", "1 2", saved=False) == [(1, 4), (2, 5)], "killed before anything was saved"
    assert curve(tmp_path, "1 2 3 2 3 4") == [(1, 1), (2, 4), (3, 5), (4, 6)], "back to an earlier state"
    assert curve(tmp_path, "1@1 2@1 1@2 2@2", "1@2 2@2") == [(1, 1), (2, 2), (3, 5), (4, 6)]


def test_a_file_of_figures_that_begins_anew_says_again_what_it_has_said(tmp_path: Path) -> None:
    path = tmp_path / "figures.jsonl"
    said = SaidFigures(path)
    for text in ('{"step": 1, "a": 1}\n{"step": 2, "a": 2}\n', '{"step": 1, "a": 3}\n'):
        path.write_text(text)
        said.read()
    assert said.curve == [{"step": 1, "a": 3}]


def test_a_last_line_without_a_line_break_is_that_of_its_segment(tmp_path: Path) -> None:
    path, before = tmp_path / "figures.jsonl", '{"step": 1, "a": 1}\n{"step": 2, "a": 2}\n'
    path.write_text(before + '{"step": 1, "a": 3}')
    said = SaidFigures(path, {0: False, len(before): False})
    said.read(ended=True)
    assert said.curve == [{"step": 1, "a": 3}], "what it says again was lost with the segment before"


def test_a_figure_that_comes_late_takes_its_place_in_the_curve(tmp_path: Path) -> None:
    said = SaidFigures(tmp_path / "none")
    for point in (
        {"step": 1, "a": 1},
        {"step": 2, "a": 2},
        {"step": 3, "a": 3},
        {"step": 2, "b": 5},
        {"step": 4, "a": 4},
    ):
        said.add({name: float(value) for name, value in point.items()})
    said.add({"step": 2.5, "b": 6.0})
    assert [point.get("a", 0) for point in said.curve] == [1, 2, 0, 3, 4]
    assert said.curve[1] == {"step": 2, "a": 2, "b": 5}


def test_lines_of_any_kind_in_the_file_of_figures(tmp_path: Path) -> None:
    path = tmp_path / "figures.jsonl"
    lines = [
        b'\xef\xbb\xbf{"step": 1, "loss": 4}\r',  # as Windows programs begin and end
        b'{"step": 2, "loss": NaN, "accuracy": 0.5}',
        b'{"step": 3, "loss": 1e999, "huge": ' + b"9" * 500 + b"}",
        b'{"step": 4, "text": "' + b"x" * 100_000 + b'"}',
        b"[" * 30_000,
        b'{"step": 5, "caf\xe9": 1}',
        b'["no object"]',
        b"",
        b'{"step": 6, "loss": 2, "on": true, "what": "words", "list": [1]}',
    ]
    path.write_bytes(b"\n".join(lines) + b'\n{"step": 7, "loss": 1}')
    said = SaidFigures(path)
    said.read()
    assert [point["step"] for point in said.curve] == [1, 2, 3, 6]
    assert said.last == {"step": 6, "loss": 2, "accuracy": 0.5}
    said.read(ended=True)
    assert said.last == {"step": 7, "loss": 1, "accuracy": 0.5}, "the last line needs no line break"
    said.read(ended=True)
    assert [point["step"] for point in said.curve] == [1, 2, 3, 6, 7]


def test_a_line_that_a_kill_cut_off_spoils_none_of_the_next_segment(tmp_path: Path) -> None:
    run = made(tmp_path, "python", "-c", "from ganhpc.program import figures; figures(step=3, loss=3)")
    file = run.folder / "figures.jsonl"
    file.write_bytes(b'{"step": 1, "loss": 1}\n{"step": 2, "lo')
    assert segment(run).returncode == 0
    curve = json.loads(run.evaluation_json.read_text())["curve"]
    assert [point["step"] for point in curve] == [1, 3]
    before = file.read_bytes()
    said_figures.end_last_line(file)
    said_figures.end_last_line(tmp_path / "none")
    assert file.read_bytes() == before


def test_a_killed_segment_counts_as_one(tmp_path: Path) -> None:
    run = made(tmp_path, "true")
    account = Ledger(open=True, seen=ledger.digest(run.checkpoints), nowhere=1, segments=1)
    account.write(run)
    assert segment(run).returncode == 4
    assert "gets nowhere" in run.run_status().reason


NETWORK = """
import torch
def measured(): return torch.nn.Linear(10, 5), torch.zeros(1, 10)
def wrong(): return 3
def slow():
    import time
    open("counts", "w").close(); print("x" * 100, flush=True); time.sleep(600)
def ends():
    import os
    os._exit(3)
def ends_well():
    import os
    os._exit(0)
def odd_shape(): return torch.nn.Linear(10, 5), torch.zeros(1, 3)
def nothing(): return torch.nn.Linear(10, 5), None
"""


@pytest.mark.slow  # processes that load torch
def test_the_network_is_counted_before_the_first_step(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NETWORK)
    run = made(tmp_path, "true", measure="net:measured", budget_params=60)
    assert segment(run).returncode == 0, run.log.read_text()
    result = run.result()
    assert result is not None
    assert (result["params"], result["macs"], result["budget_params"]) == (55, 50, 60)
    refused = made(tmp_path, "touch", "begun", measure="net:measured", budget_params=50)
    assert segment(refused).returncode == 2
    assert refused.run_status().state is State.REFUSED and "55" in refused.run_status().reason
    wrong = made(tmp_path, "touch", "begun", measure="net:wrong")
    assert segment(wrong).returncode == 2 and "--measure net:wrong failed" in wrong.run_status().reason
    assert not (tmp_path / "begun").exists()


@pytest.mark.slow  # processes that load torch
def test_a_count_that_does_not_end_is_ended(tmp_path: Path) -> None:
    """By a stop request, which leaves the run as it stands; and by the end of its job, which would find the next one no quicker."""
    (tmp_path / "net.py").write_text(NETWORK)
    run = made(tmp_path, "touch", "begun", measure="net:slow")
    for state, code in ((State.LOST, 75), (State.REFUSED, 2)):
        with job(run, 600.0) as runner:
            wait_for((tmp_path / "counts").exists)
            if state is State.LOST:
                run.ask_holder_to_stop("enough")
            else:
                ends_in(run, 5.0)
            assert runner.wait(120) == code, run.log.read_text()
        found = run.run_status()
        assert found.state is state and ("enough" if code == 75 else "did not end before its job") in found.reason
        assert "x" * 100 in run.log.read_text()
        (tmp_path / "counts").unlink()
    for name, said in (
        ("ends", "--measure net:ends ended with exit code 3 before the network was counted"),
        ("ends_well", "--measure net:ends_well ended with exit code 0 before the network was counted"),
        ("odd_shape", "the network can't be counted with its example input (RuntimeError: "),
        ("nothing", "returns NoneType as example input"),
    ):
        ends = made(tmp_path, "touch", "begun", measure=f"net:{name}", budget_params=10**6)
        assert segment(ends).returncode == 2 and said in ends.run_status().reason, ends.run_status().reason
    assert not (tmp_path / "begun").exists()


ENDED = """
import os
from pathlib import Path
from ganhpc.program.environment import Place
from ganhpc.program.processes import Processes
how = {"guardian": 0, "torchrun": False, "resumable": frozenset()}
for number in range(5):
    mark = f"mark-{os.getpid()}-{number}"
    running = Processes(["sleep", "600"], dict(os.environ), ".", Path("log.txt"), Place(), mark=mark, **how)
    assert running.running(asked=False)
    print(running.end())
"""


def test_the_exit_code_of_a_program_that_is_ended_is_its_own(tmp_path: Path) -> None:
    """Taken by the hand that clears up behind it, the code of one that was killed was 0, and a count that was ended had come to its end."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", ENDED]  # in a process of its own: whatever is below it is ended
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["-9"] * 5, done.stdout + done.stderr


def test_what_is_in_the_way_of_a_folder_is_named(tmp_path: Path) -> None:
    run = made(tmp_path, "true")
    run.checkpoints.write_text("a file")
    assert segment(run).returncode == 2
    assert f"{run.checkpoints}: something of that name is in the way" in run.run_status().reason


@pytest.mark.parametrize("place", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/full")])
def test_a_program_runs_without_a_log_that_cannot_be_one(tmp_path: Path, place: Callable[[Path], object]) -> None:
    """What lies in the log's place is neither waited for nor written; the program ends as it does."""
    path = tmp_path / "log.txt"
    place(path)
    read, write = os.pipe()
    log = bounded_log.BoundedLog([read], path)
    log.start()
    os.write(write, b"its words\n" * 1000)
    os.close(write)
    log.join(60)
    assert not log.is_alive()
    assert log.last_lines(1) == ["its words"]
    os.close(read)


def test_a_program_is_not_started_where_its_figures_would_wait_for_ever(tmp_path: Path) -> None:
    run = counting(tmp_path, 1)
    os.mkfifo(run.folder / "figures.jsonl")
    done = segment(run)
    assert done.returncode == 2
    assert "figures.jsonl is a fifo, not a file" in done.stderr
