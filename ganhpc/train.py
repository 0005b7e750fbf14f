"""`python -m ganhpc.train RUN_FOLDER`: train one run from where it stands. Knows nothing of schedulers.

Exit codes: 0 done; 75 stopped with a checkpoint, to be resumed; 2 refused; 3 already running; 4 non-finite; 1 a bug or a crash.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ganhpc import cores, owner
from ganhpc.errors import UserError
from ganhpc.printable import say_error
from ganhpc.run import Run, State
from ganhpc.trainer_protocol import DIE_WITH_PARENT, EXIT_RESUMABLE, die_with_parent
from ganhpc.units import counted


def main(argv: list[str]) -> int:
    """Train the run in the folder that `argv` names. Returns the exit code."""
    begun = time.monotonic()
    if os.environ.get(DIE_WITH_PARENT):
        die_with_parent()
    if len(argv) != 1:
        print("usage: python -m ganhpc.train RUN_FOLDER", file=sys.stderr)
        return 2
    try:
        run = Run.at(Path(argv[0]))
        with ExitStack() as stack:
            if os.environ.get("RANK", "0") == "0":
                stack.enter_context(run.hold())
            _hear_signals(run)
            return _train(run, begun)
    except UserError as error:
        say_error(error)
        return error.exit_code


def _train(run: Run, begun: float) -> int:
    """Build and fit; write what became of it into status.json."""
    main_rank = os.environ.get("RANK", "0") == "0"
    stage: dict[str, Any] = {"began": False}
    try:
        return _fit(run, begun, stage)
    except UserError as error:
        if main_rank:
            state = State.CRASHED if stage["began"] else State.REFUSED
            _try_status(run, state, str(error), stage)
        raise
    except Exception as error:
        traceback.print_exc()
        sentence = _out_of_memory(error) or f"{type(error).__name__}: {error}"
        if main_rank:
            _try_status(run, State.CRASHED, sentence, stage)
        say_error(sentence)
        return 1


def _fit(run: Run, begun: float, stage: dict[str, Any]) -> int:
    # Before torch is loaded: it reads then how its threads are to wait.
    threads = cores.settle(run.experiment().resources.threads)
    from ganhpc.distributed import Distributed
    from ganhpc.metrics import write_status
    from ganhpc.outcome import write_outcome
    from ganhpc.setup import prepare
    from ganhpc.trainer import Stopped

    experiment = run.experiment()
    peers = Distributed.start(experiment.resources.device, threads)
    try:
        if peers.is_main:
            previous = run.status()
            write_status(run, State.RUNNING, reason="starting", seconds=previous.get("seconds", 0.0))
        trainer = prepare(run, experiment, peers, begun)
        stage.update(began=True, trainer=trainer)
        try:
            figures = trainer.fit()
        except Stopped as stopped:
            if peers.is_main:
                _try_status(run, State.RESUMABLE, stopped.reason, stage)
                print(f"stopped: {stopped.reason}; a checkpoint of step {trainer.progress.step} is saved", flush=True)
            return EXIT_RESUMABLE
        result = write_outcome(run, trainer, figures)
        if peers.is_main:
            _try_status(run, State.DONE, "", stage)
            print(f"done: {counted(result['epochs'], 'epoch')} in {result['train_seconds']:.1f} s", flush=True)
        peers.barrier()
        return 0
    finally:
        peers.close()


def _try_status(run: Run, state: State, reason: str, stage: dict[str, Any]) -> None:
    """Write the last status; where the disk is full, the message on the screen must do."""
    from ganhpc.metrics import write_status

    trainer = stage.get("trainer")
    figures = trainer.standing() if trainer else {}
    try:
        write_status(run, state, reason=reason, **figures)
    except UserError as error:
        say_error(error)


def _out_of_memory(error: Exception) -> str | None:
    """A sentence for an out-of-memory error of the device, else None."""
    import torch

    if isinstance(error, torch.cuda.OutOfMemoryError):
        return "the device has too little memory for this run: type the command again with a smaller --batch-size and --new"
    return None


def _hear_signals(run: Run) -> None:
    """Every polite signal only asks for a stop, through the run folder, so that all ranks hear it. They may repeat.

    One that the parent has set to be ignored stays ignored: the node side of a job listens to the scheduler's warnings itself.
    """

    mine = owner.mine()

    def ask(number: int, frame: object) -> None:
        del frame
        run.ask_to_stop(f"signal {signal.Signals(number).name}", mine)

    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"):
        if signal.getsignal(getattr(signal, name)) is not signal.SIG_IGN:
            signal.signal(getattr(signal, name), ask)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
