"""The codecs by name, imported only when asked for.

To add one here, write a :class:`~beholder.codecs.base.Codec` and a line in ``_BUILT_IN``.  Another
package adds its own by an entry point in the group ``beholder.codecs``::

    [project.entry-points."beholder.codecs"]
    flif = "my_package.flif:Flif"
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import SupportsIndex

from beholder.codecs.base import Codec, QualityScale, check_alpha
from beholder.errors import BadFileError, BadOptionError, NotAvailableError, note

__all__ = ["AUTO", "Codec", "QualityScale", "check_options", "get", "names", "open_codec", "recognise", "tell_useless"]

AUTO = "auto"
"""The name that stands for the best codec for a target."""
ENTRY_POINT_GROUP = "beholder.codecs"

_BUILT_IN = {
    "rnn": "beholder.codecs.rnn:Rnn",
    "jpeg": "beholder.codecs.jpeg:Jpeg",
    "webp": "beholder.codecs.webp:WebP",
    "bpg": "beholder.codecs.bpg:Bpg",
    "avif": "beholder.codecs.avif:Avif",
    "jpeg2000": "beholder.codecs.jpeg2000:Jpeg2000",
    "jxl": "beholder.codecs.jxl:Jxl",
    "heic": "beholder.codecs.heic:Heic",
}


def names() -> list[str]:
    """Every codec's name: the built-in ones, then other packages' in alphabetical order."""
    return list(_table())


def get(name: str) -> Codec:
    """Return the codec called ``name``, in capital or small letters; the same object every time.

    A codec whose software is missing is returned all the same: see ``Codec.unavailable``.

    Raises:
        BadOptionError: no codec has this name.
        NotAvailableError: the codec's own module cannot be imported.
    """
    if isinstance(name, str) and name.lower() in _BUILT_IN:
        return _instance(_BUILT_IN[name.lower()])
    table = _table()
    if isinstance(name, str) and name not in table:
        name = next((known for known in table if known.lower() == name.lower()), name)
    if name not in table:
        raise BadOptionError(f"There is no codec {name!r}: choose one of {', '.join(table)}.")
    return _instance(table[name])


def by_suffix(suffix: str) -> Codec | None:
    """Return the codec whose files end in ``suffix`` (with its dot, in any case), or None."""
    suffix = suffix.lower()
    return next((codec for codec in _loadable() if suffix in (codec.suffix, *codec.other_suffixes)), None)


def suffixes() -> list[str]:
    """Return the suffix that each codec gives its files."""
    return [codec.suffix for codec in _loadable()]


def _loadable() -> Iterator[Codec]:
    for place in _places():
        with contextlib.suppress(NotAvailableError):  # a broken plugin must not hide the codecs after it
            yield _instance(place)


def _places() -> Iterator[str]:
    """Where the codecs lie, in the order of :func:`names`; other packages are looked for when they are needed."""
    yield from _BUILT_IN.values()
    yield from _others().values()


def open_codec(
    name: str,
    model: str | os.PathLike[str] | None = None,
    effort: int = 0,
    human: str | None = None,
    observer: Path | None = None,
) -> Codec:
    """The codec called ``name``, with the user's own ``model``, ``effort``, ``human`` and ``observer`` if given.

    Args:
        name: in capital or small letters.
        model, effort, human, observer: as for :class:`beholder.codecs.rnn.Rnn`.

    Raises:
        BadOptionError: nobody has this name, there is no such effort or distance, or one of them is given for a codec
            other than ``rnn``.
    """
    given = {"model": model is not None, "effort": bool(effort), "human": human is not None}
    given["observer"] = observer is not None
    if not any(given.values()):
        return get(name)
    if get(name).name != "rnn":
        option = next(option for option, there in given.items() if there)
        raise BadOptionError(f"The codec {name} takes no {option}: only rnn does.")
    from beholder.codecs.rnn import Rnn

    return Rnn(model=None if model is None else Path(model), effort=effort, human=human, observer=observer)


def check_options(codec: Codec, alpha: float, quality: SupportsIndex | None) -> None:
    """Raise BadOptionError for a quality or an alpha outside its range, before any work is done.

    An option that has no effect is told.
    """
    codec.scale.check(codec.name, quality)
    check_alpha(alpha)
    tell_useless([codec], alpha)


def tell_useless(contestants: Iterable[Codec], alpha: float) -> None:
    """Tell which options have no effect.  Of several codecs one that takes alpha is enough to give it one."""
    contestants = list(contestants)
    taken = any(codec.takes_alpha for codec in contestants)
    for codec in contestants:
        useless = codec.without_effect(alpha if codec.takes_alpha or not taken else 0.0)
        if useless is not None:
            note(useless)


def recognise(data: bytes) -> Codec:
    """Return the codec whose files begin like ``data`` (a file, or its first 64 bytes).

    Raises:
        BadFileError: no codec knows these bytes.
    """
    head = bytes(data[:64])
    for codec in _loadable():
        if codec.recognises(head):
            return codec
    raise BadFileError("The file is not in a format that any codec here knows.")


def _table() -> dict[str, str]:
    return _BUILT_IN | _others()


def _others() -> dict[str, str]:
    """The codecs of other packages."""
    from importlib.metadata import entry_points  # slow, and rarely needed

    found = {point.name: point.value for point in entry_points(group=ENTRY_POINT_GROUP)}
    return {name: found[name] for name in sorted(found) if name not in _BUILT_IN}


@cache
def _instance(entry_point: str) -> Codec:
    module, _, attribute = entry_point.partition(":")
    try:
        codec = getattr(import_module(module), attribute)()
    except Exception as error:  # a stranger's code
        raise NotAvailableError(f"The codec at {entry_point} cannot be loaded ({error}): reinstall it.") from None
    if not isinstance(codec, Codec):
        raise NotAvailableError(f"What lies at {entry_point} is no codec: reinstall its package.")
    return codec
