"""Checks of Python, the packages, torch and the GPU. torch is tried in another process: a broken one can crash or hang."""

from __future__ import annotations

import configparser
import importlib.metadata
import json
import os
import platform
import re
import shlex
import signal
import sys
from collections.abc import Iterator
from typing import Any

from ganhpc.core.settings import ROOT
from ganhpc.core.subprocesses import Answer, ask
from ganhpc.core.units import counted
from ganhpc.launch.doctor.finding import Finding, bad, good, note

_OLDEST = (3, 11)
TORCH_SECONDS = 180.0
"""Longest import of torch that is waited for: a first one over a network file system takes minutes."""
_PIP = f"{shlex.quote(sys.executable)} -m pip install"
_TORCH_PAIR = f"`{_PIP} --upgrade torch torchvision` lets pip choose two that fit"

_MISSING = "missing"

_PROBE = """
import json, time, warnings
found = {"gpus": [], "warnings": []}
for name in ("torch", "torchvision"):
    begun = time.monotonic()
    try:
        found[name] = {"version": str(__import__(name).__version__), "seconds": time.monotonic() - begun}
    except BaseException as error:
        found[name] = {"error": f"{type(error).__name__}: {error}"}
try:
    import torch
    found |= {"cuda": torch.version.cuda, "hip": getattr(torch.version, "hip", None)}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    found["warnings"] = [str(w.message) for w in caught]
    for device in ("cpu", *(f"cuda:{n}" for n in range(count))):
        works = ""
        try:
            ones = torch.ones(8, 8, device=device)
            works = "" if float((ones @ ones).sum()) == 512 else "a product of two matrices comes out wrong"
        except Exception as error:
            works = str(error).strip().splitlines()[0]
        if device == "cpu":
            found["cpu_error"] = works
        else:
            about = torch.cuda.get_device_properties(device)
            about = {"name": about.name, "memory": about.total_memory, "capability": [about.major, about.minor]}
            found["gpus"].append({**about, "error": works})
except BaseException as error:
    found.setdefault("cpu_error", f"{type(error).__name__}: {error}")
print("\\n" + json.dumps(found))
"""


def check_python() -> Iterator[Finding]:
    """The interpreter."""
    version = platform.python_version()
    where = f"{sys.executable}{' (virtual environment)' if sys.prefix != sys.base_prefix else ''}"
    if sys.version_info < _OLDEST:
        wanted = ".".join(map(str, _OLDEST))
        yield bad(
            "python", f"{version} at {where}", f"ganhpc needs {wanted} or newer: `make setup PYTHON=python{wanted}`."
        )
    else:
        yield good("python", f"{version}, {where}", version=version, executable=sys.executable)


def check_packages() -> Iterator[Finding]:
    """Everything that setup.cfg asks for, in versions that it allows; torch and torchvision have a line of their own."""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        yield bad("packages", "packaging is missing", f"`{_PIP} packaging`.", wrong={"packaging": _MISSING})
        return
    wrong, names = [], 0
    for line in requirements():
        wanted = Requirement(line)
        names += 1
        if wanted.name in ("torch", "torchvision"):
            continue
        try:
            there = importlib.metadata.version(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append((wanted, _MISSING))
            continue
        if not wanted.specifier.contains(there, prereleases=True):
            wrong.append((wanted, there))
    if wrong:
        said = ", ".join(
            f"{w.name} {there}{f' (needs {w.specifier})' if there != _MISSING else ''}" for w, there in wrong
        )
        fix = f"`{_PIP} {shlex.join(str(w) for w, _ in wrong)}`."
        # Another version may well work; none at all never does.
        made = bad if any(there == _MISSING for _, there in wrong) else note
        yield made("packages", said, fix, wrong={w.name: there for w, there in wrong})
    else:
        yield good("packages", f"{names} of {names} in versions that fit", wrong={})


def requirements() -> list[str]:
    """The packages that ganhpc needs, as setup.cfg or the installed package says."""
    setup = ROOT / "setup.cfg"
    if setup.is_file():
        config = configparser.ConfigParser(interpolation=None)
        config.read(setup, encoding="utf-8")
        return [
            line for line in config["options"]["install_requires"].splitlines() if line and not line.startswith("#")
        ]
    return [line for line in importlib.metadata.requires("ganhpc") or [] if "extra ==" not in line]


def check_torch() -> Iterator[Finding]:
    """torch, torchvision and the GPU, as another process found them."""
    answer = ask([sys.executable, "-P", "-c", _PROBE], TORCH_SECONDS, {"PYTHONUNBUFFERED": "1"})
    found = _parsed(answer)
    if found is None:
        yield _no_answer(answer)
        yield from gpu_findings({}, ask_nvidia())
        return
    yield from torch_findings(found)
    yield from gpu_findings(found, ask_nvidia())


def _parsed(answer: Answer) -> dict[str, Any] | None:
    try:
        return json.loads(answer.out.splitlines()[-1])
    except (ValueError, IndexError):
        return None


def _no_answer(answer: Answer) -> Finding:
    if answer.code is None:
        fix = "Put the environment on a local or faster disk, or try again: a first import reads gigabytes."
        return bad("torch", f"its import did not end in {TORCH_SECONDS:.0f} s", fix)
    if answer.code < 0:
        name = signal.Signals(-answer.code).name
        why = "this build does not suit this processor, or its files are damaged"
        return bad("torch", f"its import was killed by {name}: {why}", f"`{_PIP} --force-reinstall torch torchvision`.")
    return bad("torch", f"its import ended with exit code {answer.code}: {answer.last_words}", _TORCH_PAIR + ".")


def torch_findings(found: dict[str, Any]) -> Iterator[Finding]:
    """The lines about torch and torchvision, from what the other process printed."""
    torch, vision = found["torch"], found["torchvision"]
    if "error" in torch:
        missing = "No module named 'torch'" in torch["error"]
        yield bad(
            "torch",
            "is not installed" if missing else f"can't be imported: {_short(torch['error'])}",
            _TORCH_PAIR + ".",
        )
        return
    facts = {"version": torch["version"], "seconds": round(torch["seconds"], 2), "cuda": found.get("cuda")}
    build = f"CUDA {found['cuda']}" if found.get("cuda") else f"ROCm {found['hip']}" if found.get("hip") else "CPU only"
    if found.get("cpu_error"):
        yield bad("torch", f"{torch['version']}: {_short(found['cpu_error'])}", _TORCH_PAIR + ".", **facts)
    else:
        yield good("torch", f"{torch['version']} ({build}), imported in {torch['seconds']:.1f} s", **facts)
    yield _torchvision(vision, torch["version"])


def _torchvision(vision: dict[str, Any], torch_version: str) -> Finding:
    """Never worse than a note: of all that is trained here, only --data celeba asks torchvision for anything."""
    if "error" not in vision:
        return good("torchvision", vision["version"], version=vision["version"])
    error, version = vision["error"], _installed("torchvision")
    if "No module named 'torchvision'" in error:
        text = "is not installed"
    elif re.search(r"operator torchvision::\w+ does not exist|undefined symbol|libtorch|libc10", error):
        text = f"{version} was built for another torch than {torch_version}: {_short(error)}"
    else:
        text = f"{version} can't be imported: {_short(error)}"
    return note("torchvision", text, f"{_TORCH_PAIR}. Only --data celeba needs it.", version=version)


def _installed(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "?"


def _short(text: str) -> str:
    line = (text.strip() or "?").splitlines()[0]
    return line if len(line) <= 160 else line[:157] + "..."


def ask_nvidia() -> Answer:
    """The driver's answer on its GPUs: a line each of name, MiB, driver version."""
    query = "--query-gpu=name,memory.total,driver_version"
    return ask(["nvidia-smi", query, "--format=csv,noheader,nounits"], 30.0)


def gpu_findings(found: dict[str, Any], driver: Answer) -> Iterator[Finding]:
    """The lines about GPUs, from what torch and the driver say."""
    rows = [[part.strip() for part in line.split(",")] for line in driver.out.splitlines()] if driver.code == 0 else []
    rows = [row for row in rows if len(row) == 3]
    if found.get("gpus"):
        yield from (_gpu(n, gpu, rows[0][2] if rows else "") for n, gpu in enumerate(found["gpus"]))
    elif rows:
        names = ", ".join(row[0] for row in rows)
        yield note("gpu", f"{names} (driver {rows[0][2]}), which torch can't use", _why_not(found), gpus=[])
    elif driver.code not in (0, 127):
        said = "no answer in 30 s" if driver.code is None else driver.last_words
        yield note(
            "gpu",
            f"nvidia-smi fails: {_short(said)}",
            "Ask who keeps this machine; --device cpu trains without it.",
            gpus=[],
        )
    else:
        cores = len(os.sched_getaffinity(0))
        yield good("gpu", f"none: training runs on the processor ({counted(cores, 'core')})", gpus=[], cores=cores)


def _gpu(n: int, gpu: dict[str, Any], driver: str) -> Finding:
    memory = gpu["memory"] / 2**30
    facts = {"gpu": gpu["name"], "memory_bytes": gpu["memory"], "driver": driver, "capability": gpu["capability"]}
    text = f"{n}: {gpu['name']}, {memory:.1f} GiB{f', driver {driver}' if driver else ''}"
    if gpu["error"]:
        fix = "Another job may fill it, or this torch has no code for it: look at `nvidia-smi`, or type --device cpu."
        return bad("gpu", f"{text}, but it can't compute: {_short(gpu['error'])}", fix, **facts)
    return good("gpu", text, **facts)


def _why_not(found: dict[str, Any]) -> str:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return f"CUDA_VISIBLE_DEVICES={shlex.quote(visible)} hides it: `unset CUDA_VISIBLE_DEVICES`."
    if found.get("torch", {}).get("version") and not found.get("cuda"):
        return f"This torch is a build without CUDA: {_TORCH_PAIR}."
    said = f" ({_short(found['warnings'][0])})" if found.get("warnings") else ""
    return f"The driver may be too old for CUDA {found.get('cuda') or '?'}{said}: ask for a newer one, or install an older torch."
