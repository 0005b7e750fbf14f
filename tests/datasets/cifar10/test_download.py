"""The download from the author's page: whole, or a quick clause that says why not. A server on this machine plays the page."""

from __future__ import annotations

import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ganhpc.core.errors import UserError
from ganhpc.datasets.cifar10 import download as cifar10_download
from ganhpc.datasets.cifar10.download import download
from ganhpc.datasets.cifar10.spec import Unavailable

BODY = bytes(range(256)) * 4000
LENGTH = len(BODY)


class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        getattr(self, self.path.strip("/"))()

    def head(self, length=LENGTH):
        self.send_response(200)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def whole(self):
        self.head()
        self.wfile.write(BODY)

    def unmeasured(self):
        self.head(None)
        self.wfile.write(BODY)

    def gone(self):
        self.send_error(404)

    def broken(self):
        self.head()
        self.wfile.write(BODY[:1000])

    def silent(self):
        self.server.end.wait(300)

    def stalled(self):
        self.head()
        self.wfile.write(BODY[:1000])
        self.wfile.flush()
        self.server.end.wait(300)

    def slow(self):
        self.head()
        for k in range(100):
            if self.server.end.wait(0.1):
                break
            self.wfile.write(BODY[k : k + 10])
            self.wfile.flush()

    def log_message(self, *_):
        pass


@pytest.fixture
def page(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    server.daemon_threads = True
    server.end = threading.Event()
    server.handle_error = lambda *_: None
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.end.set()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("path", "total"), [("whole", len(BODY)), ("unmeasured", None)])
def test_download(page, tmp_path, path, total):
    reports = []
    download(f"{page}/{path}", tmp_path / "file", lambda *report: reports.append(report))
    assert (tmp_path / "file").read_bytes() == BODY
    assert reports[-1] == (len(BODY), total)


def nothing(*_):
    pass


@pytest.mark.slow  # 3 s in all
@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("gone", r"no connection \(Not Found\)"),
        ("broken", "it broke off after 1,000 of 1,024,000 bytes"),
        ("silent", "no (answer in|connection)"),
        ("stalled", "it broke off .*timed out"),
        ("slow", r"it is too slow \(\d kB/s\)"),
    ],
)
def test_what_goes_wrong_is_said_soon(page, tmp_path, monkeypatch, path, words):
    monkeypatch.setattr(cifar10_download, "PATIENCE", 0.5)
    began = time.monotonic()
    # Only one page leaves the first answer out; of another, a busy machine needs longer for it, and then it is waited for longer.
    for seconds in {"silent": (1.0,), "stalled": (1.0, 10.0, 100.0)}.get(path, (60.0,)):
        monkeypatch.setattr(cifar10_download, "ANSWER", seconds)
        with pytest.raises(Unavailable) as caught:
            download(f"{page}/{path}", tmp_path / "file", nothing)
        if "no answer" not in str(caught.value):
            break
    assert re.search(words, str(caught.value))
    assert time.monotonic() - began < 200, "the page would go on for 300 s"


def test_nobody_listens(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(Unavailable, match=r"no connection .*refused"):
        download("http://127.0.0.1:9/x", tmp_path / "file", nothing)


def test_a_name_that_is_looked_up_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar10_download, "ANSWER", 0.2)
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(300))
    began = time.monotonic()
    with pytest.raises(Unavailable, match=r"no answer in 0\.2 s"):
        download("http://example.invalid/x", tmp_path / "file", nothing)
    assert time.monotonic() - began < 200
    over.set()


def test_a_full_disk_is_a_sentence(page, tmp_path):
    full = tmp_path / "file"
    full.symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"No space left on device.*folder that can be written and has room"):
        download(f"{page}/whole", full, nothing)


def test_a_read_only_folder_is_a_sentence(page, tmp_path):
    with pytest.raises(UserError, match="can't write"):
        download(f"{page}/whole", tmp_path / "no" / "file", nothing)
