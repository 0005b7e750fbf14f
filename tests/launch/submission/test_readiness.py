"""A job that could not train is found before it is submitted: the interpreter, its packages, its setup lines; and launch.py under any Python."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ganhpc.core.errors import UserError
from ganhpc.core.settings import ROOT, Settings
from ganhpc.launch.submission import readiness

LAUNCH = ROOT / "launch.py"


@pytest.fixture(autouse=True)
def own_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)


def program(path: Path, lines: str, mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(mode)
    return path


def test_what_can_train_is_let_pass(tmp_path: Path) -> None:
    readiness.check(Settings())
    readiness.check(Settings(python=sys.executable, setup=("export A=1", "if true; then", "  module load x", "fi")))
    own = program(tmp_path / "it's a \u00e9" / "python", f'exec {sys.executable} "$@"')
    readiness.check(Settings(path=tmp_path / "ganhpc.toml", python="it's a \u00e9/python"))
    readiness.check(Settings(python=str(own)))


def test_the_launchers_own_python_without_torch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(readiness, "NEEDED", ("numpy", "no_such_package"))
    monkeypatch.setattr(readiness, "ROOT", tmp_path)  # a checkout without an environment
    with pytest.raises(UserError, match=r"does not have no_such_package: .*make setup.*"):
        readiness.check(Settings())
    made = program(tmp_path / ".venv" / "bin" / "python", "")
    with pytest.raises(UserError, match=rf"does not have no_such_package: type {made} launch\.py \.\. instead"):
        readiness.check(Settings())


def test_torch_is_found_and_not_imported() -> None:
    code = "import sys; from ganhpc.launch.submission import readiness; from ganhpc.core import settings as site; readiness.check(site.Settings()); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "False\n", done.stderr


def test_a_conda_environment_that_is_named_by_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its job ended on the node, and the whole chain with it."""
    env = tmp_path / "envs" / "gan"
    site = Settings(conda=str(env))
    with pytest.raises(UserError, match=r"conda in the settings is '.*/envs/gan', which is no Conda environment here"):
        readiness.check(site)
    program(env / "bin" / "python", f'exec {sys.executable} "$@"')
    readiness.check(site)
    readiness.check(Settings(conda="gan"))
    monkeypatch.setenv("PLACE", str(tmp_path))
    readiness.check(Settings(conda="$PLACE/envs/gan"))
    with pytest.raises(UserError, match=r"is '\$\{PLACE\}/none', which is no Conda environment here"):
        readiness.check(Settings(conda="${PLACE}/none"))
    readiness.check(Settings(conda="$NO_SUCH_VARIABLE_HERE/envs/gan"))
    monkeypatch.setattr(readiness, "_PROBE", readiness._PROBE.replace("'torch'", "'no_such_package'"))
    readiness._asked.cache_clear()
    with pytest.raises(UserError, match=r"does not have no_such_package: install it there, or name another one"):
        readiness.check(site)
    readiness.check(Settings(conda=str(env), setup=("module load other",)))


def test_a_python_that_is_not_there(tmp_path: Path) -> None:
    site = Settings(path=tmp_path / "ganhpc.toml", python="venv/bin/python")
    with pytest.raises(UserError, match=r"ganhpc\.toml is 'venv/bin/python', but .* is not there: correct it"):
        readiness.check(site)
    program(tmp_path / "venv" / "bin" / "python", "", mode=0o644)
    with pytest.raises(UserError, match="is not executable"):
        readiness.check(site)
    with pytest.raises(UserError, match="is not there"):
        readiness.check(Settings(python="no-such-python"))


def test_a_name_that_setup_may_put_on_the_path_is_left_to_the_node() -> None:
    assert readiness.python_problem(Settings(python="no-such-python", setup=("module load python",))) == ""


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("echo 'Permission denied' >&2; exit 126", r"can't be run \(Permission denied\): correct python"),
        ("exit 1", r"can't be run \(exit code 1\)"),
        ("printf 'ganhpc-python 3 9'; exit 1", r"is Python 3\.9, and ganhpc needs 3\.11 or newer"),
        ("printf 'greeting\\nganhpc-python 3 12 torch numpy'", "does not have torch, numpy: correct python"),
    ],
)
def test_a_python_that_cannot_train(tmp_path: Path, lines: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        readiness.check(Settings(python=str(program(tmp_path / "python", lines))))


def test_a_real_python_without_packages(tmp_path: Path) -> None:
    bare = program(tmp_path / "python", f'exec {sys.executable} -S "$@"')
    with pytest.raises(UserError, match="does not have torch, numpy, click, safetensors"):
        readiness.check(Settings(python=str(bare)))


def test_a_python_that_hangs_is_left_to_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "SECONDS", 0.2)
    assert readiness.python_problem(Settings(python=str(program(tmp_path / "python", "sleep 30")))) == ""


def test_packages_of_the_shell_alone_are_not_the_jobs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A job has the checkout on its PYTHONPATH and nothing else."""
    bare = program(tmp_path / "python", f'exec {sys.executable} -S "$@"')
    monkeypatch.setattr(sys, "executable", str(bare))
    monkeypatch.setenv("PYTHONPATH", str(Path(pytest.__file__).parents[1]))
    with pytest.raises(UserError, match="does not have torch"):
        readiness.check(Settings())


@pytest.mark.parametrize("lines", [('echo "open',), ("if true; then",), ("true", "fi")])
def test_setup_lines_that_are_no_shell(lines: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="is not shell that bash reads"):
        readiness.check(Settings(setup=lines))


# -- launch.py ----------------------------------------------------------------------------------------------------------


def launched(*words: str, code: str = "pass") -> subprocess.CompletedProcess[str]:
    start = f"import runpy, sys; {code}; sys.argv = ['launch.py', '--help']; runpy.run_path({str(LAUNCH)!r}, run_name='__main__')"
    return subprocess.run([sys.executable, *words, "-c", start], capture_output=True, text=True, timeout=60, cwd="/")


def test_launch_is_read_by_old_pythons() -> None:
    tree = ast.parse(LAUNCH.read_text(), feature_version=(3, 6))
    kinds = {type(node).__name__ for node in ast.walk(tree)}
    assert not kinds & {"JoinedStr", "AnnAssign", "NamedExpr", "Nonlocal", "AsyncFunctionDef"}, (
        "Python 2.7 reads it too"
    )
    top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert {alias.name for node in top for alias in node.names} == {"gc", "os", "sys"}


@pytest.mark.parametrize("version", ["(2, 7, 18)", "(3, 6, 15)", "(3, 9, 18)", "(3, 10, 13)"])
def test_an_old_python_gets_a_sentence(version: str) -> None:
    done = launched(code=f"sys.version_info = {version}")
    assert (done.returncode, done.stdout) == (2, "")
    major, minor = version.strip("()").split(", ")[:2]
    assert done.stderr.startswith("Error: ganhpc needs Python 3.11 or newer, and ")
    assert f"is Python {major}.{minor}: " in done.stderr
    assert "make setup" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_python_without_the_packages_gets_a_sentence() -> None:
    done = launched("-S")
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ganhpc needs the package ")
    assert len(done.stderr.splitlines()) == 1


def test_a_folder_that_is_gone_gets_a_sentence(tmp_path: Path) -> None:
    line = f"cd {tmp_path} && mkdir gone && cd gone && rmdir ../gone && exec {sys.executable} {LAUNCH} results"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("Error: the folder in which this is typed is gone")
    assert "Traceback" not in done.stderr


def test_an_error_of_ours_is_not_taken_for_a_missing_package() -> None:
    done = launched(code="sys.modules['ganhpc.cli'] = None")
    assert "ModuleNotFoundError" in done.stderr


@pytest.mark.parametrize(
    "path", sorted(Path("/usr/bin").glob("python[23].*[0-9]")) + sorted(Path("/usr/bin").glob("python2"))
)
def test_pythons_of_this_machine(path: Path) -> None:
    done = subprocess.run(
        [path, "-S", LAUNCH, "--help"], capture_output=True, text=True, timeout=60, cwd="/", check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ganhpc needs ")


def test_make_setup_sets_up_and_stops() -> None:
    env = {**os.environ, "MAKEFLAGS": ""}
    done = subprocess.run(
        ["make", "-n", "setup", "VENV=/no/such/venv"], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "pip install" in done.stdout
    assert "launch.py cifar" not in done.stdout


@pytest.mark.parametrize(
    ("file", "text"),
    [("random.py", "def x"), ("click/__init__.py", "import _compat_of_old"), ("click/__init__.py", "print 'x'")],
)
def test_modules_of_another_python_on_pythonpath_get_a_sentence(tmp_path: Path, file: str, text: str) -> None:
    module = tmp_path / "old" / file
    module.parent.mkdir(parents=True)
    module.write_text(text + "\n")
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "old")}
    words = [sys.executable, str(LAUNCH), "cifar", "--time", "5m", "--data", "synthetic", "--dry-run"]
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.startswith(f"Error: PYTHONPATH has {tmp_path / 'old'}, with modules that")
    assert "`unset PYTHONPATH`" in done.stderr


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (("export A=1 \\",), "ends with a backslash"),
        (("true", "echo 'a\\\\\\"), "ends with a backslash"),
        (("cat <<END", "text"), "here-document"),
        (("export A='1",), "unexpected EOF"),
        (("if true; then",), "syntax error"),
    ],
)
def test_setup_lines_that_would_take_in_the_rest_of_the_script(lines: tuple[str, ...], said: str) -> None:
    assert said in readiness.setup_problem(lines)


@pytest.mark.parametrize(
    "lines", [(), ("export A=1 \\", "B=2"), ("echo 'a\\\\'",), ("cat <<END", "text", "END"), ("true # it's",)]
)
def test_whole_setup_lines(lines: tuple[str, ...]) -> None:
    assert readiness.setup_problem(lines) == ""


def test_what_bash_says_of_the_machine_is_no_fault_of_the_setup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", "/no/such.so")
    monkeypatch.setenv("LC_ALL", "nosuch")
    assert readiness.setup_problem(("true",)) == ""
    assert "here-document" in readiness.setup_problem(("cat <<END", "text"))
    assert "syntax error" in readiness.setup_problem(("if true",))
