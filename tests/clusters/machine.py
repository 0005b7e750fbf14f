"""What both clusters need of the machine: a user, a folder for their state, locks.

Everything here needs root: the schedulers run jobs as another user. Nothing here knows ganhpc.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

USER = "ganhpc-test"
STATE = Path("/var/lib/ganhpc-clusters")  # its parent belongs to root, so no other user can plant files in it
INSTALL = "sh tests/clusters/install.sh"


class ClusterError(RuntimeError):
    """A cluster can't be brought up here, or one of its commands failed."""


def missing(commands: Iterable[str]) -> list[str]:
    """The commands that this machine lacks; sbin is searched too, whatever the caller's PATH."""
    path = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"
    return [command for command in commands if shutil.which(command, path=path) is None]


def why_not(commands: Iterable[str]) -> str | None:
    """One sentence that says why a cluster can't run here and what to type, or None when it can."""
    if os.geteuid() != 0:
        return "needs root, since jobs run as another user; run the tests as root"
    if lacking := missing(commands):
        return f"{', '.join(lacking)} not installed; run `{INSTALL}` as root on Debian 12"
    return None


# ---------------------------------------------------------------------------------------------- the user of the jobs


def account() -> pwd.struct_passwd:
    """The test user, who is created when missing: an ordinary one with a home folder (OAR refuses jobs of root)."""
    try:
        return pwd.getpwnam(USER)
    except KeyError:
        subprocess.run(["useradd", "--create-home", "--shell", "/bin/bash", USER], check=True, capture_output=True)
        return pwd.getpwnam(USER)


def home() -> Path:
    """The home folder of the test user."""
    return Path(account().pw_dir)


def user_env(env: Mapping[str, str] | None = None, cwd: Path | str | None = None) -> dict[str, str]:
    """The environment of a fresh login of the test user, plus `env`. PWD is set because oarsub believes it."""
    folder = home()
    own = {
        "HOME": str(folder),
        "USER": USER,
        "LOGNAME": USER,
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "PWD": str(cwd or folder),
    }
    return own | dict(env or {})


def as_user(
    cmd: Sequence[str | Path],
    env: Mapping[str, str] | None = None,
    cwd: Path | str | None = None,
    *,
    check: bool = False,
    timeout: float = 180,
) -> subprocess.CompletedProcess[str]:
    """Run `cmd` as the test user, as if he had just logged in; stdout and stderr are captured as text.

    With `check`, a non-zero exit raises ClusterError with all that was printed. A command that hangs for
    `timeout` seconds is killed and raises subprocess.TimeoutExpired.
    """
    user = account()
    done = subprocess.run(
        [str(word) for word in cmd],
        user=user.pw_uid,
        group=user.pw_gid,
        extra_groups=[],
        umask=0o022,
        env=user_env(env, cwd),
        cwd=cwd or user.pw_dir,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="surrogateescape",  # names of jobs and folders may be any bytes
        timeout=timeout,
    )
    if check and done.returncode != 0:
        raise ClusterError(f"{cmd} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done


def give(path: Path) -> Path:
    """Hand a file or folder, with all that is in it, to the test user."""
    subprocess.run(["chown", "-R", f"{account().pw_name}:", str(path)], check=True)
    return path


def remove(path: Path) -> None:
    """Remove a folder in the test user's home."""
    shutil.rmtree(path, ignore_errors=True)


def readable_copy(checkout: Path, name: str = "checkout") -> Path:
    """Copy the files of a git checkout (tracked, or new and not ignored) to the test user's home, and give them to him.

    A checkout may lie in a folder that only root can enter; jobs need one which they can read.
    """
    # the checkout may belong to someone else: git refuses that unless told on the command line
    git = ["git", "-c", f"safe.directory={checkout.resolve()}", "-C", str(checkout)]
    wanted = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run([*git, *wanted], check=True, capture_output=True)
    target = home() / name
    shutil.rmtree(target, ignore_errors=True)
    for relative in filter(None, os.fsdecode(listed.stdout).split("\0")):
        source = checkout / relative
        if source.is_symlink() or source.is_file():  # a deleted file is still listed, a submodule is a folder
            (target / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / relative, follow_symlinks=False)
    return give(target)


def readable_python(*modules: str) -> str:
    """The interpreter that runs the tests, once it is known that the test user can run it and import `modules`.

    Raises ClusterError, with what to do, where the interpreter or a module lies in a private folder.
    """
    return _runnable(os.environ.get("GANHPC_TEST_PYTHON", sys.executable), modules)


@functools.cache
def _runnable(python: str, modules: tuple[str, ...]) -> str:
    code = "".join(f"import {module}\n" for module in modules) or "pass"
    try:
        done = as_user(
            [python, "-c", code], timeout=600
        )  # a first import of torch reads gigabytes, beside whatever else runs
        reason = done.stderr.strip()
    except OSError as error:
        done, reason = None, str(error)
    if done is None or done.returncode != 0:
        raise ClusterError(
            f"user {USER} can't run {python} ({reason.splitlines()[-1] if reason else 'no message'}): make a virtual "
            "environment of /usr/bin/python3 in a folder that everyone can read, and set GANHPC_TEST_PYTHON to it"
        )
    return python


# ------------------------------------------------------------------------------------------------ waiting and locking


def wait_until(condition: Callable[[], object], seconds: float, what: str, pause: float = 0.1) -> object:
    """Ask until the answer is true, and return it; ClusterError after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        if answer := condition():
            return answer
        if time.monotonic() > end:
            raise ClusterError(f"{what} did not happen within {seconds:g} s")
        time.sleep(pause)


def port_open(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def locked(name: str, wait: bool = True) -> Iterator[None]:
    """Only one process at a time holds `name`; a second one waits, or gets BlockingIOError."""
    STATE.mkdir(mode=0o755, exist_ok=True)
    with (STATE / f"{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield


@contextlib.contextmanager
def in_use(name: str, patience: float = 600) -> Iterator[None]:
    """Hold the cluster `name` for a session of tests, so that no other brings it down meanwhile.

    Raises ClusterError, naming the process that holds it, when that has not let go after `patience` seconds.
    """
    with contextlib.ExitStack() as stack:
        holder = STATE / f"{name}-in-use.pid"
        limit = time.monotonic() + patience
        while True:
            try:
                stack.enter_context(locked(f"{name}-in-use", wait=False))
                break
            except BlockingIOError:
                if time.monotonic() >= limit:
                    who = holder.read_text() if holder.exists() else "unknown"
                    text = f"{name} is in use by process {who}, a session of tests: try again when that has ended"
                    raise ClusterError(text) from None
                time.sleep(1)
        holder.write_text(str(os.getpid()))
        yield


def set_hosts(tag: str, line: str | None) -> None:
    """Add a line to /etc/hosts under `tag`, or remove it. In place: in a container that file is a mount."""
    path, end = Path("/etc/hosts"), f"# ganhpc-clusters {tag}"
    with locked("hosts"):
        lines = [old for old in path.read_text().splitlines() if not old.endswith(end)]
        if line is not None:
            lines.append(f"{line} {end}")
        path.write_text("\n".join(lines) + "\n")
