"""Views that a classifier is shown of a picture."""

from __future__ import annotations

import numpy as np
import pytest

from beholder.codecs.rnn.optimise import views

SIZES = [(64, 64), (96, 112), (400, 400), (416, 640), (1040, 208), (96, 2000)]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_views_lie_in_the_picture_and_change(height: int, width: int) -> None:
    chance = np.random.default_rng(0)
    drawn = [views.varied(height, width, chance) for _ in range(4)]
    assert len(set(map(str, drawn))) == 4
    for view in [view for pair in drawn for view in pair] + [views.whole(height, width)]:
        assert 0 <= view.rows.start < view.rows.stop <= height
        assert 0 <= view.columns.start < view.columns.stop <= width
        assert not any(side % views.MULTIPLE for side in view.size)
        assert min(view.size) >= views.MULTIPLE


def test_small_pictures_are_seen_from_near_and_large_ones_shrunk_and_in_part() -> None:
    for view in views.varied(96, 112, np.random.default_rng(0)):
        assert (view.rows.stop - view.rows.start, view.columns.stop - view.columns.start) == (80, 96)
        assert view.size[0] * view.size[1] >= 0.8 * 80 * 96
    whole, part = views.varied(512, 768, np.random.default_rng(0))
    assert min(whole.size) <= views.WHOLE[1]
    assert whole.size[1] / whole.size[0] == pytest.approx(1.5, rel=0.1)
    assert part.size == (views.PART, views.PART) == (part.rows.stop - part.rows.start,) * 2


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("size", [(64, 96), (32, 32), (128, 160), (64, 32)])
def test_the_adjoint_is_that_of_the_view(size: tuple[int, int], mirrored: bool) -> None:
    rng = np.random.default_rng(0)
    view = views.View(slice(10, 74), slice(3, 99), size, mirrored)
    picture = rng.integers(0, 256, (3, 80, 112), dtype=np.uint8)
    gradient = rng.normal(size=(3, *size)).astype(np.float32)
    total = np.zeros(picture.shape, np.float32)
    view.add_adjoint(gradient, total)
    assert float((total * picture).sum()) == pytest.approx(float((view.show(picture) * gradient).sum()), rel=1e-3)
    np.testing.assert_array_equal(total[:, :10], 0)


def test_a_flat_picture_stays_flat() -> None:
    picture = np.full((3, 512, 768), 77, np.uint8)
    for view in (*views.varied(512, 768, np.random.default_rng(1)), views.whole(512, 768)):
        np.testing.assert_allclose(view.show(picture), 77, rtol=1e-5)
