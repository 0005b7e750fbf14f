"""No name, title or setting becomes a line of its own in a script, and the shell reads back every word as it was."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ganhpc.core.errors import UserError
from ganhpc.core.settings import Settings
from ganhpc.launch.schedulers import job_script, script_text
from ganhpc.launch.schedulers.base import Scheduler
from ganhpc.launch.submission import night_script
from tests.golden.scripts_of import CLASSES, ONE, TWO, night

HOSTILE = [
    "x\n#SBATCH --time=8:00:00\nevil",
    "x\n#OAR -l walltime=8:0:0\n",
    "\n",
    "tab\tcr\rff\x0cvt\x0besc\x1b[31m",
    "\x85\u2028\u2029\u202e",
    "$(touch evil) `touch evil` ${HOME} $'x'",
    'it\'s "quoted" \\ back\\',
    "100% @{setup} {} %s %jobid% %j",
    "#SBATCH --time=8:00:00",
    "caf\u00e9@server+x",
    "\u65e5\u672c",
    "latin\udce9",
    " leading and trailing ",
    "-rf",
    "~",
    "*?[a]",
    "!history",
    "a;b&c|d>e<f",
]
names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=30)


def evaluated(words: str) -> list[bytes]:
    """The words of a line, as bash passes them on."""
    line = f"printf '%s\\0' {words}"
    done = subprocess.run(["bash"], input=line.encode(), stdout=subprocess.PIPE, check=True, timeout=20, cwd="/")
    return done.stdout.split(b"\0")[:-1]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_word_is_read_back_by_bash_as_it_was(text: str) -> None:
    made = script_text.command([text, f"/srv/{text}/x"])
    assert made.isascii()
    assert made.isprintable(), "one line"
    assert evaluated(made) == [os.fsencode(text), os.fsencode(f"/srv/{text}/x")]


@settings(deadline=None, max_examples=40)
@given(st.lists(names, min_size=1, max_size=5))
def test_any_words_are_read_back_as_they_were(words: list[str]) -> None:
    assert evaluated(script_text.command(words)) == [os.fsencode(text) for text in words]


@pytest.mark.slow  # 2 s in all
@pytest.mark.parametrize("shell", ["bash", "dash", "sh"])
@pytest.mark.parametrize("text", HOSTILE)
def test_a_script_is_found_by_the_line_for_any_shell(tmp_path: Path, text: str, shell: str) -> None:
    folder = tmp_path / text
    folder.mkdir()
    path = folder / "job.sh"
    path.write_text("#!/bin/bash\nprintf '%s' \"$0\"\n")
    path.chmod(0o755)
    line = script_text.in_any_shell(path)
    assert line.isascii()
    assert line.isprintable()
    done = subprocess.run([shell, "-c", line], stdout=subprocess.PIPE, check=True, timeout=20)
    assert done.stdout == os.fsencode(path)


# -- whole scripts ------------------------------------------------------------------------------------------------------


def prepared(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, tuple[str, ...]]:
    """The script and the command where all that a user names has `text` in it."""
    folder = Path("/srv") / text
    monkeypatch.setattr(job_script, "ROOT", folder / "checkout")
    monkeypatch.setenv("GANHPC_DATA", str(folder / "data"))
    site = Settings(path=folder / "ganhpc.toml", python=f"{folder}/python", setup=("module load conda",))
    asked = dataclasses.replace(ONE, run=folder / "runs" / text, folder=folder)
    made = CLASSES[name](site).prepare(asked)
    return made.script, made.argv


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("text", HOSTILE)
def test_names_add_no_line_to_a_job_and_take_no_directive(
    name: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, _ = prepared(name, "plain", monkeypatch)
    made, argv = prepared(name, text, monkeypatch)
    assert [line.split("=")[0] for line in made.split("\n") if line.startswith("#SBATCH")] == [
        line.split("=")[0] for line in usual.split("\n") if line.startswith("#SBATCH")
    ]
    assert len(made.split("\n")) == len(usual.split("\n"))
    assert all(line.isascii() and line.isprintable() for line in made.split("\n"))
    if name == "oar":  # its database keeps every word
        assert all(word.isascii() and word.isprintable() for word in argv)
    assert subprocess.run(["bash", "-n"], input=made.encode(), timeout=20).returncode == 0


@pytest.mark.slow  # 8 s in all
@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("text", HOSTILE)
def test_a_job_runs_the_node_with_the_run_as_it_is_named(
    name: str, text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The script itself, with programs that write down their words."""
    folder = tmp_path / text
    run = folder / "runs" / text
    run.mkdir(parents=True)
    (folder / "checkout").mkdir()
    python = folder / "python"
    programs = tmp_path / "bin"
    programs.mkdir()
    for path in (python, programs / "srun"):
        shift = 'while [ $# -gt 0 ] && [ "${1#--}" != "$1" ]; do shift; done; exec "$@"\n'
        show = 'pwd; printf \'%s\\0\' "$@" "$PYTHONPATH" >&3\n'
        path.write_text("#!/bin/bash\n" + (shift if path.name == "srun" else show))
        path.chmod(0o755)
    monkeypatch.setattr(job_script, "ROOT", folder / "checkout")
    site = Settings(python=str(python), setup=('echo "here: $PWD"', "touch evil-is-not-here && rm evil-is-not-here"))
    made = CLASSES[name](site).prepare(dataclasses.replace(TWO, run=run, folder=folder))
    script_path = tmp_path / "job.sh"
    script_path.write_bytes(made.script.encode())
    with (tmp_path / "words").open("wb") as words:
        line = f"exec 3>&{words.fileno()}; exec bash {script_path}"
        env = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
        code = subprocess.run(["bash", "-c", line], pass_fds=[words.fileno()], env=env, timeout=20, cwd="/").returncode
    assert code == 0, (run / "log.txt").read_text()
    log = (run / "log.txt").read_bytes()
    assert b"here: " + os.fsencode(folder) in log
    found = (tmp_path / "words").read_bytes().split(b"\0")
    assert found[2] == os.fsencode(run)
    assert found[-2] == os.fsencode(folder / "checkout")
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.slow  # 7 s of processor time: processes of its own
@settings(deadline=None, max_examples=60)
@given(title=names, reason=names)
@example(title="x\n#SBATCH --time=9:00:00\nrm -rf x", reason="\nrm -rf /")
@example(title="\x85evil", reason="\u2028evil " * 60)
def test_titles_and_reasons_add_no_line_to_a_night(title: str, reason: str) -> None:
    for cls in CLASSES.values():
        scheduler: Scheduler = cls(Settings())
        usual = night(scheduler)
        slots = tuple(dataclasses.replace(s, reason=reason, run=title) for s in usual.plan.slots)
        left = tuple(dataclasses.replace(r, reason=reason, run=title) for r in usual.plan.remaining)
        plan = dataclasses.replace(usual.plan, slots=slots, remaining=left)
        policy = dataclasses.replace(usual.policy, name=title)
        made = night_script.text(dataclasses.replace(usual, plan=plan, policy=policy), slots[0].start.date())
        assert commands(made) == commands(night_script.text(usual, slots[0].start.date()))
        assert made.isascii()


def commands(text: str) -> list[str]:
    """The lines of a script that are not comments."""
    return [line for line in text.split("\n") if line.strip() and not line.startswith("#")]


def test_text_that_went_past_the_module_is_an_error_of_ours() -> None:
    with pytest.raises(AssertionError, match="was not made for a script"):
        script_text.fill("local.sh", segment="1")  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match="was not made for a script"):
        script_text.lines([f"cd {script_text.word('x')}"])  # type: ignore[list-item]


# -- settings ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["partition", "account", "qos"])
@pytest.mark.parametrize("bad", ["gpu\n#SBATCH --time=8:00:00", "gpu\r", "a\tb", "x\x1b[0m"])
def test_slurm_is_given_no_setting_of_two_lines(key: str, bad: str) -> None:
    with pytest.raises(UserError, match=f"{key} is .* one line of printable text"):
        CLASSES["slurm"](Settings(**{key: bad})).prepare(ONE)  # type: ignore[arg-type]


@pytest.mark.slow  # 2 s in all
@pytest.mark.parametrize("key", ["queue", "project", "properties", "resources"])
def test_oar_is_given_no_setting_of_two_lines(key: str) -> None:
    with pytest.raises(UserError, match=f"{key} is .* one line of printable text"):
        CLASSES["oar"](Settings(**{key: "a\nb"})).prepare(ONE)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["oar", "slurm"])
def test_an_option_of_two_lines_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"options is .* one line of printable text"):
        CLASSES[name](Settings(options=("--exclude=node7\necho evil",))).prepare(ONE)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("line", ["module load a\nmodule load b", "true\r", "#SBATCH --time=8:00:00", " #OAR -l x"])
def test_a_setup_entry_is_one_line_of_shell(name: str, line: str) -> None:
    with pytest.raises(UserError, match="setup has the entry"):
        CLASSES[name](Settings(setup=(line,))).prepare(ONE)


def test_setup_lines_stand_behind_a_command_so_no_directive_is_read_from_them() -> None:
    made = CLASSES["slurm"](Settings(setup=("# just a remark", "\ttrue"))).prepare(ONE).script
    assert made.index("exec >>") < made.index("# just a remark")
