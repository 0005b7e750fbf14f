"""Generators by themselves: how one is built again from its definition, and what it is given: latent vectors or images."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from ganhpc.core.errors import UserError, nearest
from ganhpc.core.files import Damaged, handle_path, open_regular, parse_json, read_json
from ganhpc.core.printable import printable
from ganhpc.runs import own_experiments
from ganhpc.runs.run_folder import Run
from ganhpc.train import nets
from ganhpc.train.runtime import checkpoint
from ganhpc.train.runtime.image_files import unit
from ganhpc.train.runtime.step_random import generator_of

_FORMAT = 1


@functools.cache
def kinds() -> Mapping[str, type[nn.Module]]:
    """Classes by the name that `net` of a definition may have: `EXPORTED` of every module of networks, of the user's own too
    (`*_nets.py` in their folders of experiments). Names stay, so that old files can be loaded.

    A kind takes latent vectors where its networks have a `latent_dim`, or else images of their `image_shape` (channels, height, width).
    """
    found: dict[str, type[nn.Module]] = {}
    for module in sorted(each.name for each in pkgutil.iter_modules(nets.__path__)):
        for name, kind in getattr(importlib.import_module(f"{nets.__name__}.{module}"), "EXPORTED", {}).items():
            assert name not in found, f"two kinds of generators are called {name}"
            found[name] = kind
    for own in own_experiments.networks():
        for name, kind in getattr(own, "EXPORTED", {}).items():
            found.setdefault(name, kind)
    return MappingProxyType(found)


MOST_ITERATIONS = 10_000
"""Iterations of an inference in a foreign file, as many as an option takes."""
MOST_ARGUMENT, MOST_NUMBERS, MOST_PIXELS = 65_536, 2**30, 2**26
"""Bounds of a generator of a foreign file: any number in its definition, its parameters, the values of one of its images."""


def definition(net: str, arguments: dict[str, Any], classes: Sequence[str] = ()) -> dict[str, Any]:
    """Arguments to build the generator `net` again, and the names of its classes where it has some: JSON values."""
    given = {"latent": "normal"} if _takes_latents(net, arguments) else {"input": "images"}
    named = {"classes": list(classes)} if classes else {}
    return {"format": _FORMAT, "net": net, "arguments": arguments, **given, **named, "images": "[-1, 1]"}


def _takes_latents(net: str, arguments: dict[str, Any]) -> bool:
    with torch.device("meta"):
        return hasattr(kinds()[net](**arguments), "latent_dim")


def example(net: nn.Module, n: int = 1) -> Tensor:
    """`n` inputs of zeros for the generator `net`, on the device that torch is set to."""
    if hasattr(net, "latent_dim"):
        return torch.zeros(n, int(net.latent_dim))  # type: ignore[arg-type]
    return torch.zeros(n, *net.image_shape)  # type: ignore[misc]


def build(tree: Any, source: Path) -> nn.Module:
    """The generator of a definition, untrained. Raises UserError where this version can't build it."""
    if not isinstance(tree, dict) or not isinstance(tree.get("arguments"), dict):
        raise UserError(f"{source} does not describe a generator: it is none of ours, or it is damaged.")
    if tree.get("format") != _FORMAT or not isinstance(tree.get("net"), str) or tree["net"] not in kinds():
        raise UserError(
            f"{source} describes a generator {tree.get('net')!r} in format {tree.get('format')!r}; this version knows format {_FORMAT} "
            f"and {', '.join(kinds())}: use the version that made it."
        )
    arguments = tree.get("arguments")
    try:
        _check_size(tree["net"], arguments)
        net = kinds()[tree["net"]](**arguments)  # type: ignore[arg-type]
        net.class_names = _class_names(tree, int(getattr(net, "classes", 0)))  # type: ignore[assignment]
        return net
    except Exception as error:  # whatever a network's own code says of arguments that it was not made for
        raise UserError(
            f"{source} does not describe a {tree['net']} generator of this version ({_short(error)})."
        ) from None


def _class_names(tree: dict[str, Any], classes: int) -> tuple[str, ...]:
    """The names of a generator's classes; their numbers where the definition has none. Raises ValueError where they are of other ones."""
    names = tree.get("classes", [str(k) for k in range(classes)])
    if not isinstance(names, list) or len(names) != classes or not all(isinstance(name, str) for name in names):
        raise ValueError(f"it does not name its {classes} classes")
    return tuple(names)


def _check_size(net: str, arguments: Any) -> None:
    """Raise ValueError where the arguments would build a giant, or one that draws giant images; found without memory for either."""
    for name, value in arguments.items():
        if isinstance(value, int | float) and not -MOST_ARGUMENT <= value <= MOST_ARGUMENT:
            raise ValueError(f"{name} is {value!r}")
    if isinstance(steps := arguments.get("iterations", 1), int | float) and steps > MOST_ITERATIONS:
        raise ValueError(f"iterations is {steps!r}")
    # Shapes are those of one iteration; without values, an inference never ends early.
    once = {**arguments, "iterations": 1} if "iterations" in arguments else arguments
    with torch.device("meta"):
        made = kinds()[net](**once).eval()
        tensors = [*made.parameters(), *made.buffers()]
        images = made(example(made))
    if (numbers := sum(each.numel() for each in tensors)) > MOST_NUMBERS or images.numel() > MOST_PIXELS:
        raise ValueError(f"it would have {numbers:,} parameters and images of {images.numel():,} values")


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"


def exported(run: Run) -> list[str]:
    """The names of the generators that `run` exports, or will at its end; sorted. Empty where it has none, or none yet."""
    names = []
    for path in sorted(run.folder.glob("*.json")):
        try:
            about = read_json(path)
        except Damaged:
            continue
        if isinstance(about, dict) and {"net", "arguments", "images"} <= about.keys():
            names.append(path.stem)
    names += [
        path.stem for path in run.folder.glob("*.safetensors") if path.stem not in names and _has_definition(path)
    ]
    return sorted(names)


def _has_definition(path: Path) -> bool:
    try:
        # By its handle: a fifo would be waited for.
        with open_regular(path) as held, safe_open(handle_path(held), framework="pt") as file:
            return "definition" in (file.metadata() or {})
    except (SafetensorError, OSError, Damaged):
        return False


def _choose(run: Run, name: str | None) -> str:
    """The exported generator of `run` that is called `name`; without one, the only one or the first. Raises UserError."""
    names = exported(run)
    if name is not None and name not in names:
        there = nearest(name, names) if names else "there is none"
        raise UserError(f"--network {printable(name)}: {run} has no generator of this name: {there}.")
    return name or ("generator" if "generator" in names or not names else names[0])


def load(run: Run, name: str | None = None) -> tuple[nn.Module, str]:
    """(the generator of `run` called `name`, or its only or first one, in evaluation mode on the CPU; where its weights came from).

    From the file exported at the end of training, or else the newest checkpoint that holds one. Raises UserError where there is none.
    """
    name = _choose(run, name)
    path = run.export(name)
    if path.exists():
        return load_file_of(path), path.name
    described = path.with_suffix(".json")
    about = read_json(described)
    unusable: list[str] = []
    own, cpu = run.recorded_signature(), torch.device("cpu")
    while about is not None and (found := checkpoint.newest(run.checkpoints, cpu, unusable, own)).tree:
        net = build(about, described)
        try:
            net.load_state_dict(found.tree["modules"][name])
            _try(net)
        except Exception:  # not the weights of this network: the one before may be
            unusable.append(found.name)
            continue
        return net.eval(), "a checkpoint: the run is not finished"
    broken = f"; no generator like the described one is in {', '.join(map(printable, unusable))}" if unusable else ""
    raise UserError(
        f"{run} has no generator to draw from: it is a folder of a GAN's run once its first checkpoint is written "
        f"(looked for {name}.safetensors, then for {name}.json and a checkpoint{broken})."
    )


def load_file_of(path: Path) -> nn.Module:
    """The generator in an exported file, which carries its definition. Raises UserError where it is not whole."""
    try:
        with open_regular(path) as held:  # by its handle: a fifo would be waited for
            with safe_open(handle_path(held), framework="pt") as file:
                about = parse_json((file.metadata() or {})["definition"])
                net = build(about, path)
                shapes = {name: list(value.shape) for name, value in net.state_dict().items()}
                if shapes != {name: file.get_slice(name).get_shape() for name in file.keys()}:  # noqa: SIM118
                    raise ValueError("its weights are those of another network")
            net.load_state_dict(load_file(handle_path(held)))
        _try(net)
    except (
        SafetensorError,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        IndexError,
        ArithmeticError,
        RuntimeError,
        OSError,
        MemoryError,
    ) as error:
        raise UserError(f"{path} is not a whole exported generator ({_short(error)}): copy it again.") from None
    return net.eval()


def _try(net: nn.Module) -> None:
    """Draw one image: arguments of a wrong type may show then only. Raises ValueError where a weight is no number."""
    if any(value.is_floating_point() and value.isnan().any() for value in net.state_dict().values()):
        raise ValueError("its weights are not all numbers (NaN)")
    draw(net, example(net), y=torch.zeros(1, dtype=torch.long) if getattr(net, "classes", 0) else None)


# -- latent vectors -----------------------------------------------------------------------------------------------------------


def latents(n: int, dim: int, seed: int, use: str = "samples", truncation: float | None = None) -> Tensor:
    """`n` latent vectors N(0, 1) [n, dim], others for each `use`. With `truncation`, numbers beyond it on either side are drawn again
    (Brock et al., 2019, section 3.1); the others stay what they are without it."""
    random = generator_of("latents", use, seed)
    z = torch.randn(n, dim, generator=random)
    if truncation is not None:
        while len(beyond := (z.abs() > truncation).flatten().nonzero().squeeze(1)):
            z.view(-1)[beyond] = torch.randn(len(beyond), generator=random)
    return z


def between(start: Tensor, end: Tensor, share: float, kind: str) -> Tensor:
    """The latent vectors `share` (0 to 1) of the way from `start` to `end` [n, dim].

    linear passes near zero, where no training vector lies; slerp keeps to the sphere that they lie on (White, "Sampling generative
    networks", 2016).
    """
    if kind == "linear":
        return torch.lerp(start, end, share)
    unit_start, unit_end = (nn.functional.normalize(v, dim=1) for v in (start, end))
    angle = (unit_start * unit_end).sum(1, keepdim=True).clamp(-1, 1).acos()
    sine = angle.sin()
    curved = (((1 - share) * angle).sin() * start + (share * angle).sin() * end) / sine.clamp(min=1e-6)
    return torch.where(sine > 1e-4, curved, torch.lerp(start, end, share))


@torch.no_grad()
def draw(net: nn.Module, z: Tensor, batch: int = 64, y: Tensor | None = None) -> Tensor:
    """Images in [0, 1] on the CPU, [n, C, H, W], of `z`: latent vectors, or images in [-1, 1]; `net` is left in the mode it was in.

    `y`: the classes [n] of a network that has them, or shares of classes [n, classes].
    """
    training = net.training
    net.eval()
    device = next(net.parameters()).device
    given = (z,) if y is None else (z, y)
    pieces = zip(*(each.split(batch) for each in given), strict=True)
    parts = [unit(net(*(part.to(device) for part in piece))).cpu() for piece in pieces]
    net.train(training)
    return torch.cat(parts)
