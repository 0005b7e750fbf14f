"""A further section of reports is one file, one line of document.py and its words: nothing else of the toolkit is touched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from ganhpc.core.settings import ROOT

SECTION = '''"""The name of the run that is shown in full."""

from ganhpc.analysis.report.elements import Paragraph, Section


def section(data, words):
    return Section("plate", words("plate.title"), [Paragraph(words("plate.text", run=data.run.name))])
'''
WORDS = '\n[plate]\ntitle = "{title}"\ntext = "{text}: {{run}}."\n'


def test_a_section_is_one_file_one_line_and_its_words(tmp_path: Path) -> None:
    root = tmp_path / "toolkit"
    for name in ("ganhpc", "jobs", "templates"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "launch.py", root)
    shutil.copytree(ROOT / "tests" / "old_runs", tmp_path / "runs")
    report = root / "ganhpc" / "analysis" / "report"
    (report / "sections" / "plate.py").write_text(SECTION)
    document = report / "document.py"
    text, line = document.read_text(), "        training.environment(final, words),\n"
    imported = "from ganhpc.analysis.report.sections import gan, "
    assert text.count(line) == text.count(imported) == 1
    text = text.replace(line, line + "        plate.section(final, words),\n")
    document.write_text(text.replace(imported, imported + "plate, "))
    for lang, title, said in (("en", "Name plate", "The run is"), ("fr", "Plaque", "L'exécution est")):
        with (root / "templates" / "report" / f"{lang}.toml").open("a", encoding="utf-8") as file:
            file.write(WORDS.format(title=title, text=said))
        words = ("report", "cifar", "--runs", tmp_path / "runs")
        done = subprocess.run(
            [sys.executable, root / "launch.py", *words, "--lang", lang, "--out", tmp_path / f"{lang}.md"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": "", "GANHPC_CONFIG": "/dev/null"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        page = (tmp_path / f"{lang}.md").read_text(encoding="utf-8")
        assert f"## {title}" in page and "course-synthetic" in page.partition(f"## {title}")[2]
