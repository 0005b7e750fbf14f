"""Programs of users in one-minute jobs on a cluster, beside one another. Started early, looked at last."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.clusters import machine
from tests.clusters.user import RESOURCES, SETTINGS, User, read

SOURCES = Path(__file__).parents[1] / "program" / "programs"
NAMES = ("loop", "fit_lightning", "finetune")
STEPS = {"loop": 90, "fit_lightning": 230, "finetune": 230}
PAUSE = 1.0
"""Seconds of sleep in a step, so three segments at least: of a minute, or of two minutes for what loads large packages first, as in LONGER."""
LONGER = ("fit_lightning", "finetune", "torchrun")
PATIENCE = 1500.0


class Uninterrupted:
    """The same programs without a scheduler and without a pause."""

    def __init__(self, folder: Path, python: Path):
        self.folder, self.children = folder, {}
        for name in NAMES:
            out = folder / name
            out.mkdir(parents=True)
            words = [str(python), str(SOURCES / f"{name}.py"), "--out", str(out), "--steps", str(STEPS[name])]
            env = machine.user_env({"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}, folder)
            self.children[name] = subprocess.Popen(
                words, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )

    def end(self, name: str) -> Path:
        """The file of its final weights, once it has ended."""
        assert self.children[name].wait(PATIENCE) == 0
        return self.folder / name / "end.pt"


class Programs:
    """The four programs, submitted."""

    def __init__(self, user: User):
        self.user = user
        for name, longest in (("beside", "1m"), ("longer", "2m")):
            text = f'max_job = "{longest}"\ngap = "2s"\nmin_slot = "10s"\n'
            (user.folder / f"{name}.toml").write_text(text)
        for source in SOURCES.iterdir():
            if source.is_file():
                shutil.copy(source, user.folder)
        machine.give(user.folder)
        words = ("--out", "{checkpoints}", "--pause", str(PAUSE), "--steps")
        self.runs = {name: self._submit(name, "python", f"{name}.py", *words, str(STEPS[name])) for name in NAMES}
        self.runs["run"] = self._submit("run", "bash", "run.sh", "2000")
        if user.where == "oar":  # a core on each, beside the others
            (user.folder / "config.toml").write_text(SETTINGS + 'resources = "/host=2/core=1"\n')
        for name, options in PAIRS.items():
            self.runs[name] = self._submit(name, "bash", "-c", PAIR, str(SECONDS[name]), options=options)
        (user.folder / "config.toml").write_text(SETTINGS + RESOURCES[user.where])

    def _submit(self, name: str, *words: str, options: Sequence[str] = ()) -> Path:
        policy, time = ("longer.toml", "14m") if name in LONGER else ("beside.toml", "7m")
        options = (
            *options,
            "--time",
            time,
            "--name",
            f"{name} it's",
            "--device",
            "cpu",
            "--stop-before",
            "10s",
            "--on",
            self.user.where,
        )
        done = self.user.run("program", *options, "--policy", policy, "--json", "--", *words)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        tree: dict[str, Any] = json.loads(done.stdout)
        return self.user.folder / "runs" / "program" / str(tree["slots"][0]["run"])

    def check(self, whole: Uninterrupted) -> None:
        """Those that resume end as they would have in one piece; the script is told that it gets nowhere."""
        import torch

        for name in NAMES:
            self.user.wait(self.runs[name], ("done",), PATIENCE)
            result = read(self.runs[name] / "result.json")
            log = (self.runs[name] / "log.txt").read_text()
            assert result["segments"] >= 3 and result["ended_by"] == "program", log
            ours = torch.load(self.runs[name] / "checkpoints" / "end.pt", weights_only=True)
            theirs = torch.load(whole.end(name), weights_only=True)
            assert all(torch.equal(ours[key], theirs[key]) for key in theirs), log
        for name in PAIRS:
            self._check_pair(self.runs[name], SECONDS[name])
        seen = self.user.wait(self.runs["run"], ("crashed",), PATIENCE)
        assert "gets nowhere: 2 segments in a row" in seen["reason"]

    def _check_pair(self, run: Path, seconds: int) -> None:
        """A chain of segments on two nodes: each goes on, on both, where the one before was told to stop."""
        self.user.wait(run, ("done",), PATIENCE)
        result, log = read(run / "result.json"), (run / "log.txt").read_text()
        assert result["segments"] >= 2 and result["processes"] == 2 and result["ended_by"] == "program", log
        for rank in "01":
            assert (run / "checkpoints" / rank).read_text().split() == [str(seconds)], log
            begins = [int(line.split()[-1]) for line in log.splitlines() if line.startswith(f"rank {rank} begins")]
            saves = [int(line.split()[-1]) for line in log.splitlines() if line.startswith(f"rank {rank} saved")]
            assert begins == [0, *saves] and len(begins) == result["segments"], log


PAIR = """
at=$GANHPC_CHECKPOINTS/$RANK; n=$(cat $at 2>/dev/null || echo 0); echo "rank $RANK begins at $n"
trap 'echo $n > $at; echo "rank $RANK saved $n"; exit 75' TERM
while [ $n -lt $0 ]; do sleep 1; n=$((n + 1)); done; echo $n > $at
"""
PAIRS = {"pair": ("--nodes", "2"), "torchrun": ("--nodes", "2", "--launcher", "torchrun")}
SECONDS = {"pair": 70, "torchrun": 130}
"""Longer than a job."""
