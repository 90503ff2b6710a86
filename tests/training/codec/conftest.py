"""Two photographs to learn from and one to validate with."""

from pathlib import Path

import pytest
from helpers.photos import make_photo


@pytest.fixture(scope="package")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for i, size in enumerate([(128, 96), (90, 140)]):
        make_photo(*size, seed=i).save(folder / f"{i}.png")
    (folder / "val").mkdir()
    make_photo(256, 256, seed=9).save(folder / "val" / "val.png")
    return folder
