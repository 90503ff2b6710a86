"""Codecs side by side at equal file size."""

import pytest
from PIL import Image

from beholder import codecs
from beholder.evaluation.matching import closest_quality


@pytest.mark.parametrize("name", ["jpeg", "webp"])
@pytest.mark.parametrize("target", [1, 900, 2_500, 6_000, 10**9])
def test_no_other_quality_comes_closer(name: str, target: int, photo: Image.Image) -> None:
    codec = codecs.get(name)
    sizes = {q: len(codec.encode(photo, q)) for q in range(codec.scale.lowest, codec.scale.highest + 1)}
    chosen = closest_quality(codec, photo, target)
    nearest = min(abs(size - target) for size in sizes.values())
    # Sizes are not strictly monotonic, so bisection may miss the nearest by a few bytes.
    assert abs(sizes[chosen] - target) <= nearest + 0.02 * min(target, max(sizes.values()))


def test_scales_on_which_lower_is_better(photo: Image.Image) -> None:
    codec = codecs.get("bpg")
    small = photo.crop((0, 0, 48, 48))
    target = len(codec.encode(small, 33))
    chosen = closest_quality(codec, small, target)
    assert len(codec.encode(small, chosen)) == target
