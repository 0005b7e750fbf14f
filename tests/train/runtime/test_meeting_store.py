"""torchrun's store runs nothing that somebody has written there, and on one machine no other one reaches it."""

from __future__ import annotations

import os
import pickle
import subprocess
from pathlib import Path
from typing import Any

import pytest
from torch.distributed.elastic.rendezvous import dynamic_rendezvous

from ganhpc.core.settings import with_checkout
from ganhpc.runs.trainer_processes import command
from ganhpc.train.runtime import meeting_store
from tests.helpers import ROOT, made

WORKER = """
import os, sys
from datetime import timedelta
from pathlib import Path
from torch.distributed import TCPStore

store = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), timeout=timedelta(seconds=30), wait_for_workers=False)
store.set("rank" + os.environ["RANK"], "here")
store.wait(["rank0", "rank1"])
above = Path(f"/proc/{os.getppid()}/fd")
sockets = {path.readlink().name for path in above.iterdir() if path.is_symlink()}
for table in ("tcp", "tcp6"):
    for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
        words = line.split()
        if words[3] == "0A" and f"socket:[{words[9]}]" in sockets:
            print("listens", table, words[1].split(":")[0], flush=True)
"""


class Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def _state() -> Any:
    state = dynamic_rendezvous._RendezvousState()
    node = dynamic_rendezvous._NodeDesc("node-1", 7, 0)
    state.participants[node] = 0
    state.wait_list.add(node)
    state.last_heartbeats[node] = state.deadline = dynamic_rendezvous.datetime.now(dynamic_rendezvous.timezone.utc)
    return state


def test_a_state_is_read_and_a_program_in_its_place_is_not_run(tmp_path: Path) -> None:
    state, mark = _state(), tmp_path / "mark"
    for protocol in range(4, pickle.HIGHEST_PROTOCOL + 1):
        assert vars(meeting_store.state_of(pickle.dumps(state, protocol))) == vars(state)
    state.wait_list = Hostile(mark)
    for data in (pickle.dumps(state), pickle.dumps(Hostile(mark)), pickle.dumps([1]), b"", b"\x80", b"cos\nsystem\n."):
        with pytest.raises(pickle.UnpicklingError):
            meeting_store.state_of(data)
    assert not mark.exists()


def test_torchrun_reads_its_states_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The names of torch that are replaced are those that it looks up."""
    for module, name in ((dynamic_rendezvous, "pickle"), (meeting_store.distributed, "TCPStore")):
        monkeypatch.setattr(module, name, getattr(module, name))
    monkeypatch.setattr(meeting_store.c10d_rendezvous_backend, "TCPStore", None)
    meeting_store.guard()

    class Backend:
        def get_state(self) -> tuple[bytes, int]:
            return pickle.dumps(Hostile(tmp_path / "mark")), 1

    settings = type("Settings", (), {"run_id": "x"})()
    holder = dynamic_rendezvous._BackendRendezvousStateHolder(Backend(), settings, cache_duration=0)  # type: ignore[arg-type]
    with pytest.raises(dynamic_rendezvous.RendezvousStateError):
        holder.sync()
    assert not (tmp_path / "mark").exists()


@pytest.mark.slow  # 10 s of processor time: torch three times
def test_on_one_machine_no_other_machine_reaches_the_store(tmp_path: Path) -> None:
    run, script = made(tmp_path), tmp_path / "worker.py"
    script.write_text(WORKER)
    words = command(run.folder, 2)
    at = words.index("ganhpc.train", words.index("--no-python"))
    words[at - 1 : at + 1] = [str(script)]
    done = subprocess.run(
        words, cwd=ROOT, env=with_checkout(os.environ), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    said = {line for line in done.stdout.splitlines() if line.startswith("listens")}
    assert said == {"listens tcp 0100007F"}, done.stdout
