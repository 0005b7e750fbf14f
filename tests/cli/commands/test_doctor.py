"""`doctor`: what it says of a good machine and of broken ones, which are made with small stand-ins for other programs."""

from __future__ import annotations

import datetime as dt
import json
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from ganhpc.cli.commands.doctor import verdict
from ganhpc.core.settings import Settings
from ganhpc.core.subprocesses import Answer, ask
from ganhpc.launch.doctor import check_machine
from ganhpc.launch.doctor import check_python as doctor_python
from ganhpc.launch.doctor.checks import examine
from ganhpc.launch.doctor.finding import Level, bad, good, note

TORCH = {
    "torch": {"version": "2.14.0", "seconds": 2.0},
    "torchvision": {"version": "0.29.0"},
    "cuda": "13.0",
    "gpus": [],
}
GPU = {"name": "NVIDIA H200", "memory": 139 * 2**30, "capability": [9, 0], "error": ""}
NO_DRIVER = Answer(127, "", "nvidia-smi: No such file")


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Put a program of this name and shell text first on the PATH, and no others that doctor looks for."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("sh", "sleep"):
        (folder / tool).symlink_to(f"/bin/{tool}")
    monkeypatch.setenv("PATH", str(folder))

    def make(name: str, text: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)

    return make


def only(findings):
    (finding,) = list(findings)
    return finding


# -- the command ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow  # 5 s of processor time
def test_this_machine_as_json_and_as_text(launch):
    done = launch("doctor", "--json", GANHPC_CONFIG="/dev/null")
    found = json.loads(done.stdout)
    names = [check["name"] for check in found["checks"]]
    assert {"python", "configuration", "packages", "torch", "gpu", "runs", "cache", "time zone"} <= set(names)
    assert next(c for c in found["checks"] if c["name"] == "torch")["version"].startswith("2.")
    assert found["ready"] == (not any(c["level"] == "bad" for c in found["checks"]))
    assert done.returncode == (0 if found["ready"] else 1)
    assert all(
        check["fix"] for check in found["checks"] if check["level"] != "good" and check["name"] != "configuration"
    )


def test_a_broken_torch_in_the_way(launch, tmp_path):
    """A module of that name in a folder of PYTHONPATH; as text, without colour, at 80 columns, in plain ASCII."""
    found = tmp_path / "found"
    found.mkdir()
    (found / "torch.py").write_text("raise ImportError('libcudart.so.13: cannot open shared object file')")
    (found / "torchvision.py").write_text("raise ImportError('needs torch')")
    done = launch("doctor", COLUMNS="80", PYTHONIOENCODING="ascii", GANHPC_CONFIG="/dev/null", PYTHONPATH=str(found))
    assert done.returncode == 1
    assert "XX torch         can't be imported: ImportError: libcudart.so.13: cannot" in done.stdout
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "Not ready to train: torch" in done.stdout


def test_a_bad_configuration(launch, tmp_path):
    (tmp_path / "no-such.toml").write_text("run = 3")
    (tmp_path / "torch.py").write_text("raise ImportError('not looked at here')")
    done = launch("doctor", GANHPC_CONFIG=str(tmp_path / "no-such.toml"))
    assert done.returncode == 1
    assert "unknown key 'run': did you mean 'runs'" in " ".join(done.stdout.split())


def test_what_a_configuration_says(tmp_path, monkeypatch):
    path = tmp_path / "no-such.toml"
    monkeypatch.setenv("GANHPC_CONFIG", str(path))

    def look(text):
        path.write_text(text)
        return only(check_machine.check_configuration())

    fine = look('time_zone = "Europe/Paris"\nruns = "runs"')
    assert (fine.level, fine.text) == (Level.GOOD, f"{path}: runs, time_zone")
    assert look("").text.endswith("says nothing")
    assert "data_root /no/such/folder is no folder" in look('data_root = "/no/such/folder"').text
    assert look('python = "/no/such/python"').level is Level.NOTE


def test_the_verdict():
    fine, aside, broken = good("a", ""), note("b", "", "do"), bad("c", "", "do")
    assert verdict([fine]).startswith("Ready to train: ")
    assert "(2 lines worth a look)" in verdict([fine, aside, aside])
    assert verdict([fine, broken, broken]) == "Not ready to train: c must be fixed first."


def test_checks_run_side_by_side_in_their_own_order():
    meeting = threading.Barrier(8)

    def meets(name):
        meeting.wait(60)  # for all the others
        yield good(name, "")

    assert [f.name for f in examine([lambda n=n: meets(n) for n in "abcdefgh"])] == list("abcdefgh")


# -- other programs -------------------------------------------------------------------------------------------------------


def test_ask_tells_what_happened(program):
    program("fine", "echo out; echo noise >&2; exit 3")
    answer = ask(["fine"], 60)
    assert (answer.code, answer.out, answer.last_words) == (3, "out\n", "noise")
    program("killed", "kill -4 $$")
    assert ask(["killed"], 60).code == -4
    assert ask(["missing"], 60).code == 127


def test_ask_does_not_wait_for_a_grandchild_that_outlives_the_time(program):
    program("hangs", "echo first; sleep 300 & sleep 300")
    for seconds in (0.5, 5.0, 50.0):  # in which a busy machine comes as far as the first word
        begun = time.monotonic()
        answer = ask(["hangs"], seconds)
        assert time.monotonic() - begun < seconds + 60
        if answer.out:
            break
    assert (answer.code, answer.out) == (None, "first\n")


# -- torch and the GPU ----------------------------------------------------------------------------------------------------


def torch_said(**changes):
    return list(doctor_python.torch_findings({**TORCH, **changes}))


def test_a_good_pair():
    assert [f.level for f in torch_said()] == [Level.GOOD, Level.GOOD]


def test_torchvision_of_another_torch():
    torch, vision = torch_said(torchvision={"error": "RuntimeError: operator torchvision::nms does not exist"})
    assert torch.level is Level.GOOD
    assert vision.level is Level.NOTE
    assert "was built for another torch than 2.14.0" in vision.text
    assert "pip install --upgrade torch torchvision" in vision.fix


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ("ModuleNotFoundError: No module named 'torch'", "is not installed"),
        ("OSError: libcudnn.so.9: cannot open shared object file", "can't be imported: OSError: libcudnn.so.9"),
    ],
)
def test_no_torch(error, text):
    finding = only(torch_said(torch={"error": error}))
    assert (finding.level, text in finding.text) == (Level.BAD, True)


@pytest.mark.parametrize(
    ("script", "seconds", "text"),
    [
        ("import os; os.kill(os.getpid(), 4)", 60.0, "killed by SIGILL"),
        ("import time; time.sleep(60)", 1.0, "did not end in 1 s"),
        ("import sys; sys.exit('nothing')", 60.0, "exit code 1: nothing"),
    ],
)
def test_a_torch_that_ends_its_process(monkeypatch, script, seconds, text):
    monkeypatch.setattr(doctor_python, "_PROBE", script)
    monkeypatch.setattr(doctor_python, "TORCH_SECONDS", seconds)
    first = next(iter(doctor_python.check_torch()))
    assert (first.level, text in first.text) == (Level.BAD, True), first


def test_gpus_by_torch_and_driver():
    found = list(
        doctor_python.gpu_findings({**TORCH, "gpus": [GPU, GPU]}, Answer(0, "NVIDIA H200, 143771, 580.1\n" * 2, ""))
    )
    assert [f.level for f in found] == [Level.GOOD] * 2
    assert found[1].text == "1: NVIDIA H200, 139.0 GiB, driver 580.1"


def test_a_gpu_that_cannot_compute():
    gpu = {**GPU, "error": "CUDA error: no kernel image is available for execution on the device"}
    finding = only(doctor_python.gpu_findings({**TORCH, "gpus": [gpu]}, NO_DRIVER))
    assert finding.level is Level.BAD
    assert "no kernel image" in finding.text


@pytest.mark.parametrize(
    ("found", "visible", "fix"),
    [
        ({}, "", "CUDA_VISIBLE_DEVICES='' hides it: `unset CUDA_VISIBLE_DEVICES`."),
        ({"cuda": None}, None, "a build without CUDA"),
        ({"warnings": ["The NVIDIA driver is too old (found version 11040)."]}, None, "too old (found version 11040)"),
    ],
)
def test_a_gpu_that_torch_does_not_see(monkeypatch, found, visible, fix):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    finding = only(doctor_python.gpu_findings({**TORCH, **found}, Answer(0, "NVIDIA A40, 46068, 470.1\n", "")))
    assert finding.level is Level.NOTE
    assert fix in finding.fix


def test_no_gpu_and_a_driver_that_fails(program):
    assert only(doctor_python.gpu_findings(TORCH, doctor_python.ask_nvidia())).level is Level.GOOD
    program("nvidia-smi", "echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18")
    finding = only(doctor_python.gpu_findings(TORCH, doctor_python.ask_nvidia()))
    assert finding.level is Level.NOTE
    assert "version mismatch" in finding.text


def test_packages(monkeypatch):
    assert "torch>=2.11,<3" in doctor_python.requirements()
    monkeypatch.setattr(doctor_python, "requirements", lambda: ["click>=8", "torch>=99", "pytest>=1"])
    assert only(doctor_python.check_packages()).level is Level.GOOD
    monkeypatch.setattr(doctor_python, "requirements", lambda: ["click>=99"])
    finding = only(doctor_python.check_packages())
    assert finding.level is Level.NOTE
    assert "(needs >=99)" in finding.text
    assert finding.fix.endswith("pip install 'click>=99'`.")
    monkeypatch.setattr(doctor_python, "requirements", lambda: ["no-such-package-at-all"])
    assert only(doctor_python.check_packages()).level is Level.BAD


def test_an_old_python(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 4))
    finding = only(doctor_python.check_python())
    assert finding.level is Level.BAD
    assert "3.11 or newer" in finding.fix


# -- disks ----------------------------------------------------------------------------------------------------------------


def test_a_folder_with_room(tmp_path):
    finding = only(check_machine.check_disk("runs", tmp_path / "not" / "made"))
    assert finding.level is Level.GOOD, finding
    assert "(not made yet)" in finding.text
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("")
    finding = only(check_machine.check_disk("runs", file))
    assert finding.level is Level.BAD
    assert "--runs DIR" in finding.fix
    monkeypatch.setattr(check_machine, "unwritable", lambda _: "read-only file system")
    assert "can't be written: read-only file system" in only(check_machine.check_disk("cache", tmp_path)).text


@pytest.mark.parametrize(("free", "level"), [(10**8, Level.BAD), (10**9, Level.NOTE), (10**10, Level.GOOD)])
def test_little_room(tmp_path, monkeypatch, free, level):
    usage = type("usage", (), {"free": free, "total": 10**11})
    monkeypatch.setattr(check_machine.shutil, "disk_usage", lambda _: usage)
    assert only(check_machine.check_disk("runs", tmp_path)).level is level


def test_quotas(program):
    assert list(check_machine.check_quota()) == []
    rows = "srv:/home 23838844* 25000000 100000000 1793200000 12345 0 0 0\n/dev/sda1 12 0 0 0 3 0 0 0\nnfs:/big 1000 0 9000000 0 1 0 0 0"
    program(
        "quota",
        f"echo 'Disk quotas for user ada (uid 1000):\n  Filesystem  blocks   quota   limit   grace\n{rows}'; exit 1",
    )
    home, big = check_machine.check_quota()
    assert (home.level, big.level) == (Level.NOTE, Level.GOOD)
    assert home.facts["used_bytes"] == 23838844 * 1024
    assert home.text == "24.4 GB of 25.6 used on srv:/home"


# -- schedulers -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("program")
def test_no_scheduler():
    assert only(check_machine.check_schedulers()).text == "none: jobs run on this machine"


def test_oar(program, monkeypatch, tmp_path):
    monkeypatch.delenv("OAR_JOB_ID", raising=False)
    program("oarsub", "")
    program("oarstat", "")
    assert only(check_machine.check_schedulers()).facts["answers"] is True
    monkeypatch.setenv("OAR_JOB_ID", "42")
    monkeypatch.delenv("OAR_NODEFILE", raising=False)
    assert "outside of any job" in only(check_machine.check_schedulers()).text, "set by hand, or left from a job"
    (tmp_path / "nodes").write_text(f"{socket.gethostname()}\n")
    monkeypatch.setenv("OAR_NODEFILE", str(tmp_path / "nodes"))
    assert "this is job 42" in only(check_machine.check_schedulers()).text
    program("oarstat", "echo '[IOlib] Cannot connect to database' >&2; exit 13")
    finding = only(check_machine.check_schedulers())
    assert (finding.level, finding.facts["answers"]) == (Level.NOTE, False)
    assert "Cannot connect to database" in finding.text


def test_settings_with_two_numbers_of_gpus_are_told_of(program, monkeypatch):
    program("oarsub", "")
    program("oarstat", "")
    both = Settings(resources="/host=1/gpu=2", gpus_per_node=1)
    monkeypatch.setattr(check_machine, "_settings", lambda: both)
    assert (
        "no job is sent: gpus_per_node is 1 in the settings, and 2 GPUs" in only(check_machine.check_schedulers()).text
    )


def test_a_server_that_hangs(program, monkeypatch):
    monkeypatch.setattr(check_machine, "SCHEDULER_SECONDS", 1.0)
    program("oarsub", "")
    program("oarstat", "sleep 30")
    assert "gives no answer to `oarstat -u" in only(check_machine.check_schedulers()).text


def test_slurm(program):
    program("sbatch", "")
    assert "scontrol: " in only(check_machine.check_schedulers()).text  # The command itself is missing.
    program("scontrol", "echo 'Slurmctld(primary) at head is UP'")
    program("sacct", "echo 'Slurm accounting storage is disabled' >&2; exit 1")
    finding = only(check_machine.check_schedulers())
    assert finding.level is Level.GOOD
    assert "without accounting" in finding.text
    program("scontrol", "echo 'Slurmctld(primary) at head is DOWN'")
    assert "is down: Slurmctld(primary) at head is DOWN" in only(check_machine.check_schedulers()).text


@pytest.mark.parametrize(
    ("scheduler", "line", "said"),
    [
        ("slurm", 'options = ["--time=8:00:00"]', "sets --time of sbatch"),
        ("oar", 'options = ["-l walltime=8"]', "take it out of options"),
        ("oar", 'resources = "-l /host=1"', "begins with -l"),
        ("slurm", "", "sets --array of sbatch"),
    ],
)
def test_what_no_job_is_sent_with(program, monkeypatch, tmp_path, scheduler, line, said):
    (tmp_path / "config.toml").write_text(line)
    monkeypatch.setenv("GANHPC_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("HOME", str(tmp_path))
    if not line:
        (tmp_path / ".slurm").mkdir()
        (tmp_path / ".slurm" / "defaults").write_text("array=0-3\n")
    for name in {"slurm": ["sbatch", "scontrol"], "oar": ["oarsub", "oarstat"]}[scheduler]:
        program(name, "echo head is UP")
    finding = only(check_machine.check_schedulers())
    assert finding.level is Level.NOTE and finding.facts["answers"] is True
    assert "answers, and no job is sent: " in finding.text and said in finding.text


# -- the time zone --------------------------------------------------------------------------------------------------------


@pytest.fixture
def system(monkeypatch):
    """Set the system's zone and TZ."""

    def set_to(name: str | None, tz: str | None = None) -> None:
        monkeypatch.setattr(check_machine, "system_zone", lambda: name)
        if tz is None:
            monkeypatch.delenv("TZ", raising=False)
        else:
            monkeypatch.setenv("TZ", tz)

    return set_to


@pytest.mark.usefixtures("program")
def test_zones_that_are_good(system):
    system("Etc/UTC")
    assert only(check_machine.check_time_zone(None)).text.startswith("Etc/UTC, now ")
    system("Europe/Paris", tz=":Europe/Brussels")
    assert only(check_machine.check_time_zone(None)).level is Level.GOOD
    system("Etc/UTC")
    assert "(the system is on Etc/UTC)" in only(check_machine.check_time_zone("Europe/Paris")).text
    system(None)
    assert only(check_machine.check_time_zone(None)).level is Level.GOOD


def test_zones_worth_a_look(program, system):
    system("Etc/UTC", tz="Europe/Pari")
    assert "TZ='Europe/Pari' names no zone" in only(check_machine.check_time_zone(None)).text
    system("Etc/UTC", tz="Europe/Paris")
    assert "the system is on Etc/UTC, which OAR goes by" in only(check_machine.check_time_zone(None)).text
    program("oarsub", "")
    system("Etc/UTC")
    finding = only(check_machine.check_time_zone(None))
    assert 'time_zone = "Europe/Paris"' in finding.fix
    assert only(check_machine.check_time_zone("Europe/Paris")).level is Level.GOOD


def test_zones_agree_by_what_they_show_all_year():
    winter = dt.datetime(2026, 12, 1, tzinfo=dt.UTC)
    assert check_machine._agree("Etc/UTC", "UTC", winter)
    assert not check_machine._agree("Europe/Paris", "Africa/Lagos", winter)  # The same in winter only.


def test_the_systems_zone_is_found():
    name = check_machine.system_zone()
    assert check_machine._zone(name) if name else not Path("/etc/timezone").exists()
