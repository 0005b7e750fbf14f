"""Reports and galleries in a real browser: headless Chromium through chromedriver."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ganhpc.analysis.report import document, gallery_page, render_html, selection
from ganhpc.analysis.report.translation import Translator
from ganhpc.runs.run_folder import Run

CHROMIUM, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if not (CHROMIUM and DRIVER):
        reason = "needs chromium and chromedriver (Debian: apt-get install chromium chromium-driver)"
        if os.environ.get("GANHPC_BROWSER"):
            pytest.fail(reason)
        pytest.skip(reason)
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module", params=["cifar", "gan", "scan", "gallery"])
def page(
    request: pytest.FixtureRequest, cifar: Run, gan: Run, scanned: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    path = tmp_path_factory.mktemp("page") / "page.html"
    names = {"cifar": (str(cifar.folder), "fr"), "gan": (str(gan.folder), "en"), "scan": ("rates", "fr")}
    if request.param == "gallery":
        text, _ = gallery_page.page(scanned, path, Translator("fr"), lambda _: None)
    else:
        name, lang = names[request.param]
        subjects, _ = selection.find((name,), scanned)
        text = render_html.render(document.document(subjects, Translator(lang), lambda _: None))
    path.write_text(text)
    return request.param, path


def show(browser: Any, path: Path, width: int = 1200, scheme: str = "light") -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    browser.get(path.as_uri())


@pytest.mark.slow  # 3 s of processor time: it computes
def test_nothing_goes_wrong_and_nothing_leaves_the_file(browser: Any, page: tuple[str, Path]) -> None:
    browser.get_log("browser"), browser.get_log("performance")
    show(browser, page[1])
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert page[1].as_uri() in urls
    assert [url for url in urls if url != page[1].as_uri() and not url.startswith("data:")] == []
    broken = "return [...document.images].filter(i => !i.alt || (i.loading !== 'lazy' && !i.naturalWidth)).length"
    assert browser.execute_script(broken) == 0


@pytest.mark.slow  # 9 s of processor time for its 4 cases
def test_headings_tables_and_ids_are_in_order(browser: Any, page: tuple[str, Path]) -> None:
    show(browser, page[1])
    levels = browser.execute_script(
        "return [...document.querySelectorAll('h1,h2,h3,h4')].map(h => Number(h.tagName[1]))"
    )
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    assert browser.execute_script("return document.querySelectorAll('th:not([scope])').length") == 0
    assert browser.execute_script("return document.querySelectorAll('[role=img]:not([aria-label])').length") == 0
    assert (
        browser.execute_script(
            "const i = [...document.querySelectorAll('[id]')].map(e => e.id); return i.length - new Set(i).size"
        )
        == 0
    )
    assert browser.execute_script("return document.documentElement.lang") in ("en", "fr")


@pytest.mark.slow  # 3 s of processor time for its 8 cases
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_it_whole_and_readable(browser: Any, page: tuple[str, Path], scheme: str) -> None:
    show(browser, page[1], 360, scheme)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
    style = "const s = getComputedStyle(document.body); return [s.color, s.backgroundColor]"
    ink, paper = (sum(map(int, text.strip("rgb()").split(",")[:3])) for text in browser.execute_script(style))
    assert (ink > 500 and paper < 150) if scheme == "dark" else (ink < 150 and paper > 700)
    letters = "const t = document.querySelector('.plot svg text'); return t && getComputedStyle(t).fill"
    if fill := browser.execute_script(letters):
        assert fill == browser.execute_script("return getComputedStyle(document.body).color")


@pytest.mark.slow  # 0 s of processor time for its 3 cases
@pytest.mark.parametrize("page", ["cifar", "gan", "scan"], indirect=True)
def test_tables_sort_and_sections_fold(browser: Any, page: tuple[str, Path]) -> None:
    show(browser, page[1])
    table = (
        "document.querySelector('#variants table.sortable')"
        if page[0] == "scan"
        else "document.querySelector('#network table.sortable')"
    )
    column = 1 if page[0] == "scan" else 6
    browser.execute_script(f"window.t = {table}; window.b = t.tHead.rows[0].cells[{column}].querySelector('button')")
    values = f"return [...t.tBodies[0].rows].map(r => Number(r.cells[{column}].dataset.sort))"
    before = browser.execute_script(values)
    browser.execute_script("b.click()")
    assert browser.execute_script(values) == sorted(before)
    browser.execute_script("b.click()")
    assert browser.execute_script(values) == sorted(before, reverse=True)
    assert browser.execute_script("return b.parentElement.getAttribute('aria-sort')") == "descending"
    folded = "const d = document.querySelector('main section details:not([open])'); d.querySelector('summary').click(); return d.open && d.querySelector('table').offsetHeight > 0"
    assert browser.execute_script(folded)


@pytest.mark.slow  # a second of processor time: processes of its own
def test_a_gallery_finds(browser: Any, scanned: Path, tmp_path: Path) -> None:
    path = tmp_path / "g.html"
    path.write_text(gallery_page.page(scanned, path, Translator("en"), lambda _: None)[0])
    show(browser, path)
    browser.execute_script(
        "const s = document.querySelector('#search'); s.value = 'crashed'; s.dispatchEvent(new Event('input'))"
    )
    assert (
        browser.execute_script("return [...document.querySelectorAll('.cards > li')].filter(c => !c.hidden).length")
        == 1
    )
