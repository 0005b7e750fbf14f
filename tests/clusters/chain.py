"""A chain of one-minute segments on a cluster, beside one uninterrupted training of the same epochs. Started early, looked at last."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.clusters import machine
from tests.clusters.user import SMALL, User, read

SEGMENT_SECONDS = 45.0
"""What a job of one minute has for training, start-up and saving apart."""
WANTED_SEGMENTS = 3.6
"""How many such segments the training is to take while three of its kind share the machine; where it is busier, it takes more."""
MOST_SEGMENTS = 10
TRIAL_EPOCHS = 40


class Reference:
    """The same training without a scheduler, never interrupted."""

    def __init__(self, user: User):
        trial = ("--epochs", str(TRIAL_EPOCHS), "--seeds", "1", "--on", "local")
        with ThreadPoolExecutor() as pool:  # as many as will train at once: the two chains and this
            for done in pool.map(lambda seed: user.run(*SMALL, *trial, "--seed", str(seed)), (1, 2, 3)):
                assert done.returncode == 0, done.stderr
        runs = (user.folder / "runs" / "cifar").iterdir()
        each = max(read(run / "result.json")["train_seconds"] for run in runs) / TRIAL_EPOCHS
        self.epochs = max(TRIAL_EPOCHS, int(WANTED_SEGMENTS * SEGMENT_SECONDS / each))
        self.runs = user.folder / "reference"
        command = [user.python, user.checkout / "launch.py", *SMALL, "--epochs", str(self.epochs), "--on", "local"]
        account = machine.account()
        env = machine.user_env({"GANHPC_CONFIG": "/dev/null", "OMP_NUM_THREADS": "1"}, user.folder)
        self.child = subprocess.Popen(
            [*map(str, command), "--runs", str(self.runs)], env=env, cwd=user.folder,
            user=account.pw_uid, group=account.pw_gid, extra_groups=[],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def weights(self) -> str:
        """The checksum of its final weights, once it has ended."""
        assert self.child.wait(420) == 0
        (run,) = (self.runs / "cifar").iterdir()
        return str(read(run / "result.json")["weights_sha256"])


class Chain:
    """One-minute jobs behind one another until the epochs are made."""

    def __init__(self, user: User, reference: Reference):
        self.user, self.reference = user, reference
        segments = ("--segments", str(MOST_SEGMENTS))
        self.run: Path = user.launch("--epochs", str(reference.epochs), *segments, policy="minute")

    def check(self) -> None:
        """It ends in at least three segments, with the weights of the uninterrupted training."""
        self.user.wait(self.run, ("done",), 420)
        result = read(self.run / "result.json")
        assert result["segments"] >= 3, f"{self.reference.epochs} epochs were too few for three segments"
        assert result["epochs"] == self.reference.epochs
        assert result["weights_sha256"] == self.reference.weights()
        log = (self.run / "log.txt").read_text()
        assert log.count("out of time: the job ends") == result["segments"] - 1
        assert result["startup_seconds"] > 0, "what the segments cost beside training is reported"
