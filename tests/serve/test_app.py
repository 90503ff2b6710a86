"""The page's addresses: figures equal to the command line's, limits, and one sentence for every bad upload."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from helpers.photos import make_photo
from PIL import Image

import beholder
from beholder import api
from beholder.cli import main
from beholder.codecs.rnn import bitstream
from beholder.weights import OBSERVERS

pytest.importorskip("starlette", reason="the extra web is not installed")
pytest.importorskip("httpx2", reason="httpx2 is not installed")

import anyio
from starlette.testclient import TestClient

from beholder.serve.app import Limits, create_app

TIMES = {"encode_seconds", "decode_seconds", "image"}


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    app = create_app(Limits(bytes=1 << 20, pixels=500_000, jobs=2, waiting=8))
    # `with` gives all requests one event loop, as a server has.
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def photo() -> bytes:
    return png(make_photo(72, 56))


def png(image: Image.Image) -> bytes:
    out = BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def picture(text: str) -> Image.Image:
    return Image.open(BytesIO(base64.b64decode(text)))


def test_options_tell_what_can_run(client: TestClient) -> None:
    found = client.get("/api/options").json()
    assert {"rnn", "jpeg", "webp", "bpg"} <= {codec["name"] for codec in found["codecs"]}
    assert [observer["name"] for observer in found["observers"]][:1] == ["efficientnet_lite0"]
    assert found["limits"] == {"bytes": 1 << 20, "pixels": 500_000}


@pytest.mark.parametrize(
    "options", [{"codec": "rnn", "quality": "2", "alpha": "1"}, {"codec": "jpeg", "quality": "20"}, {}]
)
def test_figures_are_those_of_the_command_line(
    options: dict[str, str], client: TestClient, photo: bytes, tmp_path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photo.png").write_bytes(photo)
    answer = client.post("/api/evaluate", params=options, content=photo).json()
    arguments = [part for key, value in options.items() for part in (f"--{key}", value)]
    assert main(["evaluate-image", str(tmp_path / "photo.png"), "--json", *arguments]) == 0
    wanted = json.loads(capsys.readouterr().out)
    figures = answer["figures"]
    assert {k: v for k, v in figures.items() if k not in TIMES} == {k: v for k, v in wanted.items() if k not in TIMES}
    file = base64.b64decode(answer["file"])
    assert len(file) == figures["bytes"]
    assert np.array_equal(picture(answer["decompressed"]), beholder.decompress(file))
    assert np.array_equal(picture(answer["original"]), Image.open(BytesIO(photo)))
    seen = {row["classifier"]: row for row in answer["seen"]}
    assert seen["efficientnet_lite0"]["compressed"] == wanted["predictions_compressed"]
    assert (
        main(["evaluate-image", str(tmp_path / "photo.png"), "--json", "--classifier", "squeezenet", *arguments]) == 0
    )
    other = json.loads(capsys.readouterr().out)
    assert seen["squeezenet"]["compressed"] == other["predictions_compressed"]
    assert seen["squeezenet"]["original"] == other["predictions_original"]


@pytest.mark.parametrize(
    ("target", "value", "kind"),
    [("bpp", "1.5", beholder.Bpp(1.5)), ("keep-label", "squeezenet", beholder.KeepLabel("squeezenet"))],
)
def test_targets_are_those_of_the_library(target: str, value: str, kind: Any, client: TestClient, photo: bytes) -> None:
    query = {"target": target, "value": value, "codec": "jpeg"}
    answer = client.post("/api/evaluate", params=query, content=photo).json()
    wanted = beholder.compress_to_target(photo, kind, "jpeg").best
    assert base64.b64decode(answer["file"]) == wanted.data
    assert answer["note"] == ("" if wanted.reached else api.missed(wanted))
    answer = client.post("/api/evaluate", params={"target": "max-bytes", "value": "20"}, content=photo).json()
    assert answer["figures"]["quality"] == 0  # coarser than the scale's 1
    assert "20" in answer["note"]


@pytest.mark.parametrize("codec", ["rnn", "bpg", "jpeg"])
def test_look_shows_any_file(codec: str, client: TestClient, photo: bytes) -> None:
    data = beholder.compress(photo, codec)
    found = client.post("/api/look", content=data).json()
    assert (found["codec"], found["width"], found["height"], found["bytes"]) == (codec, 72, 56, len(data))
    assert np.array_equal(picture(found["picture"]), beholder.decompress(data))


def test_look_shows_what_is_there_of_a_file(client: TestClient, photo: bytes) -> None:
    data = beholder.compress(photo, quality=4)
    for query, sent, quality in (({"quality": "1"}, data, 1), ({}, data[:-5], 3)):
        found = client.post("/api/look", params=query, content=sent).json()
        assert np.array_equal(picture(found["picture"]), beholder.decompress(data, quality=quality))


def test_curve_streams_points_of_all_codecs(client: TestClient, photo: bytes) -> None:
    lines = [json.loads(line) for line in client.post("/api/curve", content=photo).text.splitlines()]
    assert lines.pop() == {"done": True}
    names = {codec["name"] for codec in client.get("/api/options").json()["codecs"]}
    assert {point["codec"] for point in lines} == names
    assert [point["quality"] for point in lines if point["codec"] == "rnn"][:3] == [1, 2, 3]
    wanted = beholder.evaluate_image(photo, "rnn", quality=2)
    point = next(p for p in lines if p["codec"] == "rnn" and p["quality"] == 2)
    assert (point["bytes"], point["bpp"], point["ms_ssim"]) == (wanted.bytes, wanted.bpp, wanted.ms_ssim)


def test_visitors_do_not_mix(client: TestClient) -> None:
    photos = [png(make_photo(64, 48 + 16 * n, seed=n)) for n in range(2)]
    alone = [client.post("/api/evaluate", params={"quality": "1"}, content=data).json() for data in photos]
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(client.post, "/api/evaluate", params={"quality": "1"}, content=d) for d in 2 * photos]
        together = [job.result().json() for job in jobs]
    for one, other in zip(2 * alone, together, strict=True):
        assert one["file"] == other["file"]
        assert one["original"] == other["original"]
        assert one["seen"] == other["seen"]


def _huge_png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1 << 16))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _huge_bhd(photo: bytes) -> bytes:
    stream = bitstream.read(beholder.compress(photo, quality=1))
    stream.width = stream.height = 10_000
    return bitstream.write(stream)


def _other_model(photo: bytes) -> bytes:
    stream = bitstream.read(beholder.compress(photo, quality=1))
    stream.model = b"12345678"
    return bitstream.write(stream)


def _broken(photo: bytes) -> bytes:
    data = bytearray(beholder.compress(photo, quality=2))
    data[-2] ^= 4
    return bytes(data)


HOSTILE: dict[str, tuple[Callable[[bytes], bytes], int, str]] = {
    "empty": (lambda photo: b"", 400, "is empty"),
    "text": (lambda photo: b"hello " * 50, 400, "format"),
    "page": (lambda photo: b"<html><script>alert(1)</script></html>", 400, "format"),
    "zip": (lambda photo: b"PK\x03\x04" + bytes(100), 400, "format"),
    "script": (lambda photo: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 400, "format"),
    "truncated": (lambda photo: photo[: len(photo) // 2], 400, "truncated"),
    "cut header": (lambda photo: beholder.compress(photo, quality=1)[:9], 400, "ends inside its header"),
    "checksum": (_broken, 400, "checksum"),
    "other model": (_other_model, 400, "3132333435363738"),
    "huge png": (lambda photo: _huge_png(), 400, "limit"),
    "huge bhd": (_huge_bhd, 400, "limit of 500,000 pixels"),
    "above the limit of pixels": (lambda photo: png(Image.new("L", (1000, 501))), 400, "limit of 500,000 pixels"),
    "above the limit of bytes": (lambda photo: bytes((1 << 20) + 1), 413, "larger than 1 MiB"),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("path", ["look", "evaluate", "curve"])
def test_hostile_upload_gets_a_sentence(kind: str, path: str, client: TestClient, photo: bytes) -> None:
    make, status, words = HOSTILE[kind]
    answer = client.post(f"/api/{path}", content=make(photo))
    assert answer.status_code == status
    sentence = answer.json()["error"]
    assert words in sentence
    assert sentence.endswith((".", ")"))
    assert "Traceback" not in sentence


@pytest.mark.parametrize(("size", "taken"), [(3, 3), (8, 8), (9, 0), (None, 9)])
def test_whoever_sends_too_much_reads_why(size: int | None, taken: int) -> None:
    """Who is cut off while sending gets a broken connection in place of the answer.  Sizes are in limits."""
    limit = 1 << 16
    messages = [{"type": "http.request", "body": bytes(limit), "more_body": True} for _ in range(size or 20)]
    messages[-1]["more_body"] = False
    left, sent = iter(messages), []

    async def receive() -> Any:
        sent.append("taken")
        return next(left)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost")] + ([(b"content-length", str(size * limit).encode())] if size else [])
    scope = {"type": "http", "method": "POST", "path": "/api/look", "raw_path": b"/api/look", "query_string": b""}
    app = create_app(Limits(bytes=limit))
    anyio.run(app, {**scope, "headers": headers, "http_version": "1.1"}, receive, send)
    start = next(k for k, message in enumerate(sent) if message != "taken")
    assert sent[start]["status"] == 413
    assert start == taken


def test_upload_without_length_is_bounded(client: TestClient) -> None:
    parts = (bytes(1 << 16) for _ in range(40))
    assert client.post("/api/look", content=parts).status_code == 413


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"quality": "nine"}, "no number"),
        ({"quality": "13"}, "outside the scale"),
        ({"alpha": "nan"}, "not finite"),
        ({"alpha": "2"}, "outside [0, 1]"),
        ({"codec": "gif"}, "no codec"),
        ({"effort": "7"}, "effort"),
        ({"speed": "1"}, "no option"),
        ({"target": "smallest", "value": "1"}, "no target"),
        ({"target": "keep-label", "value": str(OBSERVERS / "squeezenet.onnx")}, "no classifier"),
    ],
)
def test_wrong_option_gets_a_sentence(query: dict[str, str], words: str, client: TestClient, photo: bytes) -> None:
    answer = client.post("/api/evaluate", params=query, content=photo)
    assert answer.status_code == 400
    assert words in answer.json()["error"]


def test_other_sites_are_refused(client: TestClient, photo: bytes) -> None:
    answer = client.post("/api/look", content=photo, headers={"Origin": "https://example.org"})
    assert answer.status_code == 403
    assert client.get("/", headers={"Host": "example.org"}).status_code == 400
    assert client.post("/api/look", content=photo, headers={"Origin": "http://localhost"}).status_code == 200


def test_too_many_jobs_are_turned_away(photo: bytes) -> None:
    with (
        TestClient(create_app(Limits(jobs=1, waiting=0)), base_url="http://localhost") as busy,
        ThreadPoolExecutor(4) as pool,
    ):
        answers = list(pool.map(lambda _: busy.post("/api/evaluate", params={"quality": "1"}, content=photo), range(4)))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses[0] == 200
    assert statuses[-1] == 503
    assert "try again" in next(a for a in answers if a.status_code == 503).json()["error"]


@pytest.mark.parametrize("path", ["/../app.py", "/%2e%2e/app.py", "/..%2fapp.py", "/nothing"])
def test_only_the_page_is_served(path: str, client: TestClient) -> None:
    assert client.get(path).status_code == 404


def test_the_page_asks_nothing_from_outside(client: TestClient) -> None:
    page = client.get("/")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    for path in ("/", "/app.js", "/compare.js", "/curve.js", "/style.css"):
        answer = client.get(path)
        assert answer.status_code == 200
        text = answer.text.replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text
        assert "https://" not in text
