"""Completion, tried in the shells themselves."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT

LAUNCH = f"{sys.executable} {ROOT / 'launch.py'}"


@pytest.fixture
def bash(tmp_path):
    """Type into an interactive bash and read what its screen shows until it holds some text."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(PS1="$ ", HOME=str(tmp_path), TERM="dumb", INPUTRC="/dev/null")
        os.execlp("bash", "bash", "--norc", "--noprofile", "-i")

    def screen(typed: str, until: str, seconds: float = 60.0) -> str:
        os.write(terminal, typed.encode())
        shown, end = "", time.monotonic() + seconds
        while until not in shown and time.monotonic() < end:
            if select.select([terminal], [], [], 0.2)[0]:
                shown += os.read(terminal, 4096).decode(errors="replace")
        assert until in shown, shown
        return shown

    yield screen
    os.close(terminal)
    os.waitpid(pid, 0)


@pytest.mark.slow  # a second of processor time: processes of its own
@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_tab_in_an_interactive_bash(bash):
    bash(f'eval "$({LAUNCH} completion bash)"; echo ready-$((40 + 2))\n', until="ready-42")
    bash("ganhpc cif\t", until="ganhpc cifar ")
    bash("--activation le\t", until="leaky_relu")
    bash("\x15ganhpc dcgan --scan lr-\t", until="lr-eps ")
    bash("\x15ganhpc completion fi\t", until="completion fish ")
    bash("\x15ganhpc --ver\t\n", until="ganhpc, version ")


def fish(words: str) -> list[str]:
    script = f"{LAUNCH} completion fish | source; complete -C '{words}'"
    done = subprocess.run(["fish", "--no-config", "-c", script], capture_output=True, text=True, timeout=60)
    assert not done.stderr
    return [line.split("\t")[0] for line in done.stdout.splitlines()]


@pytest.mark.skipif(shutil.which("fish") is None, reason="no fish here: apt install fish")
def test_fish():
    assert fish("ganhpc ci") == ["cifar"]
    assert "leaky_relu" in fish("ganhpc cifar --activation ")


@pytest.mark.skipif(shutil.which("zsh") is None, reason="no zsh here: apt install zsh")
def test_zsh_reads_the_lines():
    script = f'eval "$({LAUNCH} completion zsh)"; ganhpc --version; print ${{_comps[ganhpc]}}'
    done = subprocess.run(["zsh", "-f", "-c", script], capture_output=True, text=True, timeout=60)
    assert "ganhpc, version" in done.stdout
    assert "_ganhpc_completion" in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shells_script_calls_this_program(launch, shell):
    done = launch("completion", shell)
    assert done.returncode == 0
    assert f"{ROOT / 'launch.py'} completion {shell} --answer" in done.stdout
    assert "$1)" not in done.stdout


def test_a_path_with_spaces_is_quoted(monkeypatch):
    from ganhpc.cli.commands import completion

    monkeypatch.setattr(completion, "ROOT", ROOT.parent / "it's here")
    monkeypatch.setattr(sys, "executable", "/opt/my python")
    for shell in completion.SHELLS:
        assert "'/opt/my python' '" in completion.script(shell)
    assert r"it\'s here" in completion.script("fish")


def test_the_users_shell_is_the_default(launch):
    assert launch("completion", SHELL="/usr/bin/fish").stdout == launch("completion", "fish").stdout
    done = launch("completion", SHELL="/bin/tcsh")
    assert done.returncode == 2
    assert "no completion for the shell 'tcsh': type one of bash, fish, zsh." in done.stderr


def test_a_mistake_in_the_line_proposes_nothing(launch):
    env = {"COMP_WORDS": "ganhpc nonsense x", "COMP_CWORD": "2"}
    done = launch("completion", "bash", "--answer", **env)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
