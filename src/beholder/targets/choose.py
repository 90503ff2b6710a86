"""Several codecs for one target: ``--codec auto``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from beholder import codecs
from beholder.codecs import AUTO as AUTO
from beholder.codecs.base import Codec
from beholder.errors import BadImageError, NotAvailableError
from beholder.metrics import ms_ssim
from beholder.pictures.comparable import comparable
from beholder.targets.kinds import RateTarget, Target
from beholder.targets.search import Found, Progress, find


@dataclass(frozen=True)
class Choice:
    """The codec that won, and what the others reached."""

    best: Found
    others: tuple[Found, ...]
    """Without ``best``, in the order of the codecs."""
    left_out: tuple[tuple[str, str], ...]
    """(codec, why it wrote no file)."""

    @property
    def tries(self) -> int:
        """Number of files that were judged, of all codecs."""
        return self.best.tries + sum(found.tries for found in self.others)


def available() -> list[Codec]:
    """The codecs that can run here."""
    result = []
    for name in codecs.names():
        try:
            codec = codecs.get(name)
        except NotAvailableError:  # a broken plugin
            continue
        if codec.unavailable() is None:
            result.append(codec)
    return result


def choose(
    contestants: Sequence[Codec],
    image: Image.Image,
    target: Target,
    *,
    alpha: float = 0.0,
    progress: Progress = lambda done, total: None,
) -> Choice:
    """Search with every codec and take the best file.

    For a quality that is the smallest file that reaches it.  For a rate, where all files are about as large, it is
    the one with the highest MS-SSIM.  If no codec reaches the target, the nearest to it wins.  Once a file reaches a
    metric, later codecs get no more bytes than that, so their files mostly miss it.

    Args:
        contestants: one or more available codecs.
        image, target, alpha: as for :func:`beholder.targets.find`.
        progress: called with how many tries are over, and how many there may be.

    Raises:
        BadImageError: the image fits into none of the codecs.
        BeholderError: as for :func:`beholder.targets.find`.
    """
    found: list[Found] = []
    writers = {codec.name: codec for codec in contestants}
    left_out: list[tuple[str, str]] = []
    over = 0.0
    for number, codec in enumerate(contestants):
        left = len(contestants) - number

        def tell(done: float, total: float, before: float = over, codecs: int = left) -> None:
            nonlocal over
            over = before + done
            # The other codecs may need as many tries as this one.
            progress(over, before + total * codecs)

        try:
            most = min((len(file.data) for file in found if file.reached), default=None)
            found.append(find(codec, image, target, alpha=alpha, most=most, progress=tell))
        except (BadImageError, NotAvailableError) as error:
            left_out.append((codec.name, str(error)))
    if not found:
        raise BadImageError(left_out[0][1])
    reached = [file for file in found if file.reached]
    if not reached:
        best = max(found, key=lambda file: (file.score.rank, -len(file.data)))
    elif isinstance(target, RateTarget):
        best = max(reached, key=lambda file: _quality(image, file.data, writers[file.codec]))
    else:
        best = min(reached, key=lambda file: len(file.data))
    return Choice(best, tuple(file for file in found if file is not best), tuple(left_out))


def _quality(image: Image.Image, data: bytes, codec: Codec) -> float:
    return ms_ssim(*comparable(image, codec.decode(data)))
