"""Limits for strangers' files: pixels, bytes and time."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from beholder.errors import BadFileError, BadOptionError

MAX_PIXELS = 200_000_000
"""Largest width x height that is opened or decoded unless the caller allows more: 600 MB as RGB."""
LARGE = 25_000_000
"""Pixels above which a picture of any format must have a byte for every PIXELS_A_BYTE."""
PIXELS_A_BYTE = 4096
"""Photographs have about 10 pixels a byte, flat pictures 1,000 as PNG and 500 as JPEG."""
MAX_FILE_BYTES = 1 << 30
"""Largest file that is read."""

_allowed: ContextVar[int] = ContextVar("max_pixels", default=MAX_PIXELS)


def max_pixels() -> int:
    """Return the largest width x height that may be opened or decoded here."""
    return _allowed.get()


@contextlib.contextmanager
def limit_pixels(count: int | None) -> Iterator[None]:
    """Allow pictures of up to ``count`` pixels within the block, in this thread; None leaves the limit as it is.

    Raises:
        BadOptionError: ``count`` is not a positive integer.
    """
    if count is None:
        yield
        return
    if isinstance(count, bool) or not hasattr(count, "__index__") or count < 1:
        raise BadOptionError(f"The limit of pixels is a positive integer, not {count!r}.")
    token = _allowed.set(int(count))
    try:
        yield
    finally:
        _allowed.reset(token)


@contextlib.contextmanager
def stop_after(seconds: float, options: Any) -> Iterator[None]:
    """End what ONNX Runtime runs in the block with ``options`` (RunOptions) after ``seconds``.

    Graphs may loop for ever.  ``options.terminate`` tells afterwards whether that was necessary.
    """
    timer = threading.Timer(seconds, setattr, (options, "terminate", True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def check_size(width: int, height: int, block: int = 1) -> None:
    """Raise BadFileError unless both sides are positive and width x height is at most :func:`max_pixels`.

    Codecs that pad both sides to a multiple of ``block`` count the padded pixels, for these take memory and time.
    """
    if width < 1 or height < 1:
        raise BadFileError(f"The file claims an image of {width} x {height} pixels: it is damaged.")
    padded, limit = (-(-width // block) * block, -(-height // block) * block), max_pixels()
    if padded[0] * padded[1] > limit:
        coded = f" (coded as {padded[0]} x {padded[1]})" if width * height <= limit else ""
        raise BadFileError(
            f"An image of {width} x {height} pixels{coded} is above the limit of {limit:,} pixels: use a smaller one, "
            "or raise the limit with --max-pixels (max_pixels in Python)."
        )


def check_claim(width: int, height: int, size: int) -> None:
    """Raise BadFileError for a picture that :func:`check_size` refuses, or a large one in a file of very few bytes.

    Decoders fill what such files lack, in minutes and gigabytes.  Who raises the limit of pixels trusts the file.
    """
    check_size(width, height)
    pixels = width * height
    if pixels > max(LARGE, PIXELS_A_BYTE * size) and max_pixels() <= MAX_PIXELS:
        raise BadFileError(
            f"A file of {size:,} bytes that claims {width} x {height} pixels is not opened: if you trust it, allow "
            f"more than {MAX_PIXELS:,} pixels with --max-pixels (max_pixels in Python)."
        )
