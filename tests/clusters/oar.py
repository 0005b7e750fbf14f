"""A real OAR 2.5 on this machine: PostgreSQL, the OAR server, and its own sshd as two nodes.

    python -m tests.clusters.oar up
    python -m tests.clusters.oar down

OAR's programs read /etc/oar/oar.conf and nothing else, so that file is replaced while the cluster is up; `down` puts
the original back. The database is private (own folder, own port).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pwd
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.clusters import daemons, machine
from tests.clusters.daemons import Process
from tests.clusters.machine import STATE, ClusterError, wait_until

COMMANDS = ("oarsub", "oarstat", "oar-database", "Almighty", "pg_createcluster", "sshd")
CONF = Path("/etc/oar/oar.conf")
SERVER, HOSTS, CORES = "oar-server", ("oar1", "oar2"), 4  # names and sizes are pretended, as is one GPU a core
GPU_MODEL = "GTX 1080 Ti"
SERVER_PORT, SSH_PORT, SQL_PORT, SMTP_PORT = 6666, 6667, 15433, 15434
PROPERTIES = (("cpu", "core", "gpu", "gpu_count"), ("host", "cluster", "gpu_model"))  # numbers, then text

# oarsh and the shell at its other end read oar.conf as bash: this line makes oarsh arrive as the job's user, as it
# does with cpusets, rather than as oar
OARSH_USER = 'export OAR_JOB_USER="${OAR_JOB_USER:-$OARDO_USER}"\n'


@dataclass(frozen=True)
class Oar:
    """The one OAR of this machine; `up` and `down` are idempotent."""

    name: str = "oar"

    @property
    def state(self) -> Path:
        return STATE / self.name

    @property
    def original(self) -> Path:
        """The owner's oar.conf, for as long as ours is in its place."""
        return STATE / "oar.conf.original"

    def as_user(self, cmd: Sequence[str | Path], **options: object) -> subprocess.CompletedProcess[str]:
        """`machine.as_user`; OAR's commands need no variable."""
        return machine.as_user(cmd, **options)  # type: ignore[arg-type]

    def nudge(self) -> None:
        """Make the server look at its jobs now: without an event it does so once a minute, and starts them late."""
        self._tool("oarnotify")

    # ------------------------------------------------------------------------------------------------------------ up

    def up(self) -> Oar:
        """Bring OAR up, from whatever an earlier attempt has left; returns once every resource is Alive.

        Raises ClusterError, with the end of the logs, when something does not come up within its time.
        """
        if reason := machine.why_not(COMMANDS):
            raise ClusterError(f"OAR {reason}")
        with machine.locked(self.name):
            self._clear()
            try:
                self._start()
            except (ClusterError, subprocess.SubprocessError) as error:
                logs = self.logs()
                self._clear()
                raise ClusterError(f"OAR did not come up: {error}\n{logs}") from error
        return self

    def _start(self) -> None:
        machine.account()
        for port in (SERVER_PORT, SSH_PORT, SQL_PORT):
            if machine.port_open(port):
                raise ClusterError(f"port {port} is taken: is another OAR running here? stop it first")
        (self.state / "log").mkdir(mode=0o755, parents=True)
        for folder in ("log", "run"):
            (self.state / folder).mkdir(mode=0o755, exist_ok=True)
            shutil.chown(self.state / folder, "oar", "oar")
        machine.set_hosts(self.name, f"127.0.0.1 {SERVER} {' '.join(HOSTS)}")
        password = secrets.token_hex(8)
        self._start_postgres(password)
        self._write_conf(password)
        self._tool("oar-database", "--create", "--db-admin-user=postgres", f"--db-admin-pass={password}")
        self._start_node()
        daemons.start(self.name, ["Almighty"], self.state / "log" / "Almighty.out")
        wait_until(lambda: machine.port_open(SERVER_PORT), 120, "OAR's server")
        self._add_resources()
        wait_until(lambda: self._tool("oarnodes", "-s").count(": Alive") == len(HOSTS) * CORES, 120, "live nodes")

    def _start_postgres(self, password: str) -> None:
        data, secret = self.state / "postgres", self.state / "password"
        data.mkdir(mode=0o700)
        secret.touch(mode=0o600)
        secret.write_text(password)
        for path in (data, secret):
            shutil.chown(path, "postgres", "postgres")
        (programs,) = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]
        subprocess.run(
            [programs / "initdb", f"--pgdata={data}", "--auth=scram-sha-256", f"--pwfile={secret}", "--no-sync",
             "--no-locale", "--encoding=UTF8"],
            user="postgres", group="postgres", extra_groups=[], cwd="/", check=True, capture_output=True, timeout=240,
        )  # fmt: skip
        options = ("listen_addresses=127.0.0.1", f"unix_socket_directories={data}", "fsync=off")
        command: list[str | Path] = [programs / "postgres", "-D", data, "-p", str(SQL_PORT)]
        command += [word for option in options for word in ("-c", option)]
        daemons.start(self.name, command, self.state / "log" / "postgres.out", "postgres")
        ready = ["pg_isready", "--quiet", "--host=127.0.0.1", f"--port={SQL_PORT}"]
        wait_until(lambda: subprocess.run(ready, timeout=60).returncode == 0, 120, "PostgreSQL")

    def _write_conf(self, password: str) -> None:
        if not self.original.exists():  # after a crash ours is still in place: keep the owner's
            copy = self.original.with_suffix(".copy")
            copy.touch(mode=0o600)
            copy.write_text(CONF.read_text())
            copy.rename(self.original)
        settings = {
            "DB_HOSTNAME": "127.0.0.1",
            "DB_PORT": SQL_PORT,
            "DB_BASE_PASSWD": password,
            "DB_BASE_PASSWD_RO": password,
            "SERVER_HOSTNAME": SERVER,
            "SERVER_PORT": SERVER_PORT,
            "LOG_FILE": self.state / "log" / "oar.log",
            "OAR_RUNTIME_DIRECTORY": self.state / "run",
            "SCHEDULER_MIN_TIME_BETWEEN_2_CALLS": 0,  # 5 s unless stated: only makes jobs start sooner
            "WALLTIME_CHANGE_ENABLED": "YES",
            "WALLTIME_MIN_FOR_CHANGE": 0,
            "WALLTIME_MAX_INCREASE": -1,
            "MAIL_SMTP_SERVER": f"127.0.0.1:{SMTP_PORT}",  # where a test may listen; mail is lost otherwise
            "MAIL_SENDER": "oar@localhost",
            "OARSH_BYPASS_WHOLE_SECURITY": 1,  # without cpusets oarsh would let nobody in
        }
        # no cpusets: they need cgroups that a container may not have
        text = re.sub(r"(?m)^(?=JOB_RESOURCE_MANAGER_PROPERTY_DB_FIELD)", "#", self.original.read_text())
        for key, value in settings.items():
            text = re.sub(rf"(?m)^{key}=.*\n", "", text) + f'{key}="{value}"\n'
        _replace(CONF, text + OARSH_USER)

    def _start_node(self) -> None:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        options = ("ListenAddress=127.0.0.1", f"PidFile={self.state}/sshd.pid")
        command = ["/usr/sbin/sshd", "-D", "-f", "/etc/oar/sshd_config"]
        command += [word for option in options for word in ("-o", option)]
        daemons.start(self.name, command, self.state / "log" / "sshd.out")
        wait_until(lambda: machine.port_open(SSH_PORT), 120, "OAR's sshd")

    def _add_resources(self) -> None:
        numbers, texts = PROPERTIES
        self._tool("oarproperty", *(word for name in numbers for word in ("-a", name)))
        self._tool("oarproperty", "-c", *(word for name in texts for word in ("-a", name)))
        for index, host in enumerate(HOSTS):
            for slot in range(CORES):
                core = index * CORES + slot + 1
                values = {"host": host, "cluster": "test", "cpuset": slot, "cpu": index + 1, "core": core}
                values |= {"gpu": core, "gpu_count": CORES, "gpu_model": GPU_MODEL}
                properties = (word for key, value in values.items() for word in ("-p", f"{key}={value}"))
                self._tool("oarnodesetting", "-a", "-h", host, *properties)

    def heal(self) -> None:
        """Put nodes that a job has made Suspected back into service."""
        for host in HOSTS:
            self._tool("oarnodesetting", "-s", "Alive", "-h", host)

    def suspected(self) -> int:
        """How many resources a job has put out of service."""
        return self._tool("oarnodes", "-s").count("Suspected")

    @contextlib.contextmanager
    def admission_rule(self, perl: str) -> Iterator[None]:
        """A further admission rule for the length of a block: it goes behind the others, and may change what was asked."""
        file = self.state / "rule.pl"
        file.write_text(perl + "\n")
        made = self._tool("oaradmissionrules", "--new", "--enabled", "--priority", "90", "--from-file", str(file))
        (number,) = re.findall(r"\d+", made)
        try:
            yield
        finally:
            self._tool("oaradmissionrules", "--delete", number)

    def _tool(self, *cmd: str) -> str:
        """Standard output of one of OAR's own tools, run as root; ClusterError when it fails."""
        done = subprocess.run(cmd, capture_output=True, text=True, timeout=240, cwd="/")
        if done.returncode != 0:
            raise ClusterError(f"{cmd[0]} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    # ---------------------------------------------------------------------------------------------------------- down

    def down(self) -> None:
        """End all daemons and jobs, remove all files, give back the owner's oar.conf; nothing to do is fine."""
        with machine.locked(self.name):
            self._clear()

    def _clear(self) -> None:
        if self.state.exists() or self.original.exists():  # else an OAR that runs here is not ours to end
            daemons.end(self.name, self.is_ours, grace=3)  # PostgreSQL ended by KILL would leave shared memory behind
        machine.set_hosts(self.name, None)
        if self.original.exists():
            _replace(CONF, self.original.read_text())
            self.original.unlink()
        shutil.rmtree(self.state, ignore_errors=True)

    def is_ours(self, process: Process) -> bool:
        """Beside marked processes: sshd overwrites its environment, oarexec runs as oar, and a job as our user."""
        sshd = process.exe.endswith("/sshd") and f"{self.state}/" in process.command
        job = process.uid == machine.account().pw_uid and "OAR_JOB_ID" in process.env
        return sshd or job or process.uid == pwd.getpwnam("oar").pw_uid

    def logs(self, size: int = 1500) -> str:
        """The end of every log, for error messages."""
        files = sorted((self.state / "log").glob("*"))
        return "\n".join(f"--- {file.name}\n{file.read_text(errors='replace')[-size:]}" for file in files)


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all, keeping its owner and mode: oar.conf holds a password."""
    old, new = path.stat(), path.with_name(f"{path.name}.new")
    new.touch(mode=0o600)
    os.chown(new, old.st_uid, old.st_gid)
    new.write_text(text)
    new.chmod(old.st_mode & 0o777)
    new.rename(path)


@contextlib.contextmanager
def cluster() -> Iterator[Oar]:
    """An OAR that is up inside the block and gone after it."""
    oar = Oar()
    with machine.in_use(oar.name):
        try:
            yield oar.up()
        finally:
            oar.down()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.clusters.oar", description="A real OAR on this machine.")
    parser.add_argument("action", choices=["up", "down"])
    try:
        with machine.in_use("oar", patience=0):
            getattr(Oar(), parser.parse_args().action)()
    except ClusterError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
