"""Pictures that tests make, so that none need be stored."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image, ImageFilter

PILLOW_MODES = (
    *("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"),
    *("I", "I;16", "I;16L", "I;16B", "I;16N", "F"),
)


def make_photo(width: int, height: int, seed: int = 7) -> Image.Image:
    """A deterministic picture with the statistics of a photograph."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    frequency = np.hypot(np.fft.fftfreq(height)[:, np.newaxis], np.fft.rfftfreq(width)) + 1 / max(width, height)
    texture = np.empty((3, height, width))
    for channel in range(3):
        spectrum = np.fft.rfft2(rng.standard_normal((height, width))) / frequency**1.1
        noise = np.fft.irfft2(spectrum, (height, width))
        texture[channel] = noise / max(noise.std(), 1e-9)
    # Natural colours vary together far more than apart.
    colours = 0.85 * texture[:1] + 0.35 * texture
    light = 150 + 60 * np.sin(x / width * 2.5 + y / height)
    scene = light + 28 * colours
    disc = (x - 0.62 * width) ** 2 + (y - 0.45 * height) ** 2 < (0.22 * min(width, height)) ** 2
    scene[:, disc] = 0.35 * scene[:, disc] + np.array([[130.0], [40.0], [25.0]])
    bars = (x < 0.3 * width) & (y > 0.7 * height) & (x // 4 % 2 == 0)
    scene[:, bars] = 30
    pixels = np.clip(np.rint(scene), 0, 255).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(np.moveaxis(pixels, 0, 2)))


def damage(photo: Image.Image, how: str) -> Image.Image:
    """The picture after ``how``: jpeg, blur, negative or noise (nothing of it left)."""
    if how == "jpeg":
        out = BytesIO()
        photo.save(out, "JPEG", quality=8)
        return Image.open(out).convert("RGB")
    if how == "blur":
        return photo.filter(ImageFilter.GaussianBlur(3))
    if how == "negative":
        return Image.fromarray(255 - np.asarray(photo))
    assert how == "noise"
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, np.asarray(photo).shape, dtype=np.uint8))


def in_mode(photo: Image.Image, mode: str) -> Image.Image:
    """``photo`` in any Pillow mode; modes with transparency get a gradient of it, I;16 all 16 bits."""
    gradient = Image.linear_gradient("L").resize(photo.size)
    if mode in ("LA", "RGBA", "La", "RGBa"):
        image = photo.convert(mode.upper())
        image.putalpha(gradient)
        return image.convert(mode)
    if mode == "PA":
        image = photo.convert("P").convert("PA")
        image.putalpha(gradient)
        return image
    if mode.startswith("I;16"):
        order = ">u2" if mode == "I;16B" else "<u2"
        deep = (np.asarray(photo.convert("L")).astype(np.uint16) * 257).astype(order)
        return Image.frombytes(mode, photo.size, deep.tobytes())
    return photo.convert(mode)
