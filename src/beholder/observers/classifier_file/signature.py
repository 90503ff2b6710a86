"""Reading what an opened ONNX file takes and gives: its input of pictures, their layout, the output that answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from beholder.errors import BadFileError
from beholder.observers.sidecar import Layout

FEATURES = "features"
"""The name of the output that :meth:`beholder.observers.base.Observer.features` looks for."""

_INPUT_TYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}
_ANSWER_TYPES = ("tensor(float)", "tensor(float16)", "tensor(double)", "tensor(uint8)")
_MAP_TYPES = ("seq(map(int64,tensor(float)))", "seq(map(string,tensor(float)))")
# Names that exporters give to the answer; the first that occurs is taken.
_ANSWER_NAMES = ("probabilities", "logits", "output_probability", "probs", "softmax", "prob", "logit", "score")

_LARGEST_BATCH = 1 << 30  # bytes
_Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Signature:
    """Signature of a classifier file."""

    input: str
    dtype: Any
    layout: Layout
    channels: int
    """3, or 1 for grey."""
    rank: int
    """Axes of the input: 4, or 3 for one picture without a batch, or 2 for rows of pixels."""
    batch: int | None
    """The only batch size that it takes; None for any."""
    answers: tuple[str, ...]
    """The output with the answer, or one output a class."""
    features: str | None
    guessed: bool
    """Whether nothing in the file or its sidecar says which layout it has."""


def read(
    session: Any, path: Path, side: int, classes: int, layout: Layout | None = None, answer: str | None = None
) -> Signature:
    """The signature of an open file.

    Args:
        side: of the square pictures; free axes of the input take it.
        classes: how many are named.
        layout: what the sidecar says; None to tell by the shape.
        answer: the output that the sidecar names; None to choose.

    Raises:
        BadFileError: the file is no classifier of square pictures of this size, or does not tell which output answers.
    """
    inputs = session.get_inputs()
    shape = _shape(inputs[0].shape) if len(inputs) == 1 else ()
    if not 2 <= len(shape) <= 4 or inputs[0].type not in _INPUT_TYPES:
        taken = ", ".join(f"{i.name}: {i.type} {' x '.join(map(str, i.shape))}" for i in inputs[:4]) or "nothing"
        raise BadFileError(f"{path} does not take one batch of pictures but {taken}: it is no image classifier for us.")
    picture = shape if len(shape) == 3 else shape[1:]
    if len(shape) == 2:
        found, channels, guessed = layout or "NHWC", _channels_of_row(picture[0], side, path), False
    else:
        found, channels, guessed = _layout(picture, inputs[0].shape[-3:], side, layout, path)
    if len(shape) != 3 and (shape[0] or 1) * picture_bytes(side) > _LARGEST_BATCH:
        raise BadFileError(
            f"{path} takes {shape[0]:,} pictures at once, more than fit into {_LARGEST_BATCH >> 30} GiB: "
            "export it with a free batch."
        )
    answers, features = _outputs(session.get_outputs(), path, classes, answer)
    return Signature(
        input=inputs[0].name,
        dtype=_INPUT_TYPES[inputs[0].type],
        layout=found,
        channels=channels,
        rank=len(shape),
        batch=1 if len(shape) == 3 else shape[0],
        answers=answers,
        features=features,
        guessed=guessed,
    )


def picture_bytes(side: int) -> int:
    """Bytes of a square colour picture of 32-bit numbers."""
    return 3 * 4 * side**2


def _shape(shape: Sequence[Any]) -> _Shape:
    """Axes with any size are strings, None, 0 or negative in files; here all of them are None."""
    return tuple(size if isinstance(size, int) and size > 0 else None for size in shape)


def _layout(
    picture: _Shape, names: Sequence[Any], side: int, wanted: Layout | None, path: Path
) -> tuple[Layout, int, bool]:
    """Layout, channels, and whether that is a guess."""
    orders: tuple[tuple[Layout, int], ...] = (("NCHW", 0), ("NHWC", 2))
    fits = {}
    for layout, axis in orders:
        channels, sides = picture[axis], picture[:axis] + picture[axis + 1 :]
        if channels in (1, 3, None) and all(size in (side, None) for size in sides):
            fits[layout] = channels
    shown = " x ".join(str(name) for name in names)
    if wanted is not None and wanted not in fits:
        raise BadFileError(f'{path} takes pictures of {shown}, which is not {wanted}: correct "layout" in its sidecar.')
    if wanted is not None:
        return wanted, fits[wanted] or 3, False
    if not fits:
        raise BadFileError(f"{path} takes pictures of {shown}, not {side} x {side} x 3: {_remedy(picture, side)}.")
    if len(fits) == 1:
        layout = next(iter(fits))
        return layout, fits[layout] or 3, False
    # Both fit: by a fixed number of channels, by the axes' names, or as most networks are.
    fixed: list[Layout] = [layout for layout, channels in fits.items() if channels is not None]
    if len(fixed) == 1:
        return fixed[0], fits[fixed[0]] or 3, False
    for layout, axis in orders:
        name = str(names[axis]).lower()
        if "channel" in name or name in ("c", "ch"):
            return layout, fits[layout] or 3, False
    return "NCHW", fits["NCHW"] or 3, not fixed


def _remedy(picture: _Shape, side: int) -> str:
    fixed = [size for size in picture if size is not None]
    if fixed.count(side) >= 2 or len(fixed) == 1:
        return "only classifiers of colour or grey pictures can be observers"
    sides = [size for size in fixed if size not in (1, 3)]
    if len(sides) == 2 and sides[0] != sides[1]:
        return "only square pictures can be shown"
    return "correct its input_size"


def _channels_of_row(length: int | None, side: int, path: Path) -> int:
    for channels in (3, 1):
        if length in (channels * side * side, None):
            return channels
    raise BadFileError(
        f"{path} takes rows of {length:,} pixels, neither {side} x {side} x 3 nor {side} x {side}: "
        "correct its input_size."
    )


def _outputs(
    outputs: Sequence[Any], path: Path, classes: int, answer: str | None
) -> tuple[tuple[str, ...], str | None]:
    """The outputs with the answer, and the one with features."""
    names = [output.name for output in outputs]
    features = FEATURES if FEATURES in names and answer != FEATURES and len(names) > 1 else None
    if answer is not None:
        if answer not in names:
            near = get_close_matches(answer, names, 1)
            hint = f"write {near[0]!r}" if near else f"choose one of {_some(names)}"
            raise BadFileError(f'{path} has no output {answer!r}, which its sidecar names as "output_name": {hint}.')
        return (answer,), features
    numbers = [o for o in outputs if o.type in (*_ANSWER_TYPES, *_MAP_TYPES) and o.name != features]
    if not numbers:
        kinds = _some([f"{o.name}: {o.type}" for o in outputs])
        raise BadFileError(f"{path} gives no probabilities, only {kinds}: export it with probabilities or logits.")
    fitting = [o for o in numbers if _columns(o) == classes] or [
        o for o in numbers if _columns(o) is None or (_columns(o) == 1 and classes == 2)
    ]
    single = [o for o in numbers if _columns(o) == 1]
    if len(numbers) == 1:
        return (numbers[0].name,), features
    if not [o for o in fitting if _columns(o) == classes] and len(single) == classes:
        return tuple(o.name for o in single), features  # one column a class, as skl2onnx can write them
    fitting = fitting or numbers
    named = [o.name for wanted in _ANSWER_NAMES for o in fitting if o.name == wanted]
    named += [o.name for wanted in _ANSWER_NAMES for o in fitting if wanted in o.name.lower()]
    if named:
        return (named[0],), features
    if len(fitting) > 1:
        raise BadFileError(
            f"{path} has several outputs that may be the answer ({_some([o.name for o in fitting])}): "
            'name one as "output_name" in its sidecar.'
        )
    return (fitting[0].name,), features


def _columns(output: Any) -> int | None:
    """Number of values that a picture gets; None where the file does not say."""
    if output.type in _MAP_TYPES:
        return None
    shape = _shape(output.shape)
    result = 1
    for size in shape[1:]:
        if size is None:
            return None
        result *= size
    return result


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
