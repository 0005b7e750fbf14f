"""Commands that sentences tell the user to type next: each word quoted, with --runs where the folder of runs is not the usual one."""

from __future__ import annotations

import os
from pathlib import Path

from ganhpc.core import settings
from ganhpc.core.printable import shell_word


def typed_command(*words: object, runs: Path | None = None) -> str:
    """`python launch.py WORDS` as it can be copied into a shell; `runs`: the folder of runs in which it is to look."""
    return " ".join(["python launch.py", *map(shell_word, words), *_where(runs)])


def _where(runs: Path | None) -> list[str]:
    # os.path's, since Path.resolve has an exception of its own for a loop of links.
    if runs is None or os.path.realpath(settings.usual_runs()) == os.path.realpath(runs):
        return []
    return ["--runs", shell_word(runs)]
