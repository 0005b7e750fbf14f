"""`completion`: the lines that switch on completion in a shell.

There is no installed executable, so the lines define a command `ganhpc`, a shell function that calls this launch.py from any folder
with the Python that is running now. The rest is Click's own mechanism, whose script calls the program by its name: it is made to
call Python and launch.py instead.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import sys
from pathlib import Path

import click
from click.shell_completion import ShellComplete, get_completion_class

from ganhpc.core.errors import UserError
from ganhpc.core.settings import ROOT

NAME = "ganhpc"
SHELLS = {
    "bash": ("~/.bashrc", 'eval "$({again} bash)"', 'ganhpc() {{ {program} "$@"; }}'),
    "zsh": (
        "~/.zshrc",
        'eval "$({again} zsh)"',
        '(( $+functions[compdef] )) || {{ autoload -Uz compinit && compinit -i; }}\nganhpc() {{ {program} "$@"; }}',
    ),
    "fish": ("~/.config/fish/config.fish", "{again} fish | source", "function ganhpc; {program} $argv; end"),
}
"""Shell -> (its start-up file, the line to write there, the function that starts the program)."""


@click.command("completion", help="Print the lines that define a command `ganhpc` and its completion in your shell.")
@click.argument("shell", required=False, type=click.Choice(sorted(SHELLS)))
@click.option("--answer", is_flag=True, hidden=True, help="for those lines: what may follow the words typed so far")
def command(shell: str | None, answer: bool) -> None:
    shell = shell or _own_shell()
    if answer:
        # A mistake in the words typed so far leaves nothing to propose; a sentence would land in the line being typed.
        with contextlib.suppress(UserError, click.ClickException):
            click.echo(_completions(shell))
    else:
        click.echo(script(shell), nl=False)


def _completions(shell: str) -> str:
    """Candidates at the cursor, as the shell's variables COMP_WORDS and COMP_CWORD tell it, in the form of Click's script."""
    return _click(shell).complete()


def _click(shell: str) -> ShellComplete:
    made = get_completion_class(shell)
    assert made is not None, f"Click knows no completion for {shell}"
    # Outside a command (a script that only wants the shell's words) there is nothing to complete.
    context = click.get_current_context(silent=True)
    program = context.find_root().command if context else click.Group()
    return made(program, {}, NAME, "_GANHPC_COMPLETE")


def _own_shell() -> str:
    """The user's shell. Raises UserError where it is none of those known."""
    name = Path(os.environ.get("SHELL", "bash")).name
    if name not in SHELLS:
        raise UserError(f"there is no completion for the shell {name!r}: type one of {', '.join(sorted(SHELLS))}.")
    return name


def script(shell: str) -> str:
    """Text that `shell` should evaluate: how to keep it, the function `ganhpc`, and Click's completion for it."""
    program = _quoted(shell, [sys.executable, str(ROOT / "launch.py")])
    start_up, keep, function = SHELLS[shell]
    again = keep.format(again=f"{program} completion")
    head = f"# To keep it, write this line into {start_up}:\n#   {again}\n{function.format(program=program)}\n"
    return head + _called_by(shell, f"{program} completion {shell} --answer")


def _called_by(shell: str, program: str) -> str:
    """Click's script, with `program` in place of the executable that it calls for completions."""
    click_script = _click(shell)
    # Not source(): that starts a bash to look at its version.
    source = click_script.source_template % click_script.source_vars()
    executable = r"\$1" if shell == "bash" else NAME
    call = re.compile(rf"{click_script.complete_var}={shell}_complete (?P<more>[^\n)]*\)[^\n)]*\) )?{executable}\)")
    made, times = call.subn(lambda match: f"{match['more'] or ''}{program})", source)
    # zsh's script gives up where there is no executable of the name, and here there is a function.
    made = re.sub(r"\n *\(\( ! \$\+commands\[[^\n]*", "", made)
    assert times == 1, f"Click's completion script for {shell} has another form"
    return made


def _quoted(shell: str, words: list[str]) -> str:
    if shell == "fish":
        return " ".join(w if re.fullmatch(r"[\w@%+=:,./-]+", w) else _fish(w) for w in words)
    return shlex.join(words)


def _fish(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
