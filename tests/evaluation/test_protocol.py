"""What is compressed and classified under the protocols native and paper."""

import numpy as np
import pytest
from PIL import Image

from beholder import observers
from beholder.errors import BadOptionError
from beholder.evaluation import protocol


@pytest.mark.parametrize(("input_size", "side"), [(224, 256), (299, 336), (240, 272), (256, 288)])
def test_paper_side(input_size: int, side: int) -> None:
    assert protocol.paper_side(input_size) == side


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (31, 900), (1, 1)])
def test_paper_compresses_a_square_and_shows_its_centre(size: tuple[int, int]) -> None:
    observer = observers.get("efficientnet_lite0")
    rules = protocol.get("paper")
    prepared = rules.prepare(Image.new("RGBA", size, (10, 200, 30, 255)), 224)
    assert (prepared.mode, prepared.size, prepared.info) == ("RGB", (256, 256), {})
    assert rules.view(prepared, observer).size == (224, 224)


def test_paper_takes_the_middle_of_wide_and_tall_images() -> None:
    for transpose in (False, True):
        pixels = np.zeros((100, 300, 3), np.uint8)
        pixels[:, 100:200] = 255
        image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 0, 2) if transpose else pixels))
        assert np.asarray(protocol.get("paper").prepare(image, 224)).min() == 255


def test_paper_view_does_not_resize() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    seen = protocol.get("paper").view(Image.fromarray(pixels), observers.get("efficientnet_lite0"))
    np.testing.assert_array_equal(np.asarray(seen), pixels[16:240, 16:240])


def test_native_leaves_the_image_alone(photo: Image.Image) -> None:
    assert protocol.get("native").prepare(photo, 224) is photo


def test_unknown_protocol_lists_the_known() -> None:
    with pytest.raises(BadOptionError, match="native, paper"):
        protocol.get("kodak")
