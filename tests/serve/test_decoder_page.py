"""The browser's decoder in a real Chromium: pixels, one repaint a segment while bytes arrive, reasons for failure."""

from __future__ import annotations

import base64
import functools
import http.server
import threading
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.photos import make_photo
from PIL import Image

import beholder
from beholder.codecs.rnn import bitstream
from beholder.serve.static_site import write_site

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

pytestmark = pytest.mark.xdist_group("browser")  # one process, for its browser

GOLDEN = sorted((Path(__file__).resolve().parents[1] / "golden").glob("*-alpha0-*.bhd"))
MINUTE = 60_000
PNG = "() => document.getElementById('picture').toDataURL('image/png')"


class Site:
    """A static server of the page that sends ``/slow.bhd`` in two parts, the second one when it may."""

    def __init__(self, folder: Path) -> None:
        self.first, self.second, self.may_go_on = b"", b"", threading.Event()
        site = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path != "/slow.bhd":
                    super().do_GET()
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(site.first + site.second)))
                self.end_headers()
                self.wfile.write(site.first)
                self.wfile.flush()
                assert site.may_go_on.wait(60)
                self.wfile.write(site.second)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        handler = functools.partial(Handler, directory=str(folder))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    write_site(folder)
    site = Site(folder)
    yield site
    site.server.shutdown()
    site.server.server_close()


@pytest.fixture
def page(site: Site, browser: Any) -> Iterator[Any]:
    page = browser.new_page()
    page.set_default_timeout(MINUTE)
    page.goto(site.address)
    yield page
    page.close()


def shown(page: Any) -> Image.Image:
    return Image.open(BytesIO(base64.b64decode(page.evaluate(PNG).partition(",")[2])))


def test_golden_files(page: Any) -> None:
    for number, file in enumerate(GOLDEN, 1):
        page.set_input_files("#file", file)
        page.wait_for_selector(f"#picture[data-done='{number}']")
        wanted = beholder.decompress(file.read_bytes())
        pixels = np.asarray(shown(page).convert("RGBA"), int)
        reference = np.asarray(wanted.convert("RGBA"), int)
        assert np.array_equal(pixels[:, :, 3], reference[:, :, 3]), file.name
        # A canvas keeps colours times opacity: where a pixel is hardly seen, its colour is rough.
        opaque = reference[:, :, 3] == 255
        assert np.abs(pixels - reference)[opaque].max(initial=0) <= 1, file.name


@pytest.mark.parametrize("quality", [3, 9, 12])
def test_paints_each_segment_as_it_arrives(page: Any, site: Site, quality: int) -> None:
    data = beholder.compress(make_photo(96, 64), quality=quality)
    last = len(bitstream.read(data).segments[-1])
    site.first, site.second = data[: len(data) - last], data[len(data) - last :]
    site.may_go_on.clear()
    page.goto(f"{site.address}?file=slow.bhd")
    page.wait_for_selector(f"#picture[data-segments='{quality - 1}']:visible")
    assert page.get_attribute("#picture", "data-paints") == str(quality - 1)
    early = np.asarray(shown(page).convert("RGB"), int)
    assert np.abs(early - np.asarray(beholder.decompress(data, quality=quality - 1), int)).max() <= 1
    site.may_go_on.set()
    page.wait_for_selector(f"#picture[data-segments='{quality}']")
    assert page.get_attribute("#picture", "data-paints") == str(quality)
    late = np.asarray(shown(page).convert("RGB"), int)
    assert np.abs(late - np.asarray(beholder.decompress(data), int)).max() <= 1


def test_says_why_a_file_does_not_decode(page: Any, site: Site, tmp_path: Path) -> None:
    whole = beholder.compress(make_photo(40, 40), quality=2)
    for name, data, words in (
        ("machine.bhd", beholder.compress(make_photo(40, 40), quality=1, alpha=0.5), "made for a machine (alpha 0.5)"),
        ("foreign.bhd", b"GIF89a" + bytes(30), "no .bhd file"),
        ("header.bhd", whole[:9], "ends inside its header"),
        ("damaged.bhd", whole[:-3] + b"abc", "checksum of segment 2"),
    ):
        page.set_input_files("#file", {"name": name, "mimeType": "application/octet-stream", "buffer": data})
        playwright.expect(page.locator("#error")).to_contain_text(words)
    page.goto(f"{site.address}?file=missing.bhd")
    playwright.expect(page.locator("#error")).to_contain_text("cannot be loaded (404)")
    page.set_input_files("#file", {"name": "cut.bhd", "mimeType": "application/octet-stream", "buffer": whole[:-9]})
    playwright.expect(page.locator("#status")).to_contain_text("ends after segment 1 of 2")
    best = beholder.compress(make_photo(40, 40), quality=12)
    page.set_input_files("#file", {"name": "cut.bhd", "mimeType": "application/octet-stream", "buffer": best[:-9]})
    playwright.expect(page.locator("#status")).to_contain_text("ends after segment 11 of 12")
    page.set_input_files("#file", {"name": "whole.bhd", "mimeType": "application/octet-stream", "buffer": best})
    playwright.expect(page.locator("#status")).to_contain_text("quality 12")
