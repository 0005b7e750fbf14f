"""Run folders of every state, and ways to damage one file of a folder: by its bytes, by its kind, by the values in its JSON."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from ganhpc.core.files import write_json
from ganhpc.runs import submission_record
from ganhpc.runs.run_folder import Run
from jobs.cifar import Cifar
from tests.run_folders import done, stopped

SMALL = {"data": "synthetic", "train_images": 500, "epochs": 2, "time": None, "device": "cpu"}
FILES = ("experiment.json", "request.json", "status.json", "result.json", "choices.json", "evaluation.json", "description.json",
         "metrics.jsonl", "deadline.json", "log.txt", "stop", "lock", "checkpoints", "samples")  # fmt: skip


def make(runs: Path) -> dict[str, Run]:
    """A run in each state, with every file that a run may have."""
    found = {
        "done": done(runs, 0.6, preset="course", seed=1, **SMALL),
        "done2": done(runs, 0.7, preset="course", seed=2, **SMALL),
        "resumable": stopped(runs, "resumable", "SIGINT at the launcher", seed=3, **SMALL),
        "crashed": stopped(runs, "crashed", "the loss is not finite", seed=4, **SMALL),
        "submitted": Run.open(runs, Cifar.from_preset("course").replace(seed=5, **SMALL)),
    }
    now = time.time()
    entry = {
        "tag": "ganhpc-x-1",
        "segment": 1,
        "kind": "queue",
        "reason": "tonight",
        "work": 60,
        "seconds": 120,
        "last": True,
        "launch": "l",
    }
    moments = {"start": "2026-11-28T19:01:00+01:00", "end": "2026-11-28T19:31:00+01:00"}
    for name in ("submitted", "resumable"):
        submission_record.note_intent(
            found[name], [{**entry, **moments}], {"scheduler": "local", "policy": "none", "launch": "l"}, about_to=True
        )  # type: ignore[typeddict-item]
        submission_record.note_id(found[name], "ganhpc-x-1", "7")
    for run in found.values():
        _fill(run, now)
    return found


def _fill(run: Run, now: float) -> None:
    points = [
        {"epoch": float(k), "step": 10 * k, "test_accuracy": 0.1 * k, "train_loss": 2.0 - k / 10, "lr": 0.1}
        for k in range(4)
    ]
    write_json(run.evaluation_json, {"curve": points, "accuracy_by_class": {"a": 0.5, "b": 0.25}})
    write_json(run.choices_json, {"network": "course", "why": "as asked"})
    write_json(run.deadline_json, {"end": now + 3600, "last": True})
    net = {"name": "net", "input": [3, 32, 32], "functions": [], "tensors": [], "weights": []}
    write_json(
        run.description_json, {"networks": {"net": net}, "step": {"ops": {"add": 1, "mul": 2, "total": 3}}, "peak": {}}
    )
    lines = [{"kind": "train", "step": k, "epoch": k / 10, "loss": 2.0 - k / 50} for k in range(30)]
    lines += [{"kind": "epoch", **point} for point in points]
    run.metrics_jsonl.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run.log.write_text("data: synthetic\nepoch 1\n")
    run.lock.touch()
    run.checkpoints.mkdir()
    write_json(run.checkpoints / "step-0000000010.json", {"step": 10, "bytes": 3, "sha256": "0" * 64})
    (run.checkpoints / "step-0000000010.pt").write_bytes(b"abc")
    run.samples.mkdir()
    Image.new("RGB", (8, 8)).save(run.samples / "step-0000000010.png")


# -- values -------------------------------------------------------------------------------------------------------------


def _deep(depth: int) -> Any:
    tree: Any = 1
    for k in range(depth):
        tree = [tree] if k % 2 else {"a": tree}
    return tree


WRONG: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 10**18, 10**30, -(10**400), 1e308, -1e308, 1e-320, float("nan"), float("inf"), float("-inf"), "", "x", "7", "nan",
    "\x1b[2J\x1b]0;evil\x07", "a\nb\r", "\u202eabc", "\udcff\ud800", "[red]x[/red][/]", "$x^{2$ \\frac", "<b>|*_`", "=1+1", "../../../etc/passwd", "x" * 10_000,
    [], [1], [[]], [None], {}, {"a": 1}, {"": {}}, [{}], _deep(40), ["x"] * 2000, {"mean": "x"}, {"mean": None, "std": [], "n": "x"},
    "2026-99-99T00:00:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "evil", "os", "local", "running", "done", "waiting",
)  # fmt: skip
"""Values that some field does not expect."""


def encoded(tree: Any) -> bytes:
    """JSON as a hostile program writes it: with NaN, and numbers of any length."""
    return json.dumps(tree).encode()


def mutated(tree: Any, random: random.Random) -> Any:
    """`tree` with one value, anywhere in it, replaced, removed or added."""
    found = list(places(tree))
    if not found or random.random() < 0.05:
        return random.choice(WRONG)
    holder, key = random.choice(found)
    act = random.random()
    if act < 0.8:
        holder[key] = random.choice(WRONG)
    elif act < 0.9:
        del holder[key]
    elif isinstance(holder, dict):
        holder[random.choice(("x", "", "\x1b[2J", "run", "state", "n", "mean", "lr", "frechet\x07"))] = random.choice(
            WRONG
        )
    else:
        holder.append(random.choice(WRONG))
    return tree


def places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every entry of every object and list, as its holder and its key."""
    for key, value in list(
        tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    ):
        yield tree, key
        yield from places(value)


# -- damages of a file --------------------------------------------------------------------------------------------------


def _away(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _written(data: bytes) -> Callable[[Path], object]:
    def damage(path: Path) -> None:
        _away(path)
        path.write_bytes(data)

    return damage


def _placed(make: Callable[[Path], object]) -> Callable[[Path], object]:
    def damage(path: Path) -> None:
        _away(path)
        make(path)

    return damage


def _large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(5 * 2**30)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": _written(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-7]) if path.is_file() else _written(b'{"a": ')(path),
    "list": _written(b"[1]"),
    "text": _written(b'"x"'),
    "null": _written(b"null"),
    "no UTF-8": _written(b'\xff\xfe{"a": "\xe9"}\n'),
    "deep": _written(b'{"a":' * 100_000),
    "5000 digits": _written(
        b'{"time": ' + b"9" * 5000 + b', "seconds": ' + b"9" * 5000 + b', "jobs": [' + b"9" * 5000 + b"]}"
    ),
    "binary": _written(bytes(range(256)) * 20),
    "huge": _placed(_large),
    "folder": _placed(Path.mkdir),
    "fifo": _placed(os.mkfifo),
    "device": _placed(lambda path: path.symlink_to("/dev/zero")),
    "loop": _placed(lambda path: path.symlink_to(path.name)),
    "nowhere": _placed(lambda path: path.symlink_to("nowhere/at/all")),
    "memory": _placed(lambda path: path.symlink_to("/proc/self/mem")),
}
"""Ways in which one file of a folder may be wrong."""
