"""Lines that the script of a job has under every scheduler: what is set up before the command, and the command on the node."""

from __future__ import annotations

import os

from ganhpc.core.scheduler_environment import OF_ANOTHER_PYTHON
from ganhpc.core.settings import ROOT, Settings
from ganhpc.core.whoami import expand
from ganhpc.launch.schedulers import script_text
from ganhpc.launch.schedulers.base import JobRequest
from ganhpc.launch.schedulers.script_text import ScriptText
from ganhpc.runs import own_experiments
from ganhpc.runs.trainer_protocol import TAG

HANDED_ON = ("GANHPC_CONFIG", "GANHPC_DATA")
"""Variables of the launcher, each with a path, that the node side reads too."""


def setup_lines(site: Settings, scheduler: str, request: JobRequest) -> ScriptText:
    """The script's lines before the command: the log; the environment without another Python's words; the settings' own lines, any of which
    ends the job where it fails; then what the node needs."""
    root = script_text.word(ROOT)
    log = script_text.part("log.sh", log=script_text.word(request.log))
    exports = {
        "GANHPC_SCHEDULER": scheduler,
        "GANHPC_LAUNCH": request.launch,
        TAG: request.tag,
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
    }
    own = [_of_the_settings(site, request)] if site.setup_lines else []
    sets = [script_text.export(key, value) for key, value in exports.items()]
    # A login shell of the node may have set them; lines of the settings may do so again, for a Python of their own.
    python = script_text.shell("unset -v {}", script_text.command(OF_ANOTHER_PYTHON))
    return script_text.lines([log, python, *own, *_handed_on(), *sets, script_text.shell("cd {} || exit 1", root)])


def _handed_on() -> list[ScriptText]:
    """The launcher's own variables that the node side reads too; a scheduler may keep them from it."""
    handed = []
    for variable in HANDED_ON:
        if value := os.environ.get(variable):
            path = str(expand(value).absolute())
            made = script_text.shell("[ ! -e {} ] || {}", script_text.word(path), script_text.export(variable, path))
            handed.append(made)
    own = own_experiments.variable()
    return [*handed, *(script_text.export(key, value) for key, value in own.items())]


def _of_the_settings(site: Settings, request: JobRequest) -> ScriptText:
    """The setup lines of the settings, in the folder in which the command was typed where the node has it."""
    root = script_text.word(ROOT)
    begin = script_text.shell("cd {} || exit 1", root)
    if request.folder:
        begin = script_text.shell("cd {} 2>/dev/null || cd {} || exit 1", script_text.word(request.folder), root)
    settings = script_text.word(f"setup in {site.path or 'the settings'}")
    lines = script_text.lines([begin, *map(script_text.setup_line, site.setup_lines)])
    return script_text.part("setup.sh", settings=settings, lines=lines)


def node_command(site: Settings, request: JobRequest) -> ScriptText:
    """The command on the node, quoted."""
    words = [*site.prefix, site.interpreter, "-m", "ganhpc.node", str(request.run), f"--walltime={request.seconds}"]
    words.append(f"--tasks={request.tasks_per_node}")
    if until := request.until or request.deadline:
        words.append(f"--until={until.isoformat()}")
    if request.most is not None:
        words.append(f"--most={request.most}")
    words += [flag for flag, wanted in (("--last", request.last), ("--again", request.again)) if wanted]
    return script_text.command(words)
