"""`beholder serve` as a process: its address, its errors, its end."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from beholder.cli import main

pytest.importorskip("uvicorn", reason="the extra web is not installed")


def test_serves_until_interrupted() -> None:
    command = [sys.executable, "-m", "beholder", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+/", line)
        assert address, line
        with urllib.request.urlopen(address[0], timeout=30) as answer:
            assert b"Beholder" in answer.read()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) in (0, 130)


def test_taken_port_gets_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 2
    assert f"port {port} cannot be used" in capsys.readouterr().err


def test_missing_extra_gets_a_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["serve", "--port", "0"]) == 2
    error = capsys.readouterr().err
    assert "needs uvicorn" in error
    assert "[web]" in error


def test_unknown_host_gets_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--host", "no such host", "--port", "0"]) == 2
    assert "cannot be used" in capsys.readouterr().err
