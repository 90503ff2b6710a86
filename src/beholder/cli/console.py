"""Rich's console for texts of strangers: neither markup nor control characters have a meaning in them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from beholder.cli.streams import printable


class SafeConsole(Console):
    """A console that escapes control characters in texts, but for those that rich itself adds."""

    def __init__(self, file: TextIO, width: int | None = None) -> None:
        """Write to ``file``, in lines of ``width`` characters (None: the terminal's)."""
        super().__init__(file=file, width=width, markup=False, emoji=False, highlight=False, soft_wrap=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of ``renderable``, their texts printable."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)
