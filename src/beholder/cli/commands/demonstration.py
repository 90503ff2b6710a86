"""``beholder demo``: several codecs, one photo, equal file size."""

from __future__ import annotations

from pathlib import Path

from beholder import codecs, observers
from beholder.cli import files
from beholder.codecs.base import Codec
from beholder.evaluation import one_image, pictures
from beholder.evaluation.matching import closest_quality
from beholder.evaluation.metadata import strip_metadata
from beholder.evaluation.one_image import Evaluation
from beholder.reading import open_image

OBSERVERS = (0.0, 1.0)
"""The alphas at which ``rnn`` is shown unless the user names one: people and a machine."""
RIVALS = ("jpeg", "webp", "bpg")


def run(source: str, alpha: float | None, quality: int | None, classifier: str, model: Path | None) -> list[Evaluation]:
    """Evaluate ``rnn``, then at the quality whose file is nearest in bytes its other observer and ``RIVALS``.

    Raises:
        BeholderError: an option is out of range, the image cannot be read, or a codec cannot run here.
    """
    rnn = codecs.open_codec("rnn", model)
    first, *others = OBSERVERS if alpha is None else (alpha,)
    codecs.check_options(rnn, first, quality)
    observer = observers.get(classifier)
    one_image.check(observer, 1, "native")
    image = strip_metadata(open_image(source))  # equal sizes are those of pixels

    def evaluate(codec: Codec, quality: int | None, alpha: float) -> Evaluation:
        return one_image.evaluate_image(image, codec, observer, name=source, quality=quality, alpha=alpha, topk=1)

    results = [evaluate(rnn, quality, first)]
    contestants = [(rnn, other) for other in others] + [(codecs.get(name), 0.0) for name in RIVALS]
    for codec, observed in contestants:
        matched = closest_quality(codec, image, results[0].bytes, observed)
        results.append(evaluate(codec, matched, observed))
    return results


def save(evaluations: list[Evaluation], folder: Path) -> Path:
    """Write the side-by-side picture and each codec's file; the picture's path."""
    stem = Path(evaluations[0].image).stem
    files.make_folder(folder)
    for evaluation in evaluations:
        codec = codecs.get(evaluation.codec)
        name = f"{stem}-alpha-{evaluation.alpha:g}" if codec.takes_alpha else stem
        files.write(str(folder / (name + codec.suffix)), evaluation.data, force=True)
    picture = folder / "side-by-side.png"
    files.write(str(picture), pictures.to_png(pictures.comparison(evaluations)), force=True)
    return picture
