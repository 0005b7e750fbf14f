"""This machine among the names of nodes in a file, as schedulers write it for a job."""

from __future__ import annotations

import socket

from ganhpc.core.errors import UserError
from ganhpc.core.files import read_text


def is_one_of(nodes: str) -> bool:
    """True if this machine is named in the file `nodes`."""
    try:
        names = set(read_text(nodes).split())
    except (OSError, UserError):
        return False
    own = {socket.gethostname(), socket.getfqdn(), "localhost"}
    short = {each.partition(".")[0] for each in own}
    return any(name.partition(".")[0] in short for name in names) or any(map(_is_this_machine, names))


def _is_this_machine(name: str) -> bool:
    """True if an address of `name` is this machine's own: a node may have other names than the one that it says of itself."""
    try:
        addresses = {(family, address[0]) for family, _, _, _, address in socket.getaddrinfo(name, None)}
    except (OSError, UnicodeError):
        return False
    return any(_can_bind(family, str(address)) for family, address in addresses)


def _can_bind(family: int, address: str) -> bool:
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True
