"""The author's archive of CIFAR-10 from its page, or a quick no: many machines have no way to the internet."""

from __future__ import annotations

import http.client
import queue
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ganhpc.datasets.cifar10.spec import Unavailable
from ganhpc.datasets.image_cache import storage

ANSWER = 6.0
"""Seconds until the page must have answered."""
PATIENCE = 15.0
"""Seconds until the speed is judged."""
_SLOWEST = 100_000
"""Bytes a second, on average: slower than this, the other source is tried."""
_BLOCK = 1 << 18


def download(url: str, target: Path, report: Callable[[int, int | None], None]) -> None:
    """Write what lies at `url` to `target`; calls `report(bytes so far, bytes in all if known)`.

    Its checksum is for the reader to verify. Raises Unavailable where the page doesn't answer, breaks off or is too slow, and UserError
    where `target` can't be written.
    """
    with _open(url) as answer, storage(target), target.open("wb") as file:
        length = answer.headers.get("Content-Length", "")
        total, done, start = int(length) if length.isdigit() else None, 0, time.monotonic()
        while block := _block(answer):
            file.write(block)
            done += len(block)
            report(done, total)
            if (seconds := time.monotonic() - start) > PATIENCE and done / seconds < _SLOWEST:
                raise Unavailable(f"it is too slow ({done / seconds / 1000:.0f} kB/s)")
    if total is not None and done < total:
        raise Unavailable(f"it broke off after {done:,} of {total:,} bytes")


def _open(url: str) -> Any:
    """The answer of `url`. In a thread, because no time-out of a socket bounds the look-up of its name."""
    box: queue.Queue[Any] = queue.Queue()

    def attempt() -> None:
        try:
            box.put(urllib.request.urlopen(url, timeout=ANSWER))
        except Exception as error:
            box.put(error)

    threading.Thread(target=attempt, daemon=True).start()
    try:
        answer = box.get(timeout=ANSWER)
    except queue.Empty:
        raise Unavailable(f"no answer in {ANSWER:g} s") from None
    if isinstance(answer, Exception):
        reason = getattr(answer, "reason", None) or answer
        raise Unavailable(f"no connection ({getattr(reason, 'strerror', None) or reason})") from answer
    return answer


def _block(answer: Any) -> bytes:
    try:
        return answer.read1(_BLOCK)
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(f"it broke off ({error})") from error
