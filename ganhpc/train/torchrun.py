"""`python -m ganhpc.train.torchrun WORDS`: torchrun, which ends as the first of its workers that failed, without a report of its own.

The worker has said why (ganhpc.runs.last_words); one that was killed ends torchrun by the same signal, as if it had been alone.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from ganhpc.core import streams
from ganhpc.core.printable import print_error
from ganhpc.runs import file_owner, last_words
from ganhpc.runs.last_words import LastWords
from ganhpc.runs.run_folder import Run, State
from ganhpc.runs.trainer_processes import children
from ganhpc.runs.trainer_protocol import DIE_WITH_PARENT, EXIT_RESUMABLE, die_with_parent, end_as
from ganhpc.train.runtime import failure_notice

_LOOK_SECONDS = 0.5
_STORE_SECONDS = 3.0
"""Seconds for which a torchrun that has told the other nodes of a failure stays."""
_OF_THE_STORE = ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
"""torchrun's variables on the store."""


def main(words: list[str]) -> int:
    """Run torchrun with these words, of which the last is the run's folder. Returns its exit code, negative for a signal."""
    if os.environ.get(DIE_WITH_PARENT):
        die_with_parent()
    run_folder = Run(Path(words[-1]))
    variables: dict[str, str] = {}
    threading.Thread(target=_watch, args=(run_folder, variables), daemon=True).start()
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    from ganhpc.train.runtime import meeting_store

    for name in ("torch.distributed.elastic", *logging.root.manager.loggerDict):
        if name.startswith("torch.distributed.elastic"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    meeting_store.guard()
    try:
        run.run(run.parse_args(words))
        return 0
    except ChildFailedError as error:
        # srun ends the other tasks of a job once one has failed: what is left to do here is short.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
        rank, failure = error.get_first_failure()
        code = int(failure.exitcode)
        if code < 0:
            told = _report(run_folder, f"rank {rank} was killed by {signal.Signals(-code).name}", code)
        else:
            reason = f"rank {rank} ended with exit code {code} and did not say why; what it printed is in the log"
            told = LastWords(last_words.TORCHRUN, State.CRASHED, reason, code, rank)
            last_words.report(told.state, reason, code, told.rank, told.about)
        if failure_notice.give(told, variables):
            # Where this torchrun keeps the store, the others can't read it there once this one has ended.
            time.sleep(_STORE_SECONDS)
        return code
    except SignalException as error:
        return -int(error.sigval)
    except Exception as error:
        line = str(error).partition("\n")[0]
        if variables:
            _report(run_folder, f"the node that keeps the meeting point is gone ({type(error).__name__}: {line})", 1)
            return 1
        sentence = f"the processes of this run did not find one another ({type(error).__name__}: {line}): look at the network between the nodes."
        if not last_words.report(State.CRASHED, sentence, 1, last_words.TORCHRUN):
            print_error(sentence)
        return 1


def _leave_when_asked(run: Run) -> None:
    """End where a stop is asked for before there are workers, who hear it themselves: nodes may wait for one another for long."""
    owner = file_owner.mine()
    while not children("self"):
        if (reason := run.stop_reason(owner)) is not None:
            _report(run, reason, EXIT_RESUMABLE)
            os._exit(EXIT_RESUMABLE)
        time.sleep(_LOOK_SECONDS)


def _watch(run: Run, variables: dict[str, str]) -> None:
    """Hear stop requests until there are workers; then take into `variables` those by which they know the store where nodes have met."""
    _leave_when_asked(run)
    while not variables and (workers := children("self")):
        for pid in workers:
            with suppress(OSError):
                pairs = (
                    each.partition("=") for each in os.fsdecode(Path(f"/proc/{pid}/environ").read_bytes()).split("\0")
                )
                found = {name: value for name, _, value in pairs if name in _OF_THE_STORE}
                if found.keys() == set(_OF_THE_STORE):
                    variables |= found
        time.sleep(0.1)


def _report(run: Run, reason: str, code: int) -> LastWords:
    """Report the end of a training that can be resumed; returns its last words."""
    saved = run.has_checkpoint()
    state, kept = (State.RESUMABLE, "the last checkpoint is kept") if saved else (State.LOST, "there is no checkpoint")
    last_words.report(state, f"{reason}; {kept}", code, last_words.TORCHRUN)
    return LastWords(last_words.TORCHRUN, state, f"{reason}; {kept}", code)


if __name__ == "__main__":
    streams.settle()
    end_as(main(sys.argv[1:]))
