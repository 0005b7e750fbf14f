"""`python -m ganhpc.program.worker PROGRAM ARGUMENT..`: one of the processes that torchrun starts, around the user's program.

torchrun tells nobody how its workers ended, and ends the others at once where one of them ends otherwise than with 0. So this process sends the
exit code to the runner, and tells torchrun of success where the program can be resumed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from ganhpc.core.streams import open_pipe
from ganhpc.runs.trainer_protocol import die_with_parent, end_as

CODES = "GANHPC_WORKER_CODES"
"""Variable with the address of the pipe (ganhpc.core.streams) for lines `RANK CODE`: torchrun closes what its children could inherit."""
RESUMABLE = "GANHPC_RESUMABLE_EXITS"
"""Variable with the exit codes of a program that is to be gone on with, between blanks."""
OUTPUTS = "GANHPC_WORKER_OUTPUTS"
"""Variable with the addresses of the pipes for what the processes of this node print, one a line, in the order of their local ranks."""
STOP = "GANHPC_STOP_FILE"
"""Variable with the file that is there once the program is to stop."""
_CANNOT_START = 127
_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


def main(words: list[str]) -> int:
    """Run the program to its end. Returns the exit code for torchrun, negative for a signal."""
    die_with_parent()
    env = {name: value for name, value in os.environ.items() if name not in (CODES, RESUMABLE, OUTPUTS)}
    env["GANHPC_RANK"] = os.environ.get("RANK", "0")
    _take_own_output()
    try:
        child = subprocess.Popen(words, env=env, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_before)
    except OSError as error:
        print(f"the program {words[0]!r} can't be started ({error.strerror})", file=sys.stderr, flush=True)
        _report_code(_CANNOT_START)
        return _CANNOT_START
    for number in _PASSED_ON:  # torchrun's, where another worker has failed
        signal.signal(number, lambda got, _: _pass_on(child, got))
    code = child.wait()
    _report_code(code)
    resumable = map(int, os.environ.get(RESUMABLE, "").split())
    return 0 if code in resumable or Path(os.environ.get(STOP, "/nowhere")).exists() else code


def _take_own_output() -> None:
    """Print into the pipe of this process, and not into the one that torchrun's workers share."""
    with suppress(ValueError, IndexError):
        address = os.environ.get(OUTPUTS, "").splitlines()[int(os.environ.get("LOCAL_RANK", "0"))]
        if (handle := open_pipe(address)) is not None:
            os.set_blocking(handle, True)
            sys.stdout.flush()
            for number in (1, 2):
                os.dup2(handle, number)
            os.close(handle)


def _before() -> None:
    die_with_parent()
    for number in (*_PASSED_ON, signal.SIGUSR1, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)


def _pass_on(child: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError):
        child.send_signal(number)


def _report_code(code: int) -> None:
    handle = open_pipe(os.environ.get(CODES, ""))
    if handle is not None:
        with suppress(OSError):
            os.write(handle, f"{os.environ.get('RANK', '0')} {code}\n".encode())
        os.close(handle)


if __name__ == "__main__":
    end_as(main(sys.argv[1:]))
