"""`sample RUN`: pictures by a run's generator, drawn or translated, from its folder alone: no data, no GPU."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from ganhpc.cli.common_options import RUNS, Number, Sections, TypedPath, Whole
from ganhpc.cli.output import say
from ganhpc.core.errors import UserError
from ganhpc.core.files import Damaged, read_json
from ganhpc.core.printable import printable, slug
from ganhpc.core.units import counted
from ganhpc.runs.find_run import find_run
from ganhpc.runs.run_files import is_count
from ganhpc.runs.run_folder import Run

if TYPE_CHECKING:
    from torch import nn

    from ganhpc.train.gan.latent_walks import Plan

_ROWS = 5
"""Rows of pictures where none are typed and no classes ask for one each."""
_LEAST_TRUNCATION = 0.02
"""Below it nearly every number would be drawn again for long."""

command = Sections(
    "sample",
    callback=lambda **values: sample(**values),
    help=(
        "Draw or translate pictures by a generator of a run, finished or not.\n\n"
        "RUN is a run's folder, its name, or a part of it."
    ),
)
command.params.append(click.Argument(["run"], metavar="RUN"))
command.add(
    "Pictures",
    click.Option(
        ["--network"], metavar="NAME", help="which of the run's generators  [default: the only one, or the first]"
    ),
    click.Option(["--rows"], type=Whole(1, 100), help="rows of pictures  [default: 5, or one for each class]"),
    click.Option(["--columns"], type=Whole(1, 100), default=5, show_default=True, help="pictures in a row"),
    click.Option(
        ["--class", "label"],
        metavar="C|C:C",
        help="the class to draw, by its number or name, of a GAN with classes; 3:7 goes from one class to another along each row",
    ),
    click.Option(
        ["--truncation"],
        metavar="T",
        type=Number(_LEAST_TRUNCATION, 100),
        help="draw numbers of latent vectors beyond T again: better pictures, less diverse",
    ),
    click.Option(["--seed"], metavar="S", type=Whole(0), help="seed of the latent vectors  [default: the run's]"),
    click.Option(
        ["--interpolate"],
        type=click.Choice(["linear", "slerp"]),
        help="go from one latent vector to another: along each row, or over the time of a GIF",
    ),
    click.Option(["--frames"], type=Whole(2, 500), default=24, show_default=True, help="pictures of a GIF, one way"),
)
command.add(
    "Translation",
    click.Option(
        ["--input"],
        type=TypedPath(),
        metavar="FOLDER|IMAGE",
        help="the pictures to translate, or by a run of sdpc to reconstruct: a picture, a folder or a zip",
    ),
    click.Option(
        ["--direction"], metavar="a2b|b2a", help="the generator that translates: from A to B, or back  [default: a2b]"
    ),
)
command.add(
    "Files",
    click.Option(
        ["--out"],
        type=TypedPath(),
        metavar="PNG|GIF|FOLDER",
        help="where to; a folder takes one PNG for each translation  [default: <run>-seed<S>.png, <run>-a2b.png here]",
    ),
    click.Option(["--onnx"], type=TypedPath(), metavar="FILE", help="also write the generator as ONNX"),
    RUNS(),
)


def sample(
    run: str,
    rows: int | None,
    columns: int,
    seed: int | None,
    interpolate: str | None,
    frames: int,
    out: str | None,
    onnx: str | None,
    runs: str,
    network: str | None = None,
    input: str | None = None,
    direction: str | None = None,
    label: str | None = None,
    truncation: float | None = None,
) -> None:
    """Write the pictures, and say where they are."""
    found = find_run(run, Path(runs))
    if network and direction and network != direction:
        raise UserError(f"--network {network} and --direction {direction} name two generators: type one of them.")
    if input is not None or direction:
        if label is not None or truncation is not None:
            raise UserError(
                "--class and --truncation are for drawing, and --input and --direction translate: leave one of the two out."
            )
        _translate(found, network or direction, input, rows or _ROWS, columns, out, onnx)
        return
    # Before torch is loaded, so that a mistake is told at once.
    number = _seed(found) if seed is None else seed
    path = Path(out or f"{slug(found.folder.resolve().name)}-seed{number}.png")
    if path.suffix.lower() not in (".png", ".gif"):
        raise UserError(f"--out {out}: a picture is written as .png or .gif: type --out {path.stem}.png.")
    if not path.absolute().parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {path.parent}: make it first.")
    from ganhpc.train.gan import generator_io, latent_walks

    net, source = generator_io.load(found, network)
    if not hasattr(net, "latent_dim"):
        if label is not None or truncation is not None:
            raise UserError(
                f"{found} translates pictures, and draws none from latent vectors: leave out --class and --truncation."
            )
        if onnx:
            _write_onnx(net, onnx)
            return
        names = generator_io.exported(found)
        ways = f" and --direction {' or '.join(names)}" if len(names) > 1 else ""
        raise UserError(f"{found} translates pictures: give some with --input FOLDER|IMAGE{ways}.")
    plan = latent_walks.plan(net, found, label, rows, columns, number, truncation, _ROWS)
    if path.suffix.lower() == ".gif":
        _film(net, plan, interpolate or ("" if plan.across else "slerp"), frames, path)
    else:
        _sheet(net, plan, interpolate or "", path)
    say(
        f"{printable(path)}: {plan.rows}x{columns} {'picture' if plan.rows * columns == 1 else 'pictures'}{plan.words}, seed {number}, weights from {source}"
    )
    if onnx:
        _write_onnx(net, onnx)


def _progress(line: str) -> None:
    """A line of progress, beside what the command prints."""
    say(line, err=True)


def _write_onnx(net: nn.Module, onnx: str) -> None:
    from ganhpc.train.gan.onnx_export import write_onnx

    write_onnx(net, Path(onnx))
    latent, shape = getattr(net, "latent_dim", None), getattr(net, "image_shape", ())
    classes = " and classes [n]" * bool(getattr(net, "classes", 0))
    given = (
        f"latent vectors [n, {latent}]{classes}" if latent else f"images {['n', *shape]} in [-1, 1]".replace("'", "")
    )
    say(f"{onnx}: the generator, from {given} to images [n, C, H, W] in [-1, 1]")


def _translate(
    run: Run, name: str | None, given: str | None, rows: int, columns: int, out: str | None, onnx: str | None
) -> None:
    """Write translations of the pictures in `given`: a sheet of sources, translations and cycles, or a folder of PNGs."""
    from ganhpc.train.gan import generator_io

    names = generator_io.exported(run)
    net, source = generator_io.load(run, name)
    if hasattr(net, "latent_dim"):
        raise UserError(f"{run} draws from latent vectors and translates nothing: leave out --input and --direction.")
    if given is None:
        raise UserError(f"--direction {name} needs the pictures to translate: add --input FOLDER|IMAGE.")
    name = name or names[0]
    path = Path(out or f"{slug(run.folder.resolve().name)}-{name}.png")
    to_folder = path.is_dir() or str(out).endswith("/")
    if not to_folder and path.suffix.lower() != ".png":
        raise UserError(f"--out {out}: translations are written as a .png or into a folder: type --out {path.name}/.")
    if not path.absolute().parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {path.parent}: make it first.")
    back = next((each for each in names if each == name[::-1]), None)
    _write_translations(run, (name, net), back, given, (rows, columns), path, to_folder=to_folder)
    say(f"weights from {source}")
    if onnx:
        _write_onnx(net, onnx)


MOST = 10_000
"""Translations that one call writes, at most."""


def _write_translations(
    run: Run,
    there: tuple[str, nn.Module],
    back: str | None,
    given: str,
    sheet: tuple[int, int],
    path: Path,
    *,
    to_folder: bool,
) -> None:
    import torch

    from ganhpc.datasets.picture_list import pictures
    from ganhpc.train.gan import generator_io
    from ganhpc.train.runtime import image_files
    from ganhpc.train.runtime.long_phase import shown_while_long

    name, net = there
    channels, height, width = cast("tuple[int, int, int]", net.image_shape)
    if channels != 3:
        raise UserError(f"{run} translates pictures of {channels} channels, and --input reads colour pictures.")
    most = MOST if to_folder else sheet[0] * sheet[1]
    found, skipped, ranges = pictures(given, (height, width), most, _progress)
    for line in skipped[:10]:
        say(f"skipped: {printable(line)}")
    for line in ranges:
        say(line)
    sources = torch.stack([torch.tensor(pixels).permute(2, 0, 1) for _, pixels in found]).float() / 127.5 - 1
    with shown_while_long("translation", _progress):
        made = generator_io.draw(net, sources, 16)
    if to_folder:
        path.mkdir(exist_ok=True)
        taken: set[str] = set()
        for (original, _), image in zip(found, made, strict=True):
            stem = slug(original.rpartition(".")[0].replace("/", "-")) or "picture"
            word, k = stem, 1
            while word in taken:
                word, k = f"{stem}-{k}", k + 1
            taken.add(word)
            image_files.save(image_files.plain(image), path / f"{word}.png")
        say(f"{printable(path)}: {counted(len(found), 'translation')} by {name}, {width}x{height} pixels")
        return
    parts = [image_files.unit(sources), made]
    if back:
        with shown_while_long("the way back", _progress):
            parts.append(generator_io.draw(generator_io.load(run, back)[0], made * 2 - 1, 16))
    columns = min(sheet[1], len(found)) * len(parts)
    image_files.save(image_files.grid(torch.stack(parts, 1).flatten(0, 1), columns), path)
    told = "source, translation and cycle" if back else "source and translation"
    say(f"{printable(path)}: {told} of {counted(len(found), 'picture')} by {name}")


def _seed(run: Run) -> int:
    """The run's own seed, which gives the very pictures that training showed; 0 where the folder doesn't tell."""
    try:
        seed = (read_json(run.experiment_json) or {}).get("seed", 0)
    except Damaged:
        return 0
    return seed if is_count(seed) else 0


def _sheet(net: nn.Module, plan: Plan, kind: str, path: Path) -> None:
    from ganhpc.train.gan import generator_io, latent_walks
    from ganhpc.train.runtime import image_files
    from ganhpc.train.runtime.long_phase import shown_while_long

    z, y = latent_walks.sheet(plan, kind)
    with shown_while_long("drawing", _progress):
        made = generator_io.draw(net, z, y=y)
    image_files.save(image_files.grid(made, plan.columns), path)


def _film(net: nn.Module, plan: Plan, kind: str, frames: int, path: Path) -> None:
    """Every picture of the grid goes from one latent vector, or class, to another and back."""
    from ganhpc.train.gan import generator_io, latent_walks
    from ganhpc.train.runtime import image_files
    from ganhpc.train.runtime.long_phase import shown_while_long

    walk = latent_walks.film(plan, kind, frames)
    with shown_while_long("drawing", _progress):
        there = [image_files.grid(generator_io.draw(net, z, y=y), plan.columns) for z, y in walk]
    image_files.save_animation([*there, *there[-2:0:-1]], path)
