"""Side-by-side pictures: pixels are shown as they are, captions fit, nothing overlaps."""

import numpy as np
import pytest
from PIL import Image

import beholder
from beholder.evaluation import pictures
from beholder.evaluation.pictures import Panel
from beholder.observers import Prediction

TABBY = Prediction(281, "n02123045", "tabby", 0.75)


def panel(image: Image.Image, title: str = "jpeg, quality 10", **more: object) -> Panel:
    return Panel(image, title, "0.250 bpp", "MS-SSIM 0.9500", TABBY, **more)  # type: ignore[arg-type]


def contains(page: Image.Image, image: Image.Image) -> bool:
    pixels, wanted = np.asarray(page), np.asarray(image)
    height, width = wanted.shape[:2]
    starts = np.argwhere((pixels == wanted[0, 0]).all(-1))
    return any(
        np.array_equal(pixels[y : y + height, x : x + width], wanted)
        for y, x in starts
        if y + height <= len(pixels) and x + width <= pixels.shape[1]
    )


def test_pictures_are_shown_pixel_by_pixel() -> None:
    first, second = (
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (200, 400, 3), np.uint8)) for seed in (1, 2)
    )
    page = pictures.side_by_side([panel(first), panel(second)])
    assert page.mode == "RGB"
    assert page.width > 2 * 400
    assert contains(page, first)
    assert contains(page, second)


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((1, 1), (320, 320)),
        ((90, 60), (270, 180)),
        ((320, 10), (320, 10)),
        ((4000, 2000), (1200, 600)),
        ((10, 9000), (1, 1200)),
    ],
)
def test_scale(size: tuple[int, int], shown: tuple[int, int]) -> None:
    page = pictures.side_by_side([panel(Image.new("RGB", size, (255, 0, 0)))])
    red = np.argwhere((np.asarray(page) == (255, 0, 0)).all(-1))
    height, width = red.max(0) - red.min(0) + 1
    assert (width, height) == shown


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (2, 2), (3, 3), (4, 2), (5, 3), (6, 3)])
def test_grid(count: int, columns: int) -> None:
    image = Image.new("RGB", (400, 300), "blue")
    page = pictures.side_by_side([panel(image)] * count)
    assert page.width == pytest.approx(columns * 400, rel=0.4)
    assert page.size == pictures.side_by_side([panel(image)] * count, columns).size


@pytest.mark.parametrize("width", [64, 320, 700, 1200])
def test_long_captions_do_not_leave_their_panel(width: int) -> None:
    image = Image.new("RGB", (width, 50), "blue")
    long = Panel(image, "t" * 300, "0.250 bpp", "f" * 300, Prediction(0, "n0", "l" * 300, 1.0), agrees=False)
    page = np.asarray(pictures.side_by_side([long]))
    margin = round(28 * min(max(max(width, 320) / 450, 0.8), 2.4))
    assert (page[:, : margin - 2] == 255).all()
    assert (page[:, -margin + 2 :] == 255).all()


def test_letters_that_the_font_lacks_do_no_harm() -> None:
    pictures.side_by_side([panel(Image.new("RGB", (40, 40)), title="Caf\u00e9 \u732b \u03b1")])


def test_modes_and_missing_predictions(modes: dict[str, Image.Image]) -> None:
    pictures.side_by_side([Panel(modes[mode], mode) for mode in ("L", "LA", "P", "RGBA", "CMYK")])


def test_comparison_says_whether_the_label_stayed(photo: Image.Image) -> None:
    results = [beholder.evaluate_image(photo, name) for name in ("jpeg", "webp", "bpg")]
    page = pictures.comparison(results)
    assert page.width > page.height
    panels = [pictures.original_panel(results[0]), *map(pictures.result_panel, results)]
    assert [p.title for p in panels] == ["Original", "jpeg, quality 75", "webp, quality 75", "bpg, QP 29"]
    for shown, result in zip(panels[1:], results, strict=True):
        assert shown.agrees == (result.predictions_compressed[0].index == result.predictions_original[0].index)


def test_another_prediction_is_marked_without_colour(photo: Image.Image) -> None:
    """A cross before the label: in grey, too, the caption differs from that of the same prediction."""
    shown = [
        np.asarray(pictures.side_by_side([panel(photo, "t", agrees=agrees)]).convert("L")) < 200
        for agrees in (True, False)
    ]
    ink = [int(picture[-40:].sum()) for picture in shown]
    assert ink[1] > ink[0] + 10
