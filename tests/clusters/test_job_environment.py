"""Container, Conda environment, modules and mail in jobs on real schedulers, with small stand-ins for the programs of a site."""

from __future__ import annotations

import contextlib
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clusters import machine, oar, slurm
from tests.clusters.machine import wait_until
from tests.clusters.user import PATIENCE, User

pytestmark = pytest.mark.cluster

# A container has a python of its own, and knows one image.
CONTAINER = """\
#!/bin/bash
[ "$1 $2" = "exec --nv" ] || { echo "Usage: singularity exec [--nv] IMAGE COMMAND" >&2; exit 1; }
[ "$3" = "good image.sif" ] || { echo "FATAL: could not open image $3: no such file or directory" >&2; exit 255; }
echo "inside of $3" >&2
PATH="@bin:$PATH" exec "${@:4}"
"""
# `module` is a shell function, which a file of /etc/profile.d makes.
MODULES = """\
module() {
    [ "$1 $2" = "load conda/good" ] || { echo "ERROR: Unable to locate a modulefile for '$2'" >&2; return 1; }
    echo "module $2" >&2
    export PATH="@site:$PATH"
}
"""
# The hook of Conda makes a shell function, which puts the environment first on the PATH.
CONDA = """\
#!/bin/bash
cat <<'END'
conda() {
    [ "$1 $2" = "activate gan env" ] || { echo "EnvironmentNameNotFound: Could not find conda environment: $2" >&2; return 1; }
    echo "conda $2" >&2
    export PATH="@bin:$PATH"
}
END
"""
PROFILE = Path("/etc/profile.d/modules.sh")


@pytest.fixture(params=["slurm", "oar"])
def user(request: pytest.FixtureRequest, checkout: Path) -> Iterator[User]:
    cluster = request.getfixturevalue("slurm_bare" if request.param == "slurm" else "oar_cluster")
    made = User(request.param, cluster, checkout, f"environment {request.param}")
    programs = {
        "bin/python": f'#!/bin/sh\nexec "{made.python}" "$@"\n',
        "site/conda": CONDA,
        "site/singularity": CONTAINER,
    }
    for name, text in programs.items():
        file = made.folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text.replace("@bin", str(made.folder / "bin")))
        file.chmod(0o755)
    machine.give(made.folder)
    yield made
    made.close()


@contextlib.contextmanager
def modules(user: User) -> Iterator[None]:
    """The modules of a site, where the machine has none of its own."""
    if PROFILE.exists():
        pytest.fail(f"{PROFILE} is there: this machine has modules of its own")
    PROFILE.write_text(MODULES.replace("@site", str(user.folder / "site")))
    try:
        yield
    finally:
        PROFILE.unlink()


def launch(user: User, settings: str) -> Path:
    """Submit a short training under these settings; returns its run."""
    file = user.folder / "config.toml"
    file.write_text(f"{settings}\n{file.read_text()}")
    return user.launch("--epochs", "1", policy="free")


def log_of(user: User, run: Path, *states: str) -> tuple[dict[str, object], str]:
    seen = user.settles(run, *states)
    return seen, (run / "log.txt").read_text()


# -- mail -----------------------------------------------------------------------------------------------------------------


class Mail(socketserver.StreamRequestHandler):
    """As much of SMTP as takes a mail."""

    got: list[str] = []

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        words: list[str] = []
        for line in self.rfile:
            words.append(line.decode().strip())
            if words[-1] == "DATA":
                self.wfile.write(b"354 go on\r\n")
                while (line := self.rfile.readline().strip()) != b".":
                    words.append(line.decode())
            if words[-1].upper() == "QUIT":
                self.got.append("\n".join(words))
            self.wfile.write(b"250 ok\r\n")


@contextlib.contextmanager
def mail_of(user: User) -> Iterator[list[str]]:
    """The mails that the scheduler sends inside the block."""
    if isinstance(user.cluster, slurm.Slurm):
        box = user.cluster.state / "mail"
        program = user.cluster.state / "mailer"
        program.write_text(f'#!/bin/sh\necho "$@" >>{box}\n')
        program.chmod(0o755)
        got: list[str] = []
        with user.cluster.configured(MailProg=str(program)):
            yield got
            wait_until(box.exists, PATIENCE, "a mail of Slurm")
            got.append(box.read_text())
        return
    socketserver.ThreadingTCPServer.allow_reuse_address = True
    with socketserver.ThreadingTCPServer(("127.0.0.1", oar.SMTP_PORT), Mail) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        Mail.got.clear()
        yield Mail.got
        wait_until(lambda: Mail.got, PATIENCE, "a mail of OAR")
        server.shutdown()


# -- jobs -----------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_modules_a_conda_environment_a_container_and_mail_in_one_job(user: User) -> None:
    settings = [
        'modules = ["conda/good"]',
        'conda = "gan env"',
        f"container = \"'{user.folder}/site/singularity' exec --nv 'good image.sif'\"",
        'mail = "someone@example.org"',
    ]
    with modules(user), mail_of(user) as mails:
        run = launch(user, "\n".join(settings))
        _, log = log_of(user, run, "done")
    told = [log.find(words) for words in ("module conda/good", "conda gan env", "inside of good image.sif")]
    assert -1 not in told and told == sorted(told), log
    (job,) = user.jobs(run)
    assert any("someone@example.org" in mail and str(job["job_id"]) in mail for mail in mails), mails


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("container = \"'{}/site/singularity' exec --nv typo.sif\"", "FATAL: could not open image typo.sif"),
        ('container = "apptainer-of-nowhere exec image.sif"', "apptainer-of-nowhere"),
        ('modules = ["conda/typo"]', "ended with exit code 1, so the job stops: module load conda/typo"),
        ('modules = ["conda/good"]\nconda = "typo"', "ended with exit code 1, so the job stops: conda activate typo"),
    ],
)
def test_one_that_fails_stops_the_job_with_a_sentence_in_the_log(user: User, settings: str, said: str) -> None:
    with modules(user):
        run = launch(user, settings.format(user.folder))
        seen, log = log_of(user, run, "lost")
    assert said in log
    if "modules" in settings:
        assert f"Error: a line of setup in {user.folder}/config.toml {said}" in log
    assert "its job failed" in str(seen["reason"]) and "logs" in str(seen["next_command"])
