"""Random crops of photographs, drawn so that a run can stop and resume exactly.

Batch number ``step`` depends on the seed and ``step`` alone.  Each crop is taken at a random scale: shrinking
with an antialiasing filter hides the artefacts that the source was stored with.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from beholder.errors import BadImageError
from beholder.pictures.modes import flatten
from beholder.reading import load

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm"}
CACHE_BYTES = 3 << 30
AHEAD = 4
"""Batches that are ready, for each thread that prepares them."""
MOST_THREADS = 8


class PhotoCrops:
    """Crops from all photographs below ``folder``; larger photographs are drawn more often.

    Raises:
        BadImageError: there are no photographs, or one cannot be read.
    """

    def __init__(self, folder: Path, crop: int, seed: int = 0) -> None:
        self.paths = find_photos(folder)
        self.crop = crop
        self.seed = seed
        self._cache: OrderedDict[Path, Image.Image] = OrderedDict()
        self._cached = 0
        self._lock = threading.Lock()
        areas = []
        for path in self.paths:
            try:
                with Image.open(path) as image:
                    areas.append(image.width * image.height)
            except Exception:  # Pillow's plugins raise whatever the bytes provoke
                raise BadImageError(f"{path} is no image that can be read: remove it.") from None
        weights = np.sqrt(np.array(areas, float))
        self._chance = weights / weights.sum()

    def batch(self, step: int, size: int) -> np.ndarray:
        """(size, 3, crop, crop) uint8, the same for the same seed, step and size."""
        rng = np.random.default_rng([self.seed, step])
        chosen = rng.choice(len(self.paths), size, p=self._chance)
        return np.stack([self._crop(self._image(self.paths[i]), rng) for i in chosen])

    def batches(self, start: int, size: int) -> Iterator[np.ndarray]:
        """Batches (size, 3, crop, crop) uint8 from number ``start`` on, prepared ahead in the background.

        Each core but one has a thread for it.
        """
        threads = min(max((os.cpu_count() or 1) - 1, 1), MOST_THREADS)
        with ThreadPoolExecutor(threads) as pool:
            waiting = [pool.submit(self.batch, start + i, size) for i in range(AHEAD * threads)]
            step = start + len(waiting)
            try:
                while True:
                    batch = waiting.pop(0).result()
                    waiting.append(pool.submit(self.batch, step, size))
                    step += 1
                    yield batch
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _image(self, path: Path) -> Image.Image:
        with self._lock:
            if path in self._cache:
                self._cache.move_to_end(path)
                return self._cache[path]
        image = flatten(load(path)).convert("RGB")
        with self._lock:
            if path not in self._cache:  # another thread may have loaded it meanwhile
                self._cached += image.width * image.height * 3
            self._cache[path] = image
            while self._cached > CACHE_BYTES and len(self._cache) > 1:
                _, old = self._cache.popitem(last=False)
                self._cached -= old.width * old.height * 3
        return image

    def _crop(self, image: Image.Image, rng: np.random.Generator) -> np.ndarray:
        # Shrink by up to a factor of four, never enlarge unless the photograph is smaller than a crop.
        most = max(min(image.size) / self.crop, 1e-9)
        shrink = min(most, float(np.exp(rng.uniform(0, np.log(min(4.0, max(most, 1.0)))))))
        side = min(self.crop * shrink, *image.size)  # rounding may have made it a little larger
        left = rng.uniform(0, image.width - side)
        top = rng.uniform(0, image.height - side)
        if shrink == 1.0:
            box = (int(left), int(top), int(left) + self.crop, int(top) + self.crop)
            piece = image.crop(box)
        else:
            size = (self.crop, self.crop)
            box_f = (left, top, left + side, top + side)
            piece = image.resize(size, Image.Resampling.LANCZOS, box=box_f)
        pixels = np.asarray(piece)
        pixels = np.rot90(pixels, int(rng.integers(4)))
        if rng.integers(2):
            pixels = pixels[:, ::-1]
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def find_photos(folder: Path) -> list[Path]:
    """All image files below ``folder``, sorted; BadImageError if there are none."""
    if not folder.is_dir():
        raise BadImageError(f"There is no folder {folder}: give a folder of photographs.")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not paths:
        raise BadImageError(f"The folder {folder} holds no photographs ({', '.join(sorted(SUFFIXES))}).")
    return paths


def validation_set(folder: Path, side: int = 256, most: int = 48) -> np.ndarray:
    """Centre crops (N, 3, side, side) uint8 of the first photographs, shrunk only where they are large."""
    crops = []
    for path in find_photos(folder)[:most]:
        image = flatten(load(path)).convert("RGB")
        scale = side / min(image.size)
        if scale > 1 or scale < 0.5:
            image = image.resize(
                (max(side, round(image.width * scale)), max(side, round(image.height * scale))),
                Image.Resampling.LANCZOS,
            )
        left, top = (image.width - side) // 2, (image.height - side) // 2
        crops.append(np.asarray(image.crop((left, top, left + side, top + side))).transpose(2, 0, 1))
    return np.stack(crops)
