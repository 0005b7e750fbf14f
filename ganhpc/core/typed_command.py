"""Commands that sentences tell the user to type next: each word quoted, with --runs where the folder of runs is not the usual one."""

from __future__ import annotations

from pathlib import Path

from ganhpc.core import settings
from ganhpc.core.printable import shell_word


def typed_command(*words: object, runs: Path | None = None) -> str:
    """`python launch.py WORDS` as it can be copied into a shell; `runs`: the folder of runs in which it is to look."""
    return " ".join(["python launch.py", *map(shell_word, words), *_where(runs)])


def _where(runs: Path | None) -> list[str]:
    if runs is None or settings.usual_runs().resolve() == runs.resolve():
        return []
    return ["--runs", shell_word(runs)]
