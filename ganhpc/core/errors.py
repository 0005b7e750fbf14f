"""The errors a user can cause. Everything else that is raised is a bug of ours."""

from __future__ import annotations

from collections.abc import Iterable


class UserError(Exception):
    """A mistake or a circumstance that the user can fix.

    The message is one sentence (or a few) that names the value, says what is allowed and what to type next. The
    launcher prints it without a traceback and exits with `exit_code`.
    """

    exit_code = 2


class BusyError(UserError):
    """Another live process holds what was asked for (a run folder, the submission lock)."""

    exit_code = 3


class StorageFault(UserError):
    """An error of a file system, in a sentence."""

    def __init__(self, sentence: str, *, number: int, passing: bool) -> None:
        """`number`: the system's errno; `passing`: the same work may succeed later (a full disk, a server that is away)."""
        super().__init__(sentence)
        self.number, self.passing = number, passing


def nearest(word: str, choices: Iterable[str], n: int = 3) -> str:
    """A clause that lists the names nearest to `word`, or all the choices where none is near."""
    names = sorted(choices)
    near = nearest_names(word, names, n)
    if near:
        return f"did you mean {' or '.join(repr(name) for name in near)}? (all: {', '.join(names)})"
    return f"choose one of {', '.join(names)}"


def nearest_names(word: str, names: Iterable[str], n: int = 3) -> list[str]:
    """Those of `names` that look like `word`, at most `n`; none for a word so long that nobody mistyped it."""
    if len(word) > 300:
        return []
    import difflib  # only for words that are wrong

    return difflib.get_close_matches(word, names, n=n, cutoff=0.5)
