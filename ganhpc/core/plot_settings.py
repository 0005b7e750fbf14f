"""Settings of Matplotlib for plots of ours, whatever matplotlibrc lies in the folder in which a command is typed or in the user's home."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def only(settings: Any) -> Iterator[None]:
    """Within the block, Matplotlib's own settings and `settings`, an object of some of them.

    A file's `text.usetex` would have LaTeX run the names of somebody's figures.
    """
    import matplotlib  # half a second, and few commands draw

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings)
        yield
