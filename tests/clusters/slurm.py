"""A real Slurm on this machine: munged, slurmctld, two slurmd, and slurmdbd with MariaDB unless told otherwise.

    python -m tests.clusters.slurm up [--no-accounting]      # prints the variable that the commands need
    python -m tests.clusters.slurm down [--no-accounting]

All of it is private (own folder, own ports, own munge key): a Slurm of the machine's owner is not touched. The two
kinds, with accounting and without, may be up at the same time.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.clusters import daemons, machine
from tests.clusters.daemons import Process
from tests.clusters.machine import STATE, ClusterError, wait_until

COMMANDS = ("munged", "slurmctld", "slurmd", "sbatch")
ACCOUNTING_COMMANDS = ("slurmdbd", "mariadbd", "mariadb-install-db")
NODES, CPUS, MEMORY_MB = 2, 4, 8000  # declared, not real: enough for two nodes with two tasks each
PATIENCE = 120  # seconds for the nodes to be idle
CLUSTER = "linux"  # as unconfigured sites have it: both of ours share the name, and are told apart by their servers
PASSWORD = "test"  # of a database that listens on 127.0.0.1 only and lives as long as the cluster

CONF = """\
ClusterName={name}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
AuthType=auth/munge
# a requeued job is held back for as long as credentials live: 120 s unless stated
AuthInfo=socket={state}/munge/socket,cred_expire=5
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
ReturnToService=2
MpiDefault=none
MailProg=/bin/true
# a partition of a lower tier makes room, in its own way
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=5
# an ended job is forgotten after five minutes unless stated: tests look at theirs last
MinJobAge=86400
SchedulerParameters=sched_interval=5,bf_interval=5
SlurmdParameters=config_overrides
StateSaveLocation={state}/ctld
SlurmdSpoolDir={state}/spool-%n
SlurmctldPidFile={state}/slurmctld.pid
SlurmdPidFile={state}/slurmd-%n.pid
SlurmctldLogFile={state}/log/slurmctld
SlurmdLogFile={state}/log/slurmd-%n
{accounting}
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
WITH_ACCOUNTING = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={dbd_port}
AccountingStoragePass={state}/munge/socket
JobAcctGatherType=jobacct_gather/none"""
DBD_CONF = """\
AuthType=auth/munge
AuthInfo=socket={state}/munge/socket
DbdHost=localhost
DbdPort={dbd_port}
SlurmUser=root
LogFile={state}/log/slurmdbd
PidFile={state}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={sql_port}
StorageUser=slurm
StoragePass={password}
StorageLoc=slurm_acct_db
"""


@dataclass(frozen=True)
class Slurm:
    """Names, folder and ports of one of the two kinds; `up` and `down` are idempotent."""

    accounting: bool = True

    @property
    def name(self) -> str:
        return "slurm" if self.accounting else "slurm-bare"

    @property
    def state(self) -> Path:
        return STATE / self.name

    @property
    def conf(self) -> Path:
        return self.state / "slurm.conf"

    @property
    def env(self) -> dict[str, str]:
        """What a user's environment needs for sbatch, squeue and the rest to find this cluster."""
        return {"SLURM_CONF": str(self.conf)}

    @property
    def port(self) -> int:
        """The first of the cluster's ports: slurmctld, slurmdbd, MariaDB, then one a node."""
        return 16810 if self.accounting else 16910

    @property
    def nodes(self) -> list[str]:
        return [f"{self.name}{number}" for number in range(1, NODES + 1)]

    def as_user(self, cmd: Sequence[str | Path], **options: object) -> subprocess.CompletedProcess[str]:
        """`machine.as_user` with SLURM_CONF set."""
        env = self.env | dict(options.pop("env", None) or {})  # type: ignore[call-overload]
        return machine.as_user(cmd, env=env, **options)  # type: ignore[arg-type]

    # ------------------------------------------------------------------------------------------------------------ up

    def up(self) -> Slurm:
        """Bring the cluster up, from whatever an earlier attempt has left; returns once every node is idle.

        Raises ClusterError, with the end of the logs, when something does not come up within its time.
        """
        needed = COMMANDS + (ACCOUNTING_COMMANDS if self.accounting else ())
        if reason := machine.why_not(needed):
            raise ClusterError(f"Slurm {reason}")
        with machine.locked(self.name):
            self._clear()
            try:
                self._start()
            except (ClusterError, subprocess.SubprocessError) as error:
                logs = self.logs()
                self._clear()
                raise ClusterError(f"Slurm did not come up: {error}\n{logs}") from error
        return self

    def _start(self) -> None:
        machine.account()
        for folder in ("", "munge", "log", "ctld", *(f"spool-{node}" for node in self.nodes)):
            (self.state / folder).mkdir(mode=0o755, parents=True)
        machine.set_hosts(self.name, "127.0.0.1 " + " ".join(self.nodes))
        self._write_conf()
        self._start_munge()
        if self.accounting:
            self._start_accounting()
        self._daemon("slurmctld", "-D")
        for node in self.nodes:
            self._daemon("slurmd", "-D", "-N", node, log=f"slurmd-{node}")
        wait_until(self._idle, PATIENCE, "two idle nodes")

    def _idle(self) -> bool:
        states = self._ask("sinfo", "--noheader", "--Node", "--format=%T").split()
        return states == ["idle"] * NODES

    def _ask(self, *cmd: str) -> str:
        """Standard output of a Slurm command, empty where it fails; none may hang us."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            done = subprocess.run(cmd, env=os.environ | self.env, capture_output=True, text=True, timeout=10)
            if done.returncode == 0:
                return done.stdout
        return ""

    def _daemon(self, program: str, *words: str, log: str | None = None, user: str = "root") -> None:
        out = self.state / "log" / f"{log or program}.out"
        daemons.start(self.name, [program, *words], out, user, **self.env)

    def _write_conf(self) -> None:
        names = {"state": self.state, "dbd_port": self.port + 1, "sql_port": self.port + 2, "password": PASSWORD}
        accounting = (
            WITH_ACCOUNTING.format(**names) if self.accounting else "AccountingStorageType=accounting_storage/none"
        )
        host = socket.gethostname().partition(".")[0]
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={self.port + 3 + index} "
            f"CPUs={CPUS} RealMemory={MEMORY_MB} Gres=gpu:2"
            for index, node in enumerate(self.nodes)
        )
        conf = CONF.format(name=CLUSTER, host=host, port=self.port, accounting=accounting, nodes=nodes, **names)
        self.conf.write_text(conf)
        # the device files only give the two pretended GPUs their indices, for CUDA_VISIBLE_DEVICES
        (self.state / "gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")
        dbd = self.state / "slurmdbd.conf"
        dbd.touch(mode=0o600)  # slurmdbd refuses one that others can read
        dbd.write_text(DBD_CONF.format(**names))

    def _start_munge(self) -> None:
        folder = self.state / "munge"
        key = folder / "key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(128))
        files = {"key-file": key, "socket": folder / "socket", "pid-file": folder / "pid", "seed-file": folder / "seed"}
        self._daemon(
            "munged", "--foreground", f"--log-file={self.state}/log/munged", "--num-threads=10",
            *(f"--{option}={path}" for option, path in files.items()),
        )  # fmt: skip
        wait_until((folder / "socket").exists, 120, "munged's socket")

    def _start_accounting(self) -> None:
        data, sock = self.state / "mariadb", self.state / "mariadb" / "sock"
        data.mkdir()
        shutil.chown(data, "mysql", "mysql")
        common = ("--no-defaults", f"--datadir={data}", "--user=mysql", "--innodb-log-file-size=4M")
        install = ("mariadb-install-db", *common, "--skip-test-db", "--auth-root-authentication-method=normal")
        subprocess.run(install, check=True, capture_output=True, timeout=240)
        self._daemon(
            "mariadbd", *common, f"--socket={sock}", f"--port={self.port + 2}", "--bind-address=127.0.0.1",
            f"--pid-file={data}/pid", "--skip-log-bin", "--innodb-flush-log-at-trx-commit=0",
            "--innodb-buffer-pool-size=32M", "--innodb-lock-wait-timeout=900",
        )  # fmt: skip
        wait_until(lambda: machine.port_open(self.port + 2), 120, "MariaDB")
        sql = (
            "create database slurm_acct_db; "
            f"create user slurm@'%' identified by '{PASSWORD}'; grant all on slurm_acct_db.* to slurm@'%'"
        )
        subprocess.run(
            ["mariadb", "--no-defaults", f"--socket={sock}", "--user=root", f"--execute={sql}"],
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip
        self._daemon("slurmdbd", "-D")
        wait_until(lambda: machine.port_open(self.port + 1), 120, "slurmdbd")
        # slurmctld must find its cluster there when it starts
        wait_until(lambda: self._ask("sacctmgr", "-i", "add", "cluster", CLUSTER), 120, "the cluster's accounting")

    @contextlib.contextmanager
    def submit_plugin(self, lua: str) -> Iterator[None]:
        """A job_submit plugin for the length of a block: it may change what was asked."""
        (self.state / "job_submit.lua").write_text(lua)
        with self.configured(JobSubmitPlugins="lua"):
            yield

    @contextlib.contextmanager
    def configured(self, **lines: str) -> Iterator[None]:
        """Other lines of slurm.conf for the length of a block."""
        before = self.conf.read_text()
        kept = [line for line in before.splitlines() if line.partition("=")[0] not in lines]
        try:
            self.conf.write_text("\n".join([*kept, *(f"{key}={value}" for key, value in lines.items())]) + "\n")
            self._reconfigure()
            yield
        finally:
            self.conf.write_text(before)
            self._reconfigure()

    def _reconfigure(self) -> None:
        subprocess.run(
            ["scontrol", "reconfigure"], env=os.environ | self.env, check=True, capture_output=True, timeout=120
        )

    # ---------------------------------------------------------------------------------------------------------- down

    def down(self) -> None:
        """End all daemons and jobs and remove all files; nothing to do is fine."""
        with machine.locked(self.name):
            self._clear()

    def _clear(self) -> None:
        daemons.end(self.name, self.is_ours)
        machine.set_hosts(self.name, None)
        shutil.rmtree(self.state, ignore_errors=True)

    def is_ours(self, process: Process) -> bool:
        """Beside marked processes: slurmstepd wipes its environment, jobs have their user's."""
        step = process.exe.endswith("/slurmstepd") and process.cwd.startswith(f"{self.state}/")
        return step or (process.env.get("SLURM_CONF") == str(self.conf) and "SLURM_JOB_ID" in process.env)

    def logs(self, size: int = 1500) -> str:
        """The end of every log, for error messages."""
        files = sorted((self.state / "log").glob("*"))
        return "\n".join(f"--- {file.name}\n{file.read_text(errors='replace')[-size:]}" for file in files)


@contextlib.contextmanager
def cluster(accounting: bool = True) -> Iterator[Slurm]:
    """A Slurm that is up inside the block and gone after it."""
    slurm = Slurm(accounting)
    with machine.in_use(slurm.name):
        try:
            yield slurm.up()
        finally:
            slurm.down()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.clusters.slurm", description="A real Slurm on this machine.")
    parser.add_argument("action", choices=["up", "down"])
    parser.add_argument("--no-accounting", action="store_true", help="without slurmdbd: no sacct")
    words = parser.parse_args()
    slurm = Slurm(accounting=not words.no_accounting)
    try:
        with machine.in_use(slurm.name, patience=0):
            getattr(slurm, words.action)()
    except ClusterError as error:
        parser.exit(1, f"{error}\n")
    if words.action == "up":
        print("\n".join(f"export {name}={shlex.quote(value)}" for name, value in slurm.env.items()))


if __name__ == "__main__":
    main()
