"""The report's page in a browser: its scripts run without an error, and all figures are drawn."""

from pathlib import Path

from helpers import fake_results
from helpers.fake_results import sweep_rows
from helpers.web.browser import open_browser
from PIL import Image

from beholder.evaluation.report import write as report


def test_all_figures_are_drawn_without_an_error(tmp_path: Path, big_photo: Image.Image) -> None:
    folder = fake_results.write(tmp_path / "sweep", sweep_rows(8))
    gallery = folder / "gallery" / "image0000"
    gallery.mkdir(parents=True)
    for name in ("original", "rnn-a0-q2", "rnn-a0-q8", "jpeg-q15"):
        big_photo.save(gallery / f"{name}.png")
    report.write(folder)
    with open_browser() as browser:
        page = browser.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto((folder / "report.html").as_uri())
        page.wait_for_selector("#tradeoff-plot svg")
        drawn = page.evaluate("[...document.querySelectorAll('svg')].map((svg) => svg.childElementCount)")
    assert errors == []
    assert sum(parts > 5 for parts in drawn) == 3  # the others are marks of the legend
