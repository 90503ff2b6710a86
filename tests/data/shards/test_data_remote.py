"""Shards far away, through fsspec: in memory and from a web server."""

import functools
import http.server
import pickle
import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from beholder import data
from beholder.data.shards.verify import verify
from beholder.errors import BadFileError, NotAvailableError
from beholder.extras import install_command


def test_through_fsspec_in_memory(folder: Path, made: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for path in made.iterdir():
        memory.pipe(f"/far/away/{path.name}", path.read_bytes())
    try:
        expected = list(data.open_source(folder))
        source = data.open_source("memory://far/away")
        assert list(source) == expected
        assert source[7] == expected[7]
        assert list(pickle.loads(pickle.dumps(source))) == expected
        assert verify(source) == []
        assert list(data.open_source("memory://far/away/index.json")) == expected
        gone = sorted(made.glob("*.tar"))[1].name
        memory.rm(f"/far/away/{gone}")
        with pytest.raises(BadFileError, match=f"There is no {gone} in memory://far/away"):
            source[5]
    finally:
        memory.rm("/far", recursive=True)
    with pytest.raises(BadFileError, match=r"There is no index\.json in memory://far/away"):
        data.open_source("memory://far/away")


class Handler(http.server.SimpleHTTPRequestHandler):
    """A web server for files that can send parts of them, if asked to."""

    ranges = True
    requests: list[str]

    def do_GET(self) -> None:
        self.requests.append(self.headers.get("Range", ""))
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        path = Path(self.translate_path(self.path))
        if not self.ranges or not match or not path.is_file():
            super().do_GET()
            return
        content = path.read_bytes()
        start, end = int(match[1]), min(int(match[2]), len(content) - 1)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{end}/{len(content)}")
        self.send_header("Content-Length", str(end - start + 1))
        self.end_headers()
        self.wfile.write(content[start : end + 1])

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[[Path, bool], tuple[str, list[str]]]]:
    """Serve a folder; the address, and a list that collects the ranges asked for."""
    servers = []

    def start(folder: Path, ranges: bool) -> tuple[str, list[str]]:
        requests: list[str] = []
        handler = type("Handler", (Handler,), {"ranges": ranges, "requests": requests})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(folder)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}", requests

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("ranges", [True, False])
def test_from_a_web_server(
    folder: Path, made: Path, serve: Callable[[Path, bool], tuple[str, list[str]]], ranges: bool
) -> None:
    pytest.importorskip("fsspec")
    pytest.importorskip("aiohttp")
    url, requests = serve(made, ranges)
    expected = list(data.open_source(folder))
    source = data.open_source(url)
    assert source[9] == expected[9]
    assert list(source) == expected
    if ranges:
        assert all(requests)
        # Index, three tables, one image, and one block a shard: not one request an image.
        assert len(requests) == 1 + 3 + 1 + 3
    with pytest.raises(BadFileError, match=r"There is no index\.json in http://"):
        data.open_source(f"{url}/elsewhere")


def test_urls_that_lead_nowhere(serve: Callable[[Path, bool], tuple[str, list[str]]], tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    with pytest.raises((BadFileError, NotAvailableError), match="nosuch"):
        data.open_source("nosuch://bucket/folder")
    url, _ = serve(tmp_path, True)
    (tmp_path / "index.json").write_text("{}")
    with pytest.raises(BadFileError, match="was not written by `beholder data create`"):
        data.open_source(url)


def test_fsspec_is_needed_for_urls_only(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    assert len(list(data.open_source(made))) == 11
    with pytest.raises(NotAvailableError, match=re.escape(install_command("data"))):
        data.open_source("s3://bucket/shards")
