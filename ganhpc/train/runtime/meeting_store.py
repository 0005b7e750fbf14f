"""Guards on the store through which torchrun's processes find one another, and which asks nobody who he is.

torchrun's nodes keep there, as a pickle, which of them have come: whoever reaches the port could have any program run by each of them. And it
answers on every network that the machine is in, also where all processes are on one machine.
"""

from __future__ import annotations

import io
import pickle
import socket
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

from torch import distributed
from torch.distributed.elastic.rendezvous import c10d_rendezvous_backend, dynamic_rendezvous

_HERE = "127.0.0.1"
_OF_A_STATE = {
    (dynamic_rendezvous.__name__, "_RendezvousState"),
    (dynamic_rendezvous.__name__, "_NodeDesc"),
    ("datetime", "datetime"),
    ("datetime", "timedelta"),
    ("datetime", "timezone"),
}
"""Classes of the objects in the pickles that torchrun writes itself, by module and name."""


def guard() -> None:
    """Have torchrun, in this process, read nothing from its store but what its nodes write there, and keep the store of one machine to it."""
    known = SimpleNamespace(dumps=pickle.dumps, loads=state_of, PickleError=pickle.PickleError)
    vars(dynamic_rendezvous)["pickle"] = known
    vars(distributed)["TCPStore"] = vars(c10d_rendezvous_backend)["TCPStore"] = LocalStore


def state_of(data: bytes) -> Any:
    """The state in the pickle `data`, of which nothing is run. Raises pickle.UnpicklingError for any other one."""
    try:
        tree = _Unpickler(io.BytesIO(data)).load()
    except Exception as error:  # a hostile pickle can raise anything
        raise pickle.UnpicklingError(f"it is no state of torchrun's ({error})") from error
    if not isinstance(tree, dynamic_rendezvous._RendezvousState):
        raise pickle.UnpicklingError("it is no state of torchrun's")
    return tree


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _OF_A_STATE:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


class LocalStore(distributed.TCPStore):
    """A store of torchrun's that, where it is kept for processes of this machine alone, no other machine reaches."""

    def __init__(self, host_name: str, port: int, *words: Any, **how: Any) -> None:
        if host_name == _HERE and how.get("is_master"):
            with suppress(OSError), socket.socket() as listener:  # else as torchrun does it
                listener.bind((host_name, port))
                listener.listen(socket.SOMAXCONN)
                port = listener.getsockname()[1]
                how["master_listen_fd"] = listener.detach()
        super().__init__(host_name, port, *words, **how)
