"""Experiments in the user's own folders: found by file names, read without being run for lists, a broken one hides nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import jobs
from ganhpc.core import settings
from ganhpc.core.errors import UserError
from ganhpc.core.settings import ROOT, Settings
from ganhpc.launch.schedulers.oar import Oar
from ganhpc.launch.schedulers.slurm import Slurm
from ganhpc.runs import known_experiments, own_experiments
from ganhpc.scans.named import named_scans
from ganhpc.train.gan import generator_io
from ganhpc.train.tasks.task import module_of
from tests.launch.schedulers.oar_requests import request

GOOD = '''"""One of mine.

More of it.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ganhpc.runs.experiment import Budget
from ganhpc.runs.options import option
from jobs.cifar import Cifar
{imports}

@dataclass(frozen=True, kw_only=True)
class Mine(Cifar):
    NAME: ClassVar[str] = "{name}"
    {fields}


PRESETS = {{"default": Mine(net="course", data="synthetic", budget=Budget(time=None, epochs=1))}}
{end}
'''


def good(folder: Path, name: str = "mine", imports: str = "", fields: str = "pass", end: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name.replace('-', '_')}.py"
    path.write_text(GOOD.format(name=name, imports=imports, fields=fields, end=end))
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "my jobs"
    made.mkdir()
    monkeypatch.setenv("GANHPC_JOBS", str(made))
    return made


def help_of(name: str) -> str:
    lines = {line_name: text for _, lines in known_experiments.summaries() for line_name, text in lines}
    return lines[name]


BROKEN = {
    "syntax": ("def (", r"not valid Python in line 1"),
    "null byte": ("x = '\0'", r"not valid Python|null byte"),
    "import": (
        "import no_such_module_of_mine",
        r"line 1: it imports no_such_module_of_mine, which this Python does not have",
    ),
    "name": ("from jobs.cifar import Nothing", r"ImportError: cannot import name 'Nothing'"),
    "raises": ("x = 1\n{}[3]", r"line 2: KeyError: 3"),
    "two lines": ("raise RuntimeError('a\\nb')", r"RuntimeError: a: fix it"),
    "exits": ("import sys\nsys.exit(0)", r"ends the program when it is imported"),
    "exits without a word": ("import os\nos._exit(0)", r"line 2: it ends the program when it is imported"),
    "no exception": ("raise BaseException('odd')", r"line 1: BaseException: odd"),
    "closes the output": ("import sys\nsys.stdout.close()\nx = {}[3]", r"line 3: KeyError: 3"),
    "another program's output": ("import os\nos.system('echo hi')", r"no class derived from Experiment has a NAME"),
    "assertion": ("assert False", r"AssertionError"),
    "no class": ("x = 1", r"no class derived from Experiment has a NAME: give it to one"),
    "base only": ("from jobs.cifar import Cifar as Mine", r"no class derived from Experiment has a NAME"),
    "empty": ("", r"no class derived from Experiment has a NAME"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_one_sentence_and_hides_nothing(
    folder: Path, case: str, capfd: pytest.CaptureFixture[str]
) -> None:
    good(folder)
    text, sentence = BROKEN[case]
    (folder / "other.py").write_text(text)
    with pytest.raises(UserError, match=sentence) as told:
        known_experiments.find("other")
    assert "\n" not in str(told.value) and str(folder) in str(told.value)
    assert known_experiments.find("mine").NAME == "mine"
    assert {"mine", "cifar"} <= set(known_experiments.names())
    assert help_of("mine") == "One of mine." and help_of("other")
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_in_jobs_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    text, sentence = BROKEN[case]
    (tmp_path / "other.py").write_text(text)
    monkeypatch.setattr(jobs, "__path__", [*jobs.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "jobs.other", raising=False)
    expected = "0 classes have the NAME 'other': give it to one" if "class" in sentence else sentence
    with pytest.raises(UserError, match=expected) as told:
        known_experiments.find("other")
    assert "\n" not in str(told.value) and str(tmp_path) in str(told.value)


WRONG = {
    "another name": ({"fields": 'NAME: ClassVar[str] = "theirs"'}, "NAME is 'theirs': write 'mine'"),
    "task": ({"fields": "TASK: ClassVar[int] = 3"}, "TASK is 3"),
    "task as a path": ({"fields": 'TASK: ClassVar[str] = "../x"'}, "TASK is '../x'"),
    "kind": ({"fields": 'KIND: ClassVar[str] = "gan"'}, "KIND is 'gan': write one of Kind.CLASSIFIER"),
    "data": ({"fields": 'DATA: ClassVar[str] = "synthetic"'}, "DATA and NETWORK are tuples of texts"),
    "no presets": ({"end": "del PRESETS"}, "PRESETS is a dictionary of Mine"),
    "a list": ({"end": "PRESETS = [Mine()]"}, "PRESETS is a dictionary of Mine"),
    "no default": ({"end": 'PRESETS = {"small": Mine(preset="small")}'}, 'with the key "default"'),
    "another class": ({"end": 'PRESETS = {"default": Cifar()}'}, "PRESETS is a dictionary of Mine"),
    "its name": ({"end": 'PRESETS["small"] = Mine()'}, "the preset 'small' has preset='default'"),
    "scans": ({"end": "SCANS = 3"}, "SCANS is a dictionary"),
    "a value": ({"end": 'PRESETS["default"] = Mine(lr="fast")'}, "an option can't be used"),
    "a bound": ({"end": 'PRESETS["default"] = Mine(batch_size=0)'}, "an option can't be used"),
    "a type": ({"fields": 'odd: dict[str, int] = option({}, "odd")'}, "can't be used|mutable default"),
    "two classes": (
        {"end": "@dataclass(frozen=True, kw_only=True)\nclass Two(Mine):\n    NAME: ClassVar[str] = 'mine'"},
        "2 classes derived from Experiment have a NAME",
    ),
    "no decorator": ({"end": ""}, "is no dataclass"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_definition_with_wrong_types_is_one_sentence(folder: Path, case: str) -> None:
    parts, sentence = WRONG[case]
    path = good(folder, **parts)
    if case == "no decorator":
        path.write_text(path.read_text().replace("@dataclass(frozen=True, kw_only=True)\n", ""))
    with pytest.raises(UserError, match=sentence):
        known_experiments.find("mine")
    assert known_experiments.find("cifar").NAME == "cifar"


def test_a_scan_of_a_wrong_type_is_one_sentence(folder: Path) -> None:
    good(folder, end='SCANS = {"lr": (1, 2)}')
    with pytest.raises(UserError, match=r"SCANS of mine.py has 'lr', which is no Named"):
        named_scans(known_experiments.find("mine"))


@pytest.mark.parametrize(("stem", "sentence"), [
    ("cifar", "called like the experiment or verb cifar"), ("status", "called like the experiment or verb status"),
    ("wgan_gp", "called like the experiment or verb wgan-gp"), ("my-net", r"rename it, such as to my_net\.py"),
    ("2d", r"rename it, such as to d\.py"), ("a b", r"rename it, such as to a_b\.py"),
])  # fmt: skip
def test_names_that_can_not_be_used(folder: Path, stem: str, sentence: str) -> None:
    (folder / f"{stem}.py").write_text("raise SystemExit(3)")
    ((name, text),) = dict(known_experiments.summaries())[f"in {folder}"]
    assert name == stem.replace("_", "-")
    with pytest.raises(UserError, match=sentence):
        raise UserError(text)
    assert known_experiments.find("cifar").__module__ == "jobs.cifar"
    assert known_experiments.names().count(name) == (name in known_experiments._packaged())


def test_of_two_files_of_one_name_the_first_folders_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "ab":
        good(tmp_path / name, end=f"SEEN = {name!r}")
    monkeypatch.setenv("GANHPC_JOBS", f"{tmp_path}/a:{tmp_path}/b::{tmp_path}/a")
    assert sys.modules[known_experiments.find("mine").__module__].SEEN == "a"
    ((_, text),) = dict(known_experiments.summaries())[f"in {tmp_path / 'b'}"]
    assert f"is called like {tmp_path / 'a' / 'mine.py'}, which comes first" in text


def test_one_folder_in_several_spellings_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good(tmp_path / "mine")
    (tmp_path / "link").symlink_to("mine")
    folder = tmp_path / "mine"
    monkeypatch.setenv("GANHPC_JOBS", f"{folder}:{folder}/:{folder}/../mine:{tmp_path / 'link'}")
    assert own_experiments.folders() == (folder,)
    assert [file.problem for file in own_experiments.listed(frozenset())[0]] == [""]


def test_folders_that_can_not_be_listed_hide_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good(tmp_path / "a")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GANHPC_JOBS", f"{tmp_path}/gone:{tmp_path}/file:{tmp_path}/a")
    lines = dict(known_experiments.summaries())["that can't be listed"]
    assert [text.split(" can't be listed ")[1][:8] for _, text in lines] == ["(No such", "(Not a d"]
    assert known_experiments.find("mine").NAME == "mine"
    with pytest.raises(UserError, match=r"no experiment 'theirs'.*gone can't be listed"):
        known_experiments.find("theirs")


def test_a_file_that_can_not_be_read(folder: Path) -> None:
    good(folder)
    (folder / "other.py").symlink_to(folder / "nowhere.py")
    (folder / "third.py").mkdir()
    assert "no file that can be read" in help_of("other") and "no file that can be read" in help_of("third")
    with pytest.raises(UserError, match="no file that can be read"):
        known_experiments.find("other")


def test_what_a_file_prints_is_no_output(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good(folder, end="print('hello')")
    assert help_of("mine") == "One of mine."
    assert capsys.readouterr() == ("", "")
    known_experiments.find("mine")
    out, err = capsys.readouterr()
    assert out == "" and "mine.py prints when it is imported (hello)" in err


def test_what_a_file_in_jobs_prints_is_no_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good(tmp_path, "loud", end="print('hello')")
    monkeypatch.setattr(jobs, "__path__", [*jobs.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "jobs.loud", raising=False)
    assert known_experiments.find("loud").NAME == "loud"
    out, err = capsys.readouterr()
    assert out == "" and "loud.py prints when it is imported (hello)" in err


def test_the_list_runs_no_file(folder: Path) -> None:
    (folder / "mine.py").write_text('"""Mine."""\nopen("/nonexistent/x")\n')
    assert "mine" in known_experiments.names() and help_of("mine") == "Mine."


def test_files_beside_an_experiment(folder: Path) -> None:
    """Tasks and networks are found beside the file, import one another, hide nothing of Python, and are no experiments."""
    good(folder, fields='TASK: ClassVar[str] = "mine_task"')
    (folder / "mine_task.py").write_text(
        "from . import mine_nets, random\ndef build(e, c): ...\ndef networks(*a): return mine_nets.N"
    )
    (folder / "mine_nets.py").write_text(
        "from torch import nn\nN = 5\nEXPORTED = {'mine': nn.Identity, 'dcgan-w13': nn.Identity}"
    )
    (folder / "random.py").write_text("OWN = True")
    (folder / "test_mine.py").write_text("1/0")
    assert [name for name, _ in dict(known_experiments.summaries())[f"in {folder}"]] == ["mine", "random"]
    found = module_of(known_experiments.find("mine").from_preset("default"))
    assert found.networks() == 5 and found.random.OWN
    import random

    assert not hasattr(random, "OWN")
    generator_io.kinds.cache_clear()
    try:
        assert generator_io.kinds()["mine"].__name__ == "Identity"
        assert generator_io.kinds()["dcgan-w13"].__name__ == "W13Generator", "ours stay what they are"
    finally:
        generator_io.kinds.cache_clear()


@pytest.mark.parametrize(("text", "sentence"), [
    (None, "TASK of mine is 'mine_task': no mine_task.py lies beside its file"), ("x = 1", "has no function build and no networks"),
    ("def build(e, c): ...", "has no function networks"), ("import mine_nets", r"imports mine_nets, .* \(write `from . import mine_nets`"),
])  # fmt: skip
def test_a_task_that_can_not_be_used(folder: Path, text: str | None, sentence: str) -> None:
    good(folder, fields='TASK: ClassVar[str] = "mine_task"')
    (folder / "mine_nets.py").write_text("")
    if text is not None:
        (folder / "mine_task.py").write_text(text)
    with pytest.raises(UserError, match=sentence):
        module_of(known_experiments.find("mine").from_preset("default"))


def test_no_word_of_a_runs_file_names_a_module(folder: Path) -> None:
    """A definition's words are looked up among the files of the folders; its task is that of the class."""
    good(folder)
    (folder / "_hidden.py").write_text("raise SystemExit(3)")
    tree = known_experiments.find("mine").from_preset("default").to_json()
    assert known_experiments.from_json({**tree, "task": "os"}).TASK == "classifier"
    for word in ("_hidden", "../mine", "os", "mine.py", str(folder / "mine"), "..", "", "mine\n"):
        with pytest.raises(UserError, match="is neither one of ganhpc's nor in a folder of your own: set GANHPC_JOBS"):
            known_experiments.from_json({**tree, "experiment": word})


def test_the_settings_name_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good(tmp_path / "here")
    config = tmp_path / "config.toml"
    monkeypatch.setenv("GANHPC_CONFIG", str(config))
    monkeypatch.delenv("GANHPC_JOBS", raising=False)
    config.write_text('jobs = ["here", "~/there"]')
    assert own_experiments.folders() == (tmp_path / "here", Path.home() / "there")
    assert known_experiments.find("mine").NAME == "mine"
    for text in ('jobs = "here"', "jobs = [3]", 'jobs = [""]', 'jobs = ["$NO_SUCH_VARIABLE/x"]'):
        config.write_text(text)
        with pytest.raises(UserError, match=r"has jobs = .*: write "):
            settings.load()
        assert known_experiments.find("cifar").NAME == "cifar", "an experiment of ganhpc needs no settings"
        assert "write" in dict(known_experiments.summaries())["that can't be listed"][0][1]


@pytest.mark.parametrize("scheduler", [Oar, Slurm])
def test_the_script_of_a_job_hands_the_folders_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheduler: type[Oar] | type[Slurm]
) -> None:
    odd = tmp_path / "it's $HOME\n`x`"
    good(odd)
    monkeypatch.setenv("GANHPC_JOBS", f"{odd}:{tmp_path}/b")
    script = scheduler(Settings()).prepare(request(tmp_path)).script
    (line,) = [line for line in script.splitlines() if line.startswith("export GANHPC_JOBS=")]
    shell = ["bash", "-c", f'{line}\nprintf %s "$GANHPC_JOBS"']
    assert subprocess.run(shell, capture_output=True, text=True, check=True).stdout == f"{odd}:{tmp_path}/b"
    monkeypatch.setenv("GANHPC_JOBS", "")
    assert "GANHPC_JOBS" not in scheduler(Settings()).prepare(request(tmp_path)).script


def test_a_colon_in_a_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'jobs = ["{tmp_path}/a:b"]')
    monkeypatch.setenv("GANHPC_CONFIG", str(config))
    with pytest.raises(UserError, match="has a colon in its name"):
        own_experiments.variable()


def test_help_imports_no_file_of_the_user(folder: Path) -> None:
    (folder / "mine.py").write_text('"""Mine."""\nimport os\nos._exit(9)\n')
    done = subprocess.run(
        [sys.executable, str(ROOT / "launch.py"), "--help"], capture_output=True, text=True, check=True
    )
    assert f"Experiments (in {folder})" in done.stdout.replace("\n", " ") or "my jobs" in done.stdout
    assert "mine" in done.stdout and "Mine." in done.stdout


def test_a_fifo_among_the_networks_of_ones_own_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "pipe_nets.py")
    (folder / "gone_nets.py").symlink_to("nowhere.py")
    (folder / "a_nets.py").write_text("EXPORTED = {}\n")
    assert [made.__name__.rpartition(".")[2] for made in own_experiments.networks()] == ["a_nets"]
