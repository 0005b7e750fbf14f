"""`sample RUN`: pictures by a run's generator, from its folder alone: no data, no GPU."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ganhpc.cli.common_options import RUNS, Sections, Whole
from ganhpc.cli.output import say
from ganhpc.core.errors import UserError
from ganhpc.core.files import Damaged, read_json
from ganhpc.core.printable import printable, slug
from ganhpc.runs.find_run import find_run
from ganhpc.runs.run_files import is_count
from ganhpc.runs.run_folder import Run

if TYPE_CHECKING:
    from torch import Tensor, nn

command = Sections(
    "sample",
    callback=lambda **values: sample(**values),
    help="Draw pictures by the generator of a run, finished or not; RUN is its folder or its name.",
)
command.params.append(click.Argument(["run"], metavar="RUN"))
command.add(
    "Pictures",
    click.Option(
        ["--network"], metavar="NAME", help="which of the run's generators  [default: the only one, or the first]"
    ),
    click.Option(["--rows"], type=Whole(1, 100), default=5, show_default=True, help="rows of pictures"),
    click.Option(["--columns"], type=Whole(1, 100), default=5, show_default=True, help="pictures in a row"),
    click.Option(["--seed"], metavar="S", type=Whole(0), help="seed of the latent vectors  [default: the run's]"),
    click.Option(
        ["--interpolate"],
        type=click.Choice(["linear", "slerp"]),
        help="go from one latent vector to another: along each row, or over the time of a GIF",
    ),
    click.Option(["--frames"], type=Whole(2, 500), default=24, show_default=True, help="pictures of a GIF, one way"),
)
command.add(
    "Files",
    click.Option(["--out"], metavar="PNG|GIF", help="where to  [default: <run>-seed<S>.png here]"),
    click.Option(["--onnx"], metavar="FILE", help="also write the generator as ONNX"),
    RUNS(),
)


def sample(
    run: str,
    rows: int,
    columns: int,
    seed: int | None,
    interpolate: str | None,
    frames: int,
    out: str | None,
    onnx: str | None,
    runs: str,
    network: str | None = None,
) -> None:
    """Write the picture, and say where it is."""
    found = find_run(run, Path(runs))
    # Before torch is loaded, so that a mistake is told at once.
    number = _seed(found) if seed is None else seed
    path = Path(out or f"{slug(found.folder.resolve().name)}-seed{number}.png")
    if path.suffix.lower() not in (".png", ".gif"):
        raise UserError(f"--out {out}: a picture is written as .png or .gif: type --out {path.stem}.png.")
    if not path.absolute().parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {path.parent}: make it first.")
    from ganhpc.train.gan import generator_io

    net, source = generator_io.load(found, network)
    if not hasattr(net, "latent_dim"):
        raise UserError(f"{found} translates pictures, and draws none from latent vectors.")
    if path.suffix.lower() == ".gif":
        _film(net, rows, columns, number, interpolate or "slerp", frames, path)
    else:
        _sheet(net, rows, columns, number, interpolate, path)
    say(f"{printable(path)}: {rows}x{columns} pictures, seed {number}, weights from {source}")
    if onnx:
        from ganhpc.train.gan.onnx_export import write_onnx

        write_onnx(net, Path(onnx))
        say(f"{onnx}: the generator, from latent vectors [n, {net.latent_dim}] to images [n, C, H, W] in [-1, 1]")


def _seed(run: Run) -> int:
    """The run's own seed, which gives the very pictures that training showed; 0 where the folder doesn't tell."""
    try:
        seed = (read_json(run.experiment_json) or {}).get("seed", 0)
    except Damaged:
        return 0
    return seed if is_count(seed) else 0


def _sheet(net: nn.Module, rows: int, columns: int, seed: int, interpolate: str | None, path: Path) -> None:
    from ganhpc.train.gan import generator_io
    from ganhpc.train.runtime import image_files

    z = _latents(net, 2 * rows if interpolate else rows * columns, seed)
    if interpolate:
        z = _walks(z[:rows], z[rows:], columns, interpolate)
    image_files.save(image_files.grid(generator_io.draw(net, z), columns), path)


def _walks(start: Tensor, end: Tensor, columns: int, kind: str) -> Tensor:
    """Latent vectors [rows x columns, dim]: each row leads from its start to its end."""
    import torch

    from ganhpc.train.gan.generator_io import between

    shares = [k / max(1, columns - 1) for k in range(columns)]
    return torch.stack([between(start, end, share, kind) for share in shares], 1).flatten(0, 1)


def _film(net: nn.Module, rows: int, columns: int, seed: int, kind: str, frames: int, path: Path) -> None:
    """Every picture of the grid goes from one latent vector to another and back."""
    from ganhpc.train.gan import generator_io
    from ganhpc.train.runtime import image_files

    start, end = _latents(net, 2 * rows * columns, seed).chunk(2)
    there = [
        image_files.grid(generator_io.draw(net, generator_io.between(start, end, k / (frames - 1), kind)), columns)
        for k in range(frames)
    ]
    image_files.save_animation([*there, *there[-2:0:-1]], path)


def _latents(net: nn.Module, number: int, seed: int) -> Tensor:
    from ganhpc.train.gan import generator_io

    return generator_io.latents(number, int(net.latent_dim), seed)  # type: ignore[arg-type]
