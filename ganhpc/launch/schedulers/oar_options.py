"""The options of oarsub, and which of them the policy decides."""

from __future__ import annotations

from ganhpc.core.errors import UserError
from ganhpc.launch.schedulers.option_words import (
    BY_TYPE,
    DECIDED,
    NO_JOB,
    ONE_SEGMENT,
    OURS,
    START,
    Grammar,
    Takes,
    Word,
    letters,
    names,
)

_TIMED_TYPES = ("deadline", "postpone", "expire", "day", "night", "state")
"""Types of OAR's jobs that say when a job may run or must end."""
_NO_TRAINING_TYPES = (
    "noop",
    "cosystem",
    "container",
    "placeholder",
    "desktop_computing",
    "idempotent",
    "set_placeholder",
    "deploy",
)
"""Types of OAR's jobs in which no script runs, that run on another machine, or that send a job again."""


def _check_type(word: Word, line: str, key: str) -> None:
    """Raise UserError for a type of an OAR job that decides when it runs, or in which no training runs."""
    if word.name != "type":
        return
    kind = word.value.partition("=")[0].strip().lower()
    if kind in _TIMED_TYPES and not (key == BY_TYPE and kind in ("day", "night")):
        raise UserError(f"{key} has {line!r}: -t {kind} says when a job may run, and {DECIDED}; take it out of {key}.")
    if kind in _NO_TRAINING_TYPES:
        raise UserError(
            f"{key} has {line!r}: in a job of -t {kind} no training goes on as planned; take it out of {key}."
        )


OAR = Grammar(
    "oarsub",
    {
        **dict.fromkeys(
            names(
                "resource queue property reservation connect stagein stagein-md5sum checkpoint notify type "
                "directory name project array array-param-file anterior after signal stdout stderr resubmit "
                "import-job-key-inline-priv import-job-key-from-file export-job-key-to-file"
            ),
            Takes.ONE,
        ),
        **dict.fromkeys(
            names("interactive help hold scanscript xml yaml json dumper use-job-key version"), Takes.NOTHING
        ),
    },
    letters(
        "l=resource q=queue I=interactive p=property r=reservation C=connect s=stagein h=help t=type "
        "d=directory n=name a=anterior O=stdout E=stderr S=scanscript X=xml Y=yaml J=json D=dumper "
        "k=use-job-key i=import-job-key-from-file e=export-job-key-to-file V=version"
    ),
    {
        "resource": 'the walltime is the policy\'s: write resources = "/host=1/gpu=1" for the rest',
        **dict.fromkeys(("reservation", "hold"), START),
        **dict.fromkeys(("anterior", "after"), f"{DECIDED}: jobs follow one another as it says"),  # OAR 2.5, OAR 3
        **dict.fromkeys(("array", "array-param-file"), ONE_SEGMENT),
        **dict.fromkeys(("name", "stdout", "stderr"), OURS),
        **dict.fromkeys(("checkpoint", "signal"), "the trainer saves and goes on by it"),
        "directory": "setup lines may hold a `cd`",
        **dict.fromkeys(
            ("interactive", "connect", "resubmit", "scanscript", "help", "version", "xml", "yaml", "json", "dumper"),
            NO_JOB,
        ),
    },
    "#OAR",
    "-t exotic",
    _check_type,
    ignores_case=True,
)
