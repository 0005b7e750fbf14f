"""`data PATH`: what a folder or zip of pictures gives before anything is trained on it."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import json
import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganhpc.cli import output
from ganhpc.core.errors import UserError
from ganhpc.core.files import storage_errors
from ganhpc.core.printable import printable, shell_word
from ganhpc.core.units import counted
from ganhpc.core.whoami import expand
from ganhpc.datasets import image_decoding
from ganhpc.datasets.folder_index import find, fingerprint_of

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console

    from ganhpc.datasets.image_folder import Item, Source

_MOST = 10
"""Lines of one kind that are listed; --all lists every one."""
_SHEET = 64
"""Most pictures on a sheet."""


@dataclasses.dataclass(frozen=True)
class _Preview:
    """A folder or zip as training would take it."""

    seen: image_decoding.Inspection
    fingerprint: str
    copies: int
    folders: dict[str, int]
    """Usable pictures in each folder, where there are several."""
    shown: list[np.ndarray]


def _look(path: Path, size: int, most: int = _SHEET) -> _Preview:
    """Decode every picture. Raises UserError where `path` is no folder or zip of pictures."""
    source = find(path)
    try:
        step = max(1, math.ceil(len(source.items) / most))
        hashes: list[bytes] = []
        shown: list[np.ndarray] = []
        folders = {_folder(source, item): 0 for item in source.items}

        def keep(item: Item, picture: np.ndarray) -> None:
            folders[_folder(source, item)] += 1
            if len(hashes) % step == 0 and len(shown) < most:
                shown.append(picture)
            hashes.append(hashlib.blake2b(picture.tobytes(), digest_size=16).digest())

        seen = image_decoding.survey(source, size, keep, lambda line: output.say(line, err=True))
        several = dict(sorted(folders.items())) if len(folders) > 1 else {}
        return _Preview(seen, fingerprint_of(source), len(hashes) - len(set(hashes)), several, shown)
    finally:
        source.close()


def _folder(source: Source, item: Item) -> str:
    return "/".join(item.folders(in_zip=source.is_zip, for_people=True))


def show(path: Path, size: int, sheet: Path | None, console: Console, *, as_json: bool, everything: bool) -> None:
    """Print what is in `path`, and write the sheet of pictures."""
    if sheet and sheet.suffix.lower() != ".png":
        raise UserError(f"--sheet {printable(sheet)}: the sheet is a PNG picture; give a name that ends in .png.")
    if sheet and _lies_in(sheet, path):
        raise UserError(
            f"--sheet {printable(sheet)}: it would lie among the pictures and be one of them in the next training; "
            f"type --sheet {shell_word(_outside(path))}."
        )
    found = _look(path, size)
    if sheet:
        _write_sheet(found.shown, sheet)
    if as_json:
        tree = dataclasses.asdict(found.seen) | {"copies": found.copies, "folders": found.folders}
        tree |= {"fingerprint": found.fingerprint, "sheet": str(sheet) if sheet else None}
        click.echo(json.dumps(tree, indent=1))
        return
    seen = found.seen

    def say(line: str) -> None:
        console.print(line, soft_wrap=True, markup=False)

    say(
        f"{seen.path}: {counted(seen.files, 'file')}, {counted(seen.usable, 'usable picture')}, brought to {size} x {size} pixels in {seen.seconds:.1f} s"
    )
    if seen.usable - found.copies < 2:
        say("not enough to train on: at least 2 different pictures are needed, one to learn from and one to test on")
    _list(say, "skipped", seen.skipped, everything=everything)
    _list(say, "converted", seen.converted, everything=everything)
    if seen.enlarged:
        say(f"enlarged: {counted(seen.enlarged, 'picture')} smaller than {size} pixels")
    if found.copies:
        say(f"copies: {counted(found.copies, 'picture')} exactly like another one")
    if found.folders:
        say(f"folders (classes for biggan, only looked through by the others): {len(found.folders):,}")
        counts = [f"  {printable(name) or '.'}: {n:,}" for name, n in found.folders.items()]
        _cut(say, counts, everything=everything)
    for line in seen.ranges:
        say(f"range: {line}")
    for line in seen.warnings:
        say(f"warning: {line}")
    if sheet:
        say(f"sheet: {len(found.shown)} of the pictures in {printable(sheet)}")
    else:
        sized = "" if size == image_decoding.SIZE else f" --image-size {size}"
        say(f"look at them: python launch.py data {shell_word(path)}{sized} --sheet {shell_word(_outside(path))}")


def _lies_in(sheet: Path, path: Path) -> bool:
    """True if a file `sheet` would be one of the pictures in the folder `path`."""
    return expand(sheet).resolve().parent.is_relative_to(expand(path).resolve())


def _outside(path: Path) -> str:
    """A file here, or where the folder `path` lies where it holds the present folder."""
    name = "sheet.png"
    if not _lies_in(Path(name), path):
        return name
    return os.path.relpath(expand(path).resolve().parent / name)


def _list(say: Any, word: str, lines: tuple[str, ...], *, everything: bool) -> None:
    """Counts by reason, then the names."""
    if not lines:
        return
    reasons = collections.Counter(_kind(line) for line in lines)
    say(f"{word}: {len(lines):,} ({', '.join(f'{n:,} {reason}' for reason, n in reasons.most_common())})")
    _cut(say, [f"  {line}" for line in lines], everything=everything)


def _cut(say: Any, lines: list[str], *, everything: bool) -> None:
    for line in lines if everything else lines[:_MOST]:
        say(line)
    if len(lines) > _MOST and not everything:
        say(f"  and {len(lines) - _MOST:,} more: --all names them")


def _kind(line: str) -> str:
    """The reason in "name: reason" without its figures and details."""
    reason = line.partition(": ")[2]
    return re.split(r"[,(:;]| to |\d", reason)[0].strip() or reason


def _write_sheet(shown: list[np.ndarray], path: Path) -> None:
    """The pictures in a square, one pixel apart, on grey."""
    from PIL import Image

    columns = max(1, math.ceil(math.sqrt(len(shown))))
    rows = max(1, math.ceil(len(shown) / columns))
    side = len(shown[0]) if shown else image_decoding.SIZE
    made = Image.new("RGB", (columns * (side + 1) + 1, rows * (side + 1) + 1), (128, 128, 128))
    for k, pixels in enumerate(shown):
        made.paste(Image.fromarray(pixels), (1 + k % columns * (side + 1), 1 + k // columns * (side + 1)))
    with storage_errors(path):
        try:
            made.save(path, "PNG")
        except FileNotFoundError:
            raise UserError(
                f"--sheet {printable(path)}: there is no folder {printable(path.parent)}; make it first."
            ) from None
