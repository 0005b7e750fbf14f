"""Summary at the end of a run, or of a finished one: the outcome, the folder, what to type next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ganhpc.analysis.results.rows import KEYS, Row, is_number, row
from ganhpc.cli.common_options import SHAPING
from ganhpc.cli.views.results_table import per_cent, plain, seconds
from ganhpc.core.errors import UserError
from ganhpc.core.files import LARGE, Damaged, read_json
from ganhpc.core.printable import shown
from ganhpc.core.typed_command import typed_command
from ganhpc.core.units import counted, format_duration, human_number, human_rate
from ganhpc.runs.definition_fields import read_choices
from ganhpc.runs.experiment import Experiment, options
from ganhpc.runs.figures import STATE_COLOURS, WORK, is_uncertain
from ganhpc.runs.options import Option
from ganhpc.runs.run_files import numbers
from ganhpc.runs.run_folder import Run, State


def show_run(run: Run, console: Console, *, explained: bool = False) -> None:
    """Print the outcome of a finished run and the next useful commands; of another one, its state and where it stands.

    `explained`: the reason of its state was printed already.
    """
    found = row(run)
    finished = found["state"] == State.DONE.value
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    lines = [*_outcome(found), *_by_class(run)] if finished else list(_unfinished(found, explained))
    for name, text in lines:
        table.add_row(f"{name:<13}", text if isinstance(text, Text) else Text(text))
    console.print(table)
    # Unfolded, since a folder or a command is there to be copied.
    _print_lines(console, "folder", [(shown(run.folder), "")])
    if finished:
        _print_lines(console, "next", list(_next_commands(run, found)))


def _print_lines(console: Console, name: str, lines: list[tuple[str, str]]) -> None:
    for k, (words, why) in enumerate(lines):
        line = Text.assemble((f"{name if k == 0 else '':<13}  ", "bold"), words, (f"   {why}" if why else "", "dim"))
        console.print(line, soft_wrap=True)


# -- a finished run -----------------------------------------------------------------------------------------------------


def _outcome(found: Row) -> Iterator[tuple[str, str]]:
    """The lines of a finished run. The result of an older version may lack some."""
    yield from _accuracy(found)
    measures = [
        f"{plain(key)} {value:.4g}"
        for key, value in found.items()
        if key not in KEYS and key not in WORK and is_number(value)
    ]
    if measures:
        yield "measures", ", ".join(measures)
    if found.get("network"):
        yield "network", ": ".join(plain(found[key]) for key in ("network", "why") if found.get(key))
    if found["params"] is not None:
        budget = f" of {found['budget_params']:,}" if found.get("budget_params") else ""
        frozen = f"; {found['frozen_params']:,} more are frozen" if found.get("frozen_params") else ""
        yield "parameters", f"{found['params']:,}{budget}{frozen}"
    if found["ops"] is not None:
        macs = f" ({human_number(found['macs'])} MACs)" if found["macs"] is not None else ""
        yield "operations", f"{human_number(found['ops'])} an image, forward{macs}"
    yield from _time(found)
    yield from _speed(found)
    versions = [f"{name} {plain(found[key])}" for name, key in _VERSIONS if found.get(key)]
    yield "machine", "; ".join(filter(None, [plain(found["device"]), ", ".join(versions)])) or "unknown"


_VERSIONS = (("torch", "torch"), ("Python", "python"), ("ganhpc", "ganhpc"), ("commit", "commit"))


def _accuracy(found: Row) -> Iterator[tuple[str, str]]:
    accuracy, plain_accuracy = found["test_accuracy"], found["test_accuracy_no_tta"]
    if accuracy is None:
        return
    averaged = plain_accuracy is not None and found.get("tta", "flip") != "none"
    also = f" with test-time augmentation, {per_cent(plain_accuracy)} without" if averaged else ""
    yield "test accuracy", per_cent(accuracy) + also


def _by_class(run: Run) -> Iterator[tuple[str, str]]:
    """The accuracy of each class in the last evaluation, the best first; nothing where the task has no classes."""
    try:
        shares = numbers((read_json(run.evaluation_json, LARGE) or {}).get("accuracy_by_class"))
    except Damaged:
        return
    if shares:
        best_first = sorted(shares.items(), key=lambda item: -item[1])
        yield "by class", ", ".join(f"{plain(name)} {per_cent(share)}" for name, share in best_first)


def _time(found: Row) -> Iterator[tuple[str, str]]:
    used, budget = found["train_seconds"], found["budget_seconds"]
    if used is None:
        return
    of = f" of {format_duration(budget)} ({used / budget:.1%})" if budget else ""
    segments = f", in {counted(found['segments'], 'segment')}" if (found.get("segments") or 1) > 1 else ""
    after = found.get("measure_seconds")
    measures = ""
    if isinstance(after, int | float) and after >= 1:
        measures = f"; samples and measures after it: {seconds(after)}"
    yield "time", f"{seconds(used)}{of}{segments}{measures}"
    phases = found.get("seconds_by_phase")
    if used and isinstance(phases, dict):
        rest = max(0.0, used - sum(phases.values()))
        shares = {**phases, "other": rest}
        yield "where it went", ", ".join(f"{plain(name)} {value / used:.1%}" for name, value in shares.items())


def _speed(found: Row) -> Iterator[tuple[str, str]]:
    if found["epochs"] is not None:
        planned = f" of {found['epochs_planned']:.4g} planned" if found.get("epochs_planned") else ""
        batch = f", {counted(found['batch_size'], 'image')} a step" if found.get("batch_size") else ""
        each = [seconds(found["epoch_seconds"])] if is_number(found.get("epoch_seconds")) else []
        each += [f"{human_number(found['epoch_ops'])} operations"] if is_number(found.get("epoch_ops")) else []
        yield "epochs", f"{found['epochs']:.4g}{planned}{batch}" + (f"; each {', '.join(each)}" if each else "")
    if found["images_per_second"] is not None:
        step, forward = found["gflops_per_second"], found.get("forward_gflops_per_second")
        whole = f"; {step:.4g} GFLOP/s in whole training steps" if step is not None else ""
        alone = f", {forward:.4g} of them forward" if forward is not None and whole else ""
        yield "speed", f"{human_rate(found['images_per_second'])} images/s{whole}{alone}"
        yield from _peak(found)


def _peak(found: Row) -> Iterator[tuple[str, str]]:
    """The share of the device's measured peak, and how far that can be trusted."""
    rate, peak, times = found["gflops_per_second"], found.get("peak_gflops_per_second"), found.get("peak_spread")
    if is_number(rate) and is_number(peak) and peak:
        doubt = f" (uncertain: it varied {times:.2g}-fold while it was measured)" if is_uncertain(times) else ""
        yield "of the peak", f"{rate / peak:.1%} of {peak:.4g} GFLOP/s in large matrix products{doubt}"


# -- any other run --------------------------------------------------------------------------------------------------------


def _unfinished(found: Row, explained: bool) -> Iterator[tuple[str, str | Text]]:
    """The lines of a run without a result; `explained`: without the reason of its state."""
    state, reason = plain(found["state"]), "" if explained else plain(found["reason"])
    yield "state", Text.assemble((state, STATE_COLOURS.get(state, "")), f": {reason}" if reason else "")
    if is_number(found["train_seconds"]):
        words = [] if found["epochs"] is None else [f"epoch {found['epochs']:.4g}"]
        if words and found.get("epochs_planned"):
            words[0] += f" of {found['epochs_planned']:.4g}"
        budget = f" of {format_duration(found['budget_seconds'])}" if found["budget_seconds"] else ""
        yield "stands at", ", ".join([*words, f"{seconds(found['train_seconds'])}{budget}"])
    if is_number(found["test_accuracy"]):
        yield "last accuracy", per_cent(found["test_accuracy"])


# -- what to type next ------------------------------------------------------------------------------------------------------


def _next_commands(run: Run, found: Row) -> Iterator[tuple[str, str]]:
    """(command, what it does)."""
    yield typed_command("results", runs=run.runs), "compare runs"
    if not found.get("better"):  # nothing builds the network of a user's program anew
        yield typed_command("describe", plain(found["experiment"]), *_shape(run, found)), "the network in full"
    yield typed_command("board", shown(run.folder)), "the curves, in TensorBoard"
    yield "the same command with --new", "trains afresh, in a folder of its own"


def _shape(run: Run, found: Row) -> list[str]:
    """The options with which `describe` shows the network of this run, what `auto` stood for included."""
    try:
        experiment = run.experiment()
        base, chosen = type(experiment).from_preset(experiment.preset), read_choices(run.choices_json, type(experiment))
    except UserError:
        return ["--preset", plain(found["preset"])] if found.get("preset") else []
    found_options = {option.name: option for option in options(type(experiment))}
    settled = _settled(found_options, chosen)
    names = SHAPING | (found_options.keys() - {option.name for option in options(Experiment)})
    if settled:
        names -= {"time", "epochs", "budget_params", "device"}
    words = [] if experiment.preset == "default" else ["--preset", experiment.preset]
    for name, option in found_options.items():
        value = settled.get(name, option.get(experiment))
        # An unset time needs no word: it comes with the number of epochs.
        if name in names and value != option.get(base) and not (name == "time" and value is None):
            words += _typed(option, value)
    return words


def _settled(known: dict[str, Option], chosen: dict[str, Any]) -> dict[str, Any]:
    """The options that the trainer chose for `auto`, and the network that they shape."""
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in chosen.items() if name in known}
    kind = str(chosen.get("network", "")).partition(" ")[0]
    return {**values, "net": kind} if values and "net" in known and kind in known["net"].choices else values


def _typed(option: Option, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [option.flag if value else f"--no-{option.flag[2:]}"]
    return [option.flag, "none" if value is None else option.show(value)]
