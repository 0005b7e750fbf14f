"""A chain of one-minute segments on a cluster, beside one uninterrupted training of the same epochs. Started early, looked at last."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.clusters import machine
from tests.clusters.user import SMALL, User, read

EPOCHS = 130
"""Ten steps each, which sleep 0.1 s: more than two minutes of sleep alone, on the fastest machine. In jobs of one minute these are
three segments at least; on a slow or busy machine, more."""
MOST_SEGMENTS = 14
PATIENCE = 1200.0


class Reference:
    """The same training without a scheduler, never interrupted, and without a sleep."""

    def __init__(self, user: User):
        self.runs = user.folder / "reference"
        command = [user.python, user.checkout / "launch.py", *SMALL, "--epochs", str(EPOCHS), "--on", "local"]
        account = machine.account()
        env = machine.user_env({"GANHPC_CONFIG": "/dev/null", "OMP_NUM_THREADS": "1"}, user.folder)
        self.child = subprocess.Popen(
            [*map(str, command), "--runs", str(self.runs)], env=env, cwd=user.folder,
            user=account.pw_uid, group=account.pw_gid, extra_groups=[],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def weights(self) -> str:
        """The checksum of its final weights, once it has ended."""
        assert self.child.wait(PATIENCE) == 0
        (run,) = (self.runs / "paced").iterdir()
        return str(read(run / "result.json")["weights_sha256"])


class Chain:
    """One-minute jobs behind one another until the epochs are made."""

    def __init__(self, user: User, reference: Reference):
        self.user, self.reference = user, reference
        self.run: Path = user.launch("--epochs", str(EPOCHS), "--segments", str(MOST_SEGMENTS), policy="minute")

    def check(self) -> None:
        """It ends in at least three segments, with the weights of the uninterrupted training; what they cost is reported."""
        self.user.wait(self.run, ("done",), PATIENCE)
        result = read(self.run / "result.json")
        print(f"{self.user.where}: {', '.join(f'{key} {result[key]}' for key in COSTS)}")
        assert result["segments"] >= 3
        assert result["epochs"] == EPOCHS
        assert result["weights_sha256"] == self.reference.weights()
        assert "out of time: the job ends" in (self.run / "log.txt").read_text()
        assert result["startup_seconds"] > 0, "what the segments cost beside training is reported"
        assert result["lost_seconds"] < result["train_seconds"], "stopping saves: what is trained again is a small part"


COSTS = ("segments", "train_seconds", "startup_seconds", "lost_seconds")
