"""Tables fitted to photographs: distributions still, and shorter files."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason="torch is not installed")  # for what draws the crops

from beholder import weights
from beholder.codecs.rnn import Rnn, onnx_model
from beholder.codecs.rnn.entropy.tables import PROBABILITY_BITS, laplace_tables, table_sizes
from beholder.errors import BadImageError
from beholder.training.codec import fit_tables as fitting
from beholder.training.codec.fit_tables import fit_tables


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The model that ships, with Laplace's tables."""
    folder = tmp_path / "model"
    shutil.copytree(weights.CODEC, folder)
    with np.load(folder / "entropy.npz") as archive:
        arrays = dict(archive)
    arrays["tables"] = laplace_tables()[0]
    np.savez(folder / "entropy.npz", **arrays)
    (folder / "model.json").write_text("{}")  # its identity was that of other files
    return folder


def test_files_get_smaller(
    model: Path, tmp_path: Path, big_photo: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By 1 % with a dozen crops: files are whole words of 32 bits, so it takes two to show it safely."""

    def encoded() -> list[bytes]:
        onnx_model.load.cache_clear()
        return [Rnn(model, effort=1).encode(big_photo, quality) for quality in (2, 3)]

    monkeypatch.setattr(fitting, "CROP", 96)
    photos = tmp_path / "photos"
    photos.mkdir()
    big_photo.save(photos / "one.png")
    before, seen = encoded(), []
    fit_tables(model, photos, crops=6, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i + 1, 12) for i in range(12)]
    after, codec = encoded(), Rnn(model)
    arrays = codec.model.arrays
    ends = np.cumsum(table_sizes(arrays["reach"].astype(np.int64)))[:-1]
    for table in np.split(arrays["tables"].astype(np.int64), ends):
        assert table.sum() == 1 << PROBABILITY_BITS
        assert table.min() > 0
    assert sum(map(len, after)) < sum(map(len, before))
    assert codec.decode(after[1]).size == big_photo.size


def test_no_photographs(model: Path, tmp_path: Path) -> None:
    with pytest.raises(BadImageError, match="no folder"):
        fit_tables(model, tmp_path / "none")
