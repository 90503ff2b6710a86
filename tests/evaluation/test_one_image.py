"""One image through one codec: the figures are those of the file and of its pixels."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

import beholder
from beholder import codecs, observers
from beholder.metrics import ms_ssim, psnr
from beholder.pictures.comparable import comparable

KEYS = [
    "image",
    "codec",
    "quality",
    "alpha",
    "width",
    "height",
    "bytes",
    "bpp",
    "pixel_bytes",
    "metadata_bytes",
    "metadata_left_out",
    "ms_ssim",
    "psnr",
    "encode_seconds",
    "decode_seconds",
    "classifier",
    "predictions_original",
    "predictions_compressed",
    "compression",
]


def test_figures_are_those_of_the_file(photo: Image.Image) -> None:
    result = beholder.evaluate_image(photo, "jpeg", quality=30, topk=3)
    data = codecs.get("jpeg").encode(photo, 30)
    decoded = codecs.get("jpeg").decode(data)
    assert result.data == data
    assert result.decompressed.tobytes() == decoded.tobytes()
    assert (result.width, result.height) == photo.size
    assert result.bytes == len(data)
    assert result.bpp == pytest.approx(8 * len(data) / (160 * 120))
    assert result.ms_ssim == ms_ssim(photo, decoded)
    assert result.psnr == psnr(photo, decoded)
    assert result.predictions_original == observers.get("efficientnet_lite0").classify(photo, 3)
    assert result.predictions_compressed == observers.get("efficientnet_lite0").classify(decoded, 3)
    assert result.encode_seconds > 0
    assert result.decode_seconds > 0


def test_json_has_exactly_the_published_keys(photo: Image.Image) -> None:
    result = beholder.evaluate_image(photo, "webp", topk=2).as_dict()
    assert list(result) == KEYS
    assert result["quality"] == codecs.get("webp").scale.default
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    for key in ("predictions_original", "predictions_compressed"):
        assert [set(p) for p in result[key]] == [{"index", "wnid", "label", "probability"}] * 2


def test_image_names_its_path(tmp_path: Path, photo: Image.Image) -> None:
    path = tmp_path / "photo.png"
    photo.save(path)
    assert beholder.evaluate_image(path, "jpeg").image == str(path)
    assert beholder.evaluate_image(path.read_bytes(), "jpeg").image == "image"


def test_equal_pictures_have_no_number_for_psnr() -> None:
    result = beholder.evaluate_image(Image.new("L", (32, 32), 128), "jpeg", quality=100)
    assert result.ms_ssim == 1
    assert result.psnr == float("inf")
    assert result.as_dict()["psnr"] is None


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "CMYK", "I;16"])
def test_grey_and_transparent_images_are_compared_as_rgb_on_white(mode: str, modes: dict[str, Image.Image]) -> None:
    result = beholder.evaluate_image(modes[mode], "jpeg", quality=90)
    assert result.ms_ssim > 0.9


def test_paper_protocol_measures_the_square(photo: Image.Image) -> None:
    result = beholder.evaluate_image(photo, "jpeg", protocol="paper")
    assert (result.width, result.height) == (256, 256)
    assert result.original.size == result.decompressed.size == (256, 256)
    assert result.bpp == 8 * result.bytes / 256**2


def test_codec_without_icc_profiles_is_compared_in_srgb(photo: Image.Image) -> None:
    swapped = photo.copy()
    swapped.info["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    assert swapped.info["icc_profile"]
    same = comparable(swapped, swapped)
    np.testing.assert_array_equal(np.asarray(same[0]), np.asarray(photo))
