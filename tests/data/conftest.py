"""Fixtures for shards: a small folder of images, and what ``data create`` makes of it."""

from pathlib import Path

import pytest
from helpers.published import put

from beholder.data.files import FileSource
from beholder.data.folder import read_folder
from beholder.data.shards.create import create

CLASSES = ("goldfish", "tench", "kit fox")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven images in three class folders, of several formats."""
    root = tmp_path_factory.mktemp("photos")
    for number in range(11):
        put(root / CLASSES[number % 3] / f"photo {number:02}{('.jpg', '.PNG', '.webp')[number % 3]}", number)
    return root


@pytest.fixture(scope="session")
def made(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shards of those images, the last shorter."""
    target = tmp_path_factory.mktemp("shards")
    create(FileSource(read_folder(folder)), target, shard_size=4)
    return target


@pytest.fixture
def shards(made: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    for path in made.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path
