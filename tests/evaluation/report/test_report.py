"""The report: one page, whole and offline, and nothing in it that a name could have slipped in."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from base64 import b64decode
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from helpers import fake_results
from helpers.fake_results import row, sweep_rows
from PIL import Image

from beholder import __version__
from beholder.cli import main
from beholder.evaluation.report import data as report_data
from beholder.evaluation.report import gallery as report_gallery
from beholder.evaluation.report import write as report
from beholder.evaluation.summary.curves import MEAN, Series
from beholder.evaluation.summary.summarise import load, summarise
from beholder.evaluation.sweep import provenance

VOID = {"meta", "input", "img", "br", "link", "hr"}
HOSTILE = "<script>alert(1)</script>\"'&{{data}}</title></script><!--<img src=x onerror=alert(2)>"


class Page(HTMLParser):
    """Reads a page strictly: every element is closed in its order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, text: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", text))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def text(self, *within: str) -> str:
        return " ".join(text for tag, text in self.texts if not within or tag in within)

    def data(self) -> dict[str, Any]:
        scripts = [text for tag, text in self.texts if tag == "script"]
        loaded: dict[str, Any] = json.loads(scripts[0])
        return loaded


def with_gallery(folder: Path, photo: Image.Image, key: str = "image0000") -> Path:
    """Pictures of one image at two qualities of three curves."""
    place = folder / "gallery" / key
    place.mkdir(parents=True)
    photo.save(place / "original.png")
    for name in ("rnn-a0-q2", "rnn-a0-q8", "rnn-a0.5-q2", "jpeg-q15", "jpeg-q80", "webp-q3"):
        photo.rotate(180).save(place / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, big_photo: Image.Image) -> Path:
    folder = fake_results.write(tmp_path_factory.mktemp("sweep"), sweep_rows(8))
    with_gallery(folder, big_photo)
    report.write(folder)
    return folder


@pytest.fixture(scope="module")
def text(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def test_the_page_is_whole_and_asks_nobody(text: str) -> None:
    page = Page(text)
    code = re.sub(r"data:image/webp;base64,[A-Za-z0-9+/=]+", "", text)
    assert not re.search(r"https?:|//[a-z]|url\(|@import|\bfetch\(|XMLHttpRequest|\bimport\b", code)
    for _tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "action", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/webp;base64,", "#"))
    assert not page.all("link")
    assert not page.all("iframe")
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert len(text) < 1_000_000


def test_it_is_accessible(text: str) -> None:
    page = Page(text)
    assert page.all("html")[0]["lang"] == "en"
    assert all(image["alt"] for image in page.all("img"))
    assert len(page.all("caption")) == len(page.all("table")) == 2
    assert all(head["scope"] in ("col", "row") for head in page.all("th"))
    identities = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identities) == len(set(identities))
    for _, attributes in page.elements:
        target = attributes.get("aria-labelledby") or (attributes.get("href") or "").removeprefix("#")
        assert not target or target in identities
    assert "prefers-color-scheme: dark" in text
    assert page.all("noscript")


def test_the_curves_are_those_of_the_summary(folder: Path, text: str) -> None:
    data, summary = Page(text).data(), load(folder)
    assert data["views"] == ["Mean of the classifiers", "lite0", "vgg16"]
    assert [s["label"] for s in data["series"]][2:4] == ["rnn, \u03b1 = 1", "JPEG"]
    curve = summary.curve("vgg16", Series("jpeg"))
    points = data["points"][2][3]
    assert [p[1] for p in points] == [point.quality for point in curve]
    for point, (bpp, _, images, values) in zip(curve, points, strict=True):
        estimate = point.estimate("preserved")
        assert estimate is not None
        assert images == 8
        assert bpp == pytest.approx(point.value("bpp"), rel=1e-4)
        assert values["preserved"] == pytest.approx([estimate.value, estimate.low, estimate.high], rel=1e-4)
    steps, at = data["tradeoff"]["bpp"], data["tradeoff"]["at"][0]
    assert len(at) == 5
    assert all(len(points) == len(steps) for points in at)
    assert at[3][0] is None  # JPEG does not reach the lowest rate
    assert sum(point is not None for point in at[0]) > 20


def test_tables_hold_every_line(folder: Path, text: str) -> None:
    page, summary = Page(text), load(folder)
    rows = page.all("tr")
    assert len([r for r in rows if "data-anchor" in r]) == len(summary.comparisons)
    assert len([r for r in rows if "data-view" in r and "data-anchor" not in r]) == len(summary.rows)
    for cell in (c for c in page.all("td") if "data-sort" in c):
        float(cell["data-sort"] or "")
    point = next(r for r in summary.rows if r.classifier == MEAN)
    assert f"{100 * (point.value('preserved') or 0):.1f}" in page.text("td")


def test_the_gallery_is_at_about_equal_rate(folder: Path, text: str) -> None:
    page = Page(text)
    pictures = page.all("img")
    assert [(image["alt"] or "").split(":")[0] for image in pictures] == [
        "Original",
        "rnn, \u03b1 = 0",
        "rnn, \u03b1 = 0.5",
        "JPEG",
    ]
    for image in pictures:
        with Image.open(BytesIO(b64decode((image["src"] or "").split(",")[1]))) as decoded:
            assert decoded.size == (int(image["width"] or 0), int(image["height"] or 0)) == (208, 176)
    # Of the two pictures each of rnn and JPEG the ones nearest to 0.25 bpp.
    assert "quality 2 " in (pictures[1]["alt"] or "")
    assert "quality 15 " in (pictures[3]["alt"] or "")
    shots = report_gallery.collect(folder, load(folder).series, {})[0].tiles
    assert [seen.classifier for seen in shots[0].seen] == ["lite0", "vgg16"]
    expected = [r for r in sweep_rows(8) if r["image"] == "image0000" and (r["codec"], r["quality"]) == ("jpeg", 15)]
    assert [seen.agrees for seen in shots[3].seen] == [r["agrees"] for r in expected]
    assert [seen.probability for seen in shots[3].seen] == [pytest.approx(0.5)] * 2
    assert shots[3].seen[0].label == f"class {expected[0]['top5'][0]}"


def test_labels_of_classifiers_that_are_here(folder: Path) -> None:
    settings = {"classifier_sources": {"lite0": "efficientnet_lite0", "vgg16": "/gone/vgg16.onnx"}}
    shots = report_gallery.collect(folder, load(folder).series, settings)[0].tiles
    assert shots[0].seen[0].label == "tench"
    assert shots[0].seen[1].label == "class 0"


def test_every_kept_quality_can_be_looked_at(folder: Path, text: str) -> None:
    """The viewer has all pictures: those beside one another from the page, the others from its data."""
    page = Page(text)
    curves = page.data()["gallery"][0]
    labels = [series["label"] for series in page.data()["series"]]
    assert [labels[curve["series"]] for curve in curves] == ["rnn, \u03b1 = 0", "rnn, \u03b1 = 0.5", "JPEG"]
    kept = {"rnn, \u03b1 = 0": ["quality 2", "quality 8"], "rnn, \u03b1 = 0.5": ["quality 2"]}
    kept["JPEG"] = ["quality 15", "quality 80"]
    tiles = [image["alt"] or "" for image in page.all("img")]
    for place, curve in enumerate(curves, 1):
        assert [facts.split(" \u00b7 ")[0] for facts, _, _ in curve["steps"]] == kept[labels[curve["series"]]]
        for step, (facts, seen, source) in enumerate(curve["steps"]):
            if step == curve["shown"]:
                assert source == ""
                assert facts in tiles[place]
            else:
                with Image.open(BytesIO(b64decode(source.split(",")[1]))) as picture:
                    assert picture.size == (208, 176)
            assert [words[0] in "\u2713\u2717" for words in seen] == [True, True]
    assert [a["data-image"] for a in page.all("div") if a.get("class") == "viewer"] == ["0"]
    for word in ("clipPath", "zoom", "Math.abs(one.data[i] - other.data[i])"):
        assert word in page.text("script")


def test_tiles_far_from_the_common_rate_say_so(tmp_path: Path, big_photo: Image.Image) -> None:
    rows = [row(quality=q, bpp=bpp) for q, bpp in ((10, 0.25), (50, 1.0))]
    rows += [row(codec="webp", quality=q, bpp=bpp) for q, bpp in ((1, 0.26), (2, 2.0))]
    rows += [row(codec="bpg", quality=q, bpp=bpp) for q, bpp in ((30, 0.5), (20, 2.0))]
    folder = fake_results.write(tmp_path, rows, parts=1)
    place = folder / "gallery" / "a"
    place.mkdir(parents=True)
    for name in ("original", "jpeg-q10", "jpeg-q50", "webp-q1", "bpg-q30", "bpg-q20"):
        big_photo.save(place / f"{name}.png")
    facts = {shot.title: shot.facts for shot in report_gallery.collect(folder, load(folder).series, {})[0].tiles}
    assert "rate" not in facts["JPEG"]
    assert "rate" not in facts["WebP"]
    assert facts["BPG"].endswith("rate +100 %")
    assert "0.500 bpp" in facts["BPG"]


def test_pictures_fill_a_page_but_no_more(
    tmp_path: Path, big_photo: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fake_results.write(tmp_path, sweep_rows(4))
    for number in range(4):
        with_gallery(folder, big_photo, f"image{number:04d}")
    series = load(folder).series
    assert len(report_gallery.collect(folder, series, {})) == 4
    monkeypatch.setattr(report_gallery, "_BUDGET", 1)
    assert len(report_gallery.collect(folder, series, {})) == 1


def test_date_version_processor_and_command_are_named_and_no_folder(tmp_path: Path) -> None:
    secret = tmp_path / "secret place"
    folder = fake_results.write(secret / "sweep", sweep_rows(3), data=str(secret / "photos"), model=str(secret / "m"))
    command = [
        "beholder",
        "evaluate",
        "--data",
        str(secret / "photos"),
        f"--output={secret}/out",
        "--codecs",
        "rnn,jpeg",
    ]
    provenance.record(folder, [*command, "--classifiers", f"{secret}/a.onnx,{secret}/b.onnx", "C:\\Users\\me\\c.txt"])
    provenance.record(folder, ["beholder", "evaluate", "--resume", "--data", "https://me:key@host/shards?token=1"])
    text = report.write(folder).read_text(encoding="utf-8")
    page = Page(text)
    told = page.text("dd")
    assert "beholder evaluate --data photos --output=out --codecs rnn,jpeg --classifiers a.onnx,b.onnx c.txt" in told
    assert "https://host/shards" in told
    assert f"Beholder {__version__}, Python 3" in told
    assert provenance.processor() in told
    assert re.search(r"20\d\d-\d\d-\d\d \d\d:\d\d UTC", told)
    for hidden in (str(secret), str(tmp_path), "key@", "token", "Users"):
        assert hidden not in text
    assert page.text("dt").count("command") == 2
    (folder / provenance.RUNS).write_text("{damaged")
    Page(report.write(folder).read_text(encoding="utf-8"))


def test_a_sweep_keeps_the_record_of_its_runs(tmp_path: Path, big_photo: Image.Image) -> None:
    (tmp_path / "photos").mkdir()
    big_photo.save(tmp_path / "photos" / "a.png")
    words = ["evaluate", "--data", str(tmp_path / "photos"), "--output", str(tmp_path / "out"), "--codecs", "jpeg"]
    words += ["--qualities", "jpeg=5,10,30,60", "--classifiers", "none"]
    assert main(words) == 0
    assert main([*words, "--resume"]) == 0
    runs = provenance.read(tmp_path / "out")
    assert [run["command"].endswith("--resume") for run in runs] == [False, True]
    assert runs[0]["command"].startswith("beholder evaluate --data photos --output out")
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert str(tmp_path) not in text
    assert runs[0]["date"] in text


def test_one_unit_for_ms_ssim(text: str) -> None:
    assert "dB" not in Page(text).text("th", "button", "option", "figcaption").replace("PSNR (dB)", "")
    assert "(dB)" not in re.sub(r"//.*", "", text.replace("PSNR (dB)", ""))


def test_no_gallery_no_section(tmp_path: Path) -> None:
    text = report.write(fake_results.write(tmp_path, sweep_rows(3))).read_text(encoding="utf-8")
    Page(text)
    assert "gallery-heading" not in text


def test_damaged_pictures_are_left_out(tmp_path: Path, big_photo: Image.Image) -> None:
    folder = with_gallery(fake_results.write(tmp_path, sweep_rows(3)), big_photo)
    with_gallery(folder, big_photo, "not in the results")
    (folder / "gallery" / "image0000" / "jpeg-q15.png").write_bytes(b"\x89PNG")
    (folder / "gallery" / "stray").write_text("no folder")
    page = Page(report.write(folder).read_text(encoding="utf-8"))
    assert len(page.all("img")) == 4  # of JPEG another quality is shown
    (folder / "gallery" / "image0000" / "original.png").write_bytes(b"")
    assert not Page(report.write(folder).read_text(encoding="utf-8")).all("img")


def test_hostile_names_are_text(tmp_path: Path, big_photo: Image.Image) -> None:
    key = "&<b>\"'{{style}}"
    rows = [row(image=key, classifier=HOSTILE, quality=q, bpp=q / 40, ms_ssim=0.9 + q / 999) for q in (10, 20)]
    rows += [r | {"codec": HOSTILE} for r in rows]
    rows += [r | {"classifier": "lite0"} for r in rows]
    folder = fake_results.write(tmp_path, rows, parts=1, data=f"/x/{HOSTILE}", versions={HOSTILE: HOSTILE})
    settings = json.loads((folder / "settings.json").read_text()) | {
        "qualities": {HOSTILE: [HOSTILE]},
        "model": HOSTILE,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    place = folder / "gallery" / key
    place.mkdir(parents=True)
    big_photo.save(place / "original.png")
    big_photo.save(place / "jpeg-q10.png")
    text = report.write(folder).read_text(encoding="utf-8")
    page = Page(text)
    assert len(page.all("script")) == 2
    assert [sorted(attributes) for attributes in page.all("img")] == [["alt", "height", "loading", "src", "width"]] * 2
    assert not [a for _, attributes in page.elements for a in attributes if a.startswith("on")]
    assert page.text("option").count(HOSTILE) >= 2
    assert key in page.text("h3")
    assert HOSTILE in page.data()["views"]
    assert text.count("<script") == 2
    assert "alert(1)</script>" not in text


def test_settings_are_welcome_but_not_needed(tmp_path: Path) -> None:
    folder = fake_results.write(tmp_path, sweep_rows(3), data="/photos/holiday", protocol="paper")
    page = Page(report.write(folder).read_text(encoding="utf-8"))
    assert "holiday" in page.text("h1")
    assert "paper" in page.text("dd")
    (folder / "settings.json").write_text("{damaged")
    Page(report.write(folder).read_text(encoding="utf-8"))


@pytest.mark.parametrize("classifiers", [(None,), ("alone",)])
def test_small_sweeps(tmp_path: Path, classifiers: tuple[str | None, ...]) -> None:
    page = Page(report.write(fake_results.write(tmp_path, sweep_rows(2, classifiers))).read_text(encoding="utf-8"))
    assert page.data()["machine"] == ([] if classifiers == (None,) else ["preserved", "top1", "top5", "agreement"])
    one = fake_results.write(tmp_path / "one", [row(classifier=classifiers[0])], parts=1)
    assert Page(report.write(one).read_text(encoding="utf-8")).data()["tradeoff"]["bpp"] == []


def test_numbers_that_json_does_not_know(tmp_path: Path) -> None:
    rows = [row(psnr=float("inf"), ms_ssim=1.0), row(image="b", psnr=float("nan"), ms_ssim=1.0)]
    data = report_data.payload(summarise(fake_results.table(rows), replicates=5))
    assert "Infinity" not in report_data.embed(data)
    assert "psnr" not in data["human"]


def test_the_script_can_be_parsed(tmp_path: Path, text: str) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node to parse the script with")
    script = text.rpartition("<script>")[2].partition("</script>")[0]
    (tmp_path / "script.js").write_text(script)
    subprocess.run([node, "--check", str(tmp_path / "script.js")], check=True)
