"""Pictures of run folders made small enough for a page."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from pathlib import Path

from ganhpc.analysis.report.elements import Picture
from ganhpc.core.files import Damaged, open_regular

_LARGEST_BYTES = 60_000_000
"""A larger file is no grid of samples, and is not opened."""
_FORMATS = ("PNG", "JPEG", "GIF", "WEBP")
"""The kinds of picture that are opened: Pillow would have other programs draw some others (EPS)."""


def small(path: Path, side: int, name: str, caption: str, alt: str, link: str = "") -> Picture | None:
    """The picture in `path`, at most `side` pixels wide and high, as PNG or JPEG, whichever is smaller. None: it can't be read."""
    return _made(path, (0.0, 1.0), side, name, (caption, alt), link)


def part(path: Path, top: float, bottom: float, side: int, name: str, caption: str) -> Picture | None:
    """As `small`, of the band of the picture between the shares `top` and `bottom` of its height."""
    return _made(path, (top, bottom), side, name, (caption, caption))


def _made(
    path: Path, band: tuple[float, float], side: int, name: str, texts: tuple[str, str], link: str = ""
) -> Picture | None:
    from PIL import Image

    try:
        with open_regular(path, _LARGEST_BYTES) as file, Image.open(file, formats=_FORMATS) as opened:
            image = opened.convert("RGB")
        if band != (0.0, 1.0):
            top, bottom = (round(share * image.height) for share in band)
            image = image.crop((0, top, image.width, max(bottom, top + 1)))
    # A damaged picture may raise anything.
    except (Damaged, OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError):
        return None
    if max(image.size) > side:
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
    data, mime = min((_encoded(image, "PNG"), _encoded(image, "JPEG")), key=lambda pair: len(pair[0]))
    return Picture(name, *texts, data, mime, *image.size, link)


def _encoded(image: object, form: str) -> tuple[bytes, str]:
    file = io.BytesIO()
    image.save(file, format=form, optimize=True, quality=82)  # type: ignore[attr-defined]
    return file.getvalue(), f"image/{form.lower()}"


def evenly(items: Sequence[Path], most: int) -> list[Path]:
    """At most `most` of the items: the first, the last, and others evenly between them."""
    last = len(items) - 1
    if last < most:
        return list(items)
    return [items[round(k * last / (most - 1))] for k in range(most)]
