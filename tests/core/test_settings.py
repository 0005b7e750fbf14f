"""The configuration file: where it is looked for, what it may say, and the sentences for what it may not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ganhpc.analysis.results import json_cache
from ganhpc.core import settings
from ganhpc.core.errors import UserError
from ganhpc.launch.policy.policy import load_policy
from ganhpc.launch.schedulers.local import queue_folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """No file of the machine that runs the tests is looked at."""
    monkeypatch.delenv("GANHPC_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(settings, "ROOT", tmp_path / "program")


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_without_a_file_nothing_is_said():
    assert settings.load() == settings.Settings()


def test_every_key(tmp_path):
    path = write(tmp_path / "c.toml", 'data_root = "/data"\nruns = "/runs"\ntime_zone = "Europe/Paris"\n')
    assert settings.read(path) == settings.Settings(path, Path("/data"), Path("/runs"), "Europe/Paris")


def test_the_order_of_the_places(tmp_path, monkeypatch):
    write(tmp_path / "xdg/ganhpc/config.toml", 'runs = "/of-the-user"')
    assert settings.load().runs == Path("/of-the-user")
    write(tmp_path / "program/ganhpc.toml", 'time_zone = "Europe/Paris"')
    beside = settings.load()
    assert (beside.time_zone, beside.runs) == ("Europe/Paris", None)  # One file rules; they are not mixed.
    monkeypatch.setenv("GANHPC_CONFIG", str(write(tmp_path / "named.toml", 'runs = "/named"')))
    assert settings.load().runs == Path("/named")


def test_the_users_file_lies_in_dot_config_by_default(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    path = write(tmp_path / ".config/ganhpc/config.toml", "")
    assert settings.load() == settings.Settings(path)


def test_a_folder_of_settings_that_is_not_absolute_counts_for_nothing(tmp_path, monkeypatch):
    """XDG_CONFIG_HOME=conf: the settings of whatever folder a command is typed in would be obeyed, and their `setup` lines run."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    own = write(tmp_path / "home/.config/ganhpc/config.toml", "")
    write(tmp_path / "theirs/conf/ganhpc/config.toml", 'setup = ["touch PWN"]')
    monkeypatch.chdir(tmp_path / "theirs")
    monkeypatch.setenv("XDG_CONFIG_HOME", "conf")
    assert settings.load() == settings.Settings(own)
    monkeypatch.setenv("XDG_CONFIG_HOME", "~/conf")
    path = write(tmp_path / "home/conf/ganhpc/config.toml", "")
    assert settings.load() == settings.Settings(path)


def test_folders_know_home_variables_and_the_files_own_folder(tmp_path, monkeypatch):
    home = tmp_path / "ada"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("SCRATCH", "/scratch/ada")
    path = write(tmp_path / "c.toml", 'data_root = "~/data"\nruns = "$SCRATCH/runs"')
    assert (settings.read(path).data_root, settings.read(path).runs) == (
        home / "data",
        Path("/scratch/ada/runs"),
    )
    write(path, 'runs = "mine"')
    assert settings.read(path).runs == tmp_path / "mine"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('data_rot = "/x"', "unknown key 'data_rot': did you mean 'data_root'?"),
        ('queue_of_mine = "x"', "'queue'"),
        ('time_zone = "Europe/Pari"', "did you mean 'Europe/Paris'"),
        ('time_zone = "../etc/passwd"', "the name of a time zone such as Europe/Paris"),
        ('time_zone = ""', "the name of a time zone such as Europe/Paris"),
        ("runs = 3", "runs = 3: write a text in quotes."),
        ('runs = ""', "write a folder such as"),
        ('runs = "a\\u0000b"', "write a text without a null character."),
        ('setup = ["echo a\\u0000b"]', "write a text without a null character."),
        ('python = "\\u0000"', "write a text without a null character."),
        ('jobs = ["a\\u0000b"]', "write a text without a null character."),
        ('runs = "$NOT_SET_ANYWHERE/runs"', "without $NOT_SET_ANYWHERE, which is not set here."),
        ("runs = /tmp", "is not valid TOML"),
        ("[runs]\nx = 1", "write a text in quotes."),
    ],
)
def test_mistakes_get_a_sentence(tmp_path, text, sentence):
    path = write(tmp_path / "c.toml", text)
    with pytest.raises(UserError) as error:
        settings.read(path)
    assert sentence in str(error.value)
    assert str(path) in str(error.value)


def test_a_named_file_that_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("GANHPC_CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(UserError, match=r"none\.toml, which is not a file"):
        settings.load()


def test_the_null_device_says_nothing(tmp_path, monkeypatch):
    write(tmp_path / "xdg/ganhpc/config.toml", 'runs = "/of-the-user"')
    monkeypatch.setenv("GANHPC_CONFIG", "/dev/null")
    assert settings.load().runs is None


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "c.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not valid TOML"):
        settings.read(path)


def _fifo(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (_fifo, "is a fifo, not a file"),
        (lambda path: path.symlink_to("/dev/zero"), "is a device, not a file"),
        (Path.mkdir, "is a folder, not a file"),
        (lambda path: path.write_text("a = " + "[" * 100_000), "nested too deeply"),
        (lambda path: path.write_text("a = " + "{b=" * 5000), "nested too deeply"),
        (lambda path: path.write_text("max_jobs = " + "9" * 5000), "not valid TOML"),
        (lambda path: path.write_bytes(b"max_jobs = \xff"), "not valid TOML"),
        (lambda path: path.write_bytes(b"a = 1\n" * 2_000_000), "too large"),
    ],
)
def test_a_settings_file_and_a_policy_that_are_something_else(
    tmp_path: Path, place: Callable[[Path], object], said: str
) -> None:
    """Neither is waited for, nor read beyond its bounds, nor ends in a traceback."""
    path = tmp_path / "x.toml"
    place(path)
    for read in (settings.read, lambda path: load_policy(str(path))):
        with pytest.raises(UserError, match=said) as error:
            read(path)
        assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("named", "path"),
    [
        (None, ["{root}"]),
        ("", ["{root}"]),
        ("/other:/more", ["{root}", "/other", "/more"]),
        ("/other:{root}::/more", ["{root}", "/other", "/more"]),
    ],
)
def test_this_checkouts_packages_are_found_before_another_ones(named, path):
    """And an empty place of PYTHONPATH, which is the folder where one types, is none of it."""
    root = str(settings.ROOT)
    before = {"HOME": "/home"} | ({} if named is None else {"PYTHONPATH": named.format(root=root)})
    after = settings.with_checkout(before)
    assert after == {"HOME": "/home", "PYTHONPATH": ":".join(each.format(root=root) for each in path)}


@pytest.mark.parametrize("named", ["state", "./state", "", "~/state"])
def test_a_folder_of_the_users_is_one_folder_wherever_a_command_is_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    """By a relative XDG_STATE_HOME each folder had launchers, a lock and a queue of its own, and the queue's runner, which starts elsewhere, found
    no job in it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", named)
    monkeypatch.setenv("XDG_CONFIG_HOME", named)
    monkeypatch.setenv("XDG_CACHE_HOME", named)
    own = (
        [tmp_path / "state"] * 3
        if named.startswith("~")
        else [tmp_path / ".local" / "state", tmp_path / ".config", tmp_path / ".cache"]
    )
    found = [settings.state_folder(), settings.places()[-1].parent, json_cache.place("runs", "result").parents[1]]
    assert found == [folder / "ganhpc" for folder in own]
    assert queue_folder().is_absolute()
