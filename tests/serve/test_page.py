"""The page in a real Chromium: upload, figures, slider, zoom, curves, download, errors, and a file dropped in."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.photos import make_photo

import beholder
from beholder.cli import main

pytest.importorskip("uvicorn", reason="the extra web is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

pytestmark = pytest.mark.xdist_group("browser")  # one process, for its browser

MINUTE = 60_000


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    command = [sys.executable, "-m", "beholder", "serve", "--port", "0", "--max-mb", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found
        yield found[0]
        process.terminate()


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "photo.png"
    make_photo(96, 64).save(path)
    return path


def test_a_photo_from_upload_to_download(
    address: str, browser, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.set_default_timeout(MINUTE)
    complaints: list[str] = []
    outside: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith((address, "blob:", "data:")) else outside.append(r.url))
    page.goto(address)
    page.wait_for_selector("body[data-ready]")
    page.set_input_files("#file", photo)
    page.wait_for_selector("#go:enabled")
    page.fill("#quality", "2")
    page.fill("#alpha", "1")
    page.click("#go")
    page.wait_for_selector("#result:visible")

    assert main(["evaluate-image", str(photo), "--quality", "2", "--alpha", "1", "--json"]) == 0
    wanted = json.loads(capsys.readouterr().out)
    figure = lambda name: page.inner_text(f"#figures dd[data-figure='{name}']")  # noqa: E731
    assert figure("bytes") == f"{wanted['bytes']:,}"
    assert figure("bpp") == f"{wanted['bpp']:.4f}"
    assert figure("MS-SSIM") == f"{wanted['ms_ssim']:.5f}"
    assert figure("PSNR") == f"{wanted['psnr']:.2f} dB"
    seen = page.inner_text("#seen tbody tr:first-child")
    for key in ("predictions_original", "predictions_compressed"):
        assert wanted[key][0]["label"] in seen
        assert f"{100 * wanted[key][0]['probability']:.1f} %" in seen

    box = page.locator("#view").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    assert page.get_attribute("#view", "aria-valuenow") == "25"
    page.keyboard.press("End")
    assert page.get_attribute("#view", "aria-valuenow") == "100"
    before = page.inner_text("#zoom")
    page.click("#zoom-in")
    assert page.inner_text("#zoom") != before
    page.click("#zoom-fit")
    assert page.inner_text("#zoom") == before

    with page.expect_download() as download:
        page.click("#download")
    assert download.value.suggested_filename == "photo.bhd"
    download.value.save_as(tmp_path / "photo.bhd")
    assert (tmp_path / "photo.bhd").read_bytes() == beholder.compress(photo, quality=2, alpha=1)

    page.click("#draw")
    playwright.expect(page.locator("#curve-state")).to_contain_text("rnn at alpha 1", timeout=MINUTE)
    assert page.locator("#chart circle[data-codec=rnn]").count() >= 3
    assert page.locator("#chart circle[data-codec=jpeg]").count() >= 3
    assert page.locator("#chart circle.here").count() == 1

    page.set_input_files("#file", tmp_path / "photo.bhd")
    playwright.expect(page.locator("#facts")).to_contain_text("rnn, quality 2, alpha 1")
    assert not complaints
    assert not outside
    page.close()


def test_hostile_files_get_a_sentence(address: str, browser, tmp_path: Path, photo: Path) -> None:
    page = browser.new_page()
    page.set_default_timeout(MINUTE)
    page.goto(address)
    page.wait_for_selector("body[data-ready]")
    for name, data, words in (
        ("text.jpg", b"no picture", "format"),
        ("cut.png", photo.read_bytes()[:900], "truncated"),
        ("cut.bhd", beholder.compress(photo, quality=1)[:9], "ends inside its header"),
        ("large.png", bytes((1 << 20) + 1), "larger than 1 MiB"),
        ("<img src=x onerror=alert(1)>.png", b"", "empty"),
    ):
        page.set_input_files("#file", {"name": name, "mimeType": "application/octet-stream", "buffer": data})
        playwright.expect(page.locator("#error")).to_contain_text(words)
        assert page.locator("#go").is_disabled()
    page.set_input_files("#file", photo)
    page.wait_for_selector("#go:enabled")
    assert page.locator("#error").is_hidden()
    page.close()


def test_the_browser_decodes_by_itself(address: str, browser, tmp_path: Path, photo: Path) -> None:
    page = browser.new_page()
    page.set_default_timeout(MINUTE)
    page.goto(f"{address}decoder/")
    (tmp_path / "photo.bhd").write_bytes(beholder.compress(photo, quality=2))
    page.set_input_files("#file", tmp_path / "photo.bhd")
    playwright.expect(page.locator("#status")).to_contain_text("quality 2")
    page.close()
