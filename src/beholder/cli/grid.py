"""A table that is right at any width: each row stays one line as long as it can, and no column is lost.

Where a table is too wide, the names of its columns are wrapped first, then cells of text. At last the table goes on
below itself, with its first columns repeated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

Cell = str | Text

UNBOUNDED = 1 << 16
"""Width of a console that nothing is fitted to: a file or a pipe."""

_GAP = 2
_NARROW_TEXT = 12  # columns that a cell of text keeps before the table is split


class Grid:
    """Columns with a name each, and rows of cells.

    Args:
        columns: their names; an empty one for a column that needs none.
        rows: as many cells each as there are columns.
        right: the numbers of right-aligned columns, whose cells are never wrapped.
        keys: so many first columns name the row: they are never wrapped, and repeated where the table is split.
    """

    def __init__(
        self, columns: Sequence[str], rows: Sequence[Sequence[Cell]], right: Sequence[int] = (), keys: int = 1
    ) -> None:
        self.columns, self.rows, self.right, self.keys = list(columns), list(rows), set(right), keys

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if options.max_width >= UNBOUNDED:
            yield Text("\n".join(self.plain()), no_wrap=True)
            return
        for chosen, widths in self.blocks(options.max_width):
            yield self._table(chosen, widths)

    def plain(self) -> Iterator[str]:
        """The lines of the table at its full width: a line of names, then one line a row."""
        widths = [self._widest(place) for place in range(len(self.columns))]
        for row in (self.columns, *self.rows):
            cells = [
                _pad(str(cell), width, place in self.right)
                for place, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            yield (" " * _GAP).join(cells).rstrip()

    def blocks(self, room: int) -> list[tuple[list[int], list[int]]]:
        """The numbers of the columns that stand side by side, and their widths, for a line of ``room`` characters."""
        least = [self._least(place) for place in range(len(self.columns))]
        keys = list(range(min(self.keys, len(self.columns))))
        groups = [list(keys)]
        for place in range(len(keys), len(self.columns)):
            if len(groups[-1]) > len(keys) and _line([least[i] for i in (*groups[-1], place)]) > room:
                groups.append(list(keys))
            groups[-1].append(place)
        return [(group, self._widths(group, least, room)) for group in groups]

    def _widths(self, group: list[int], least: list[int], room: int) -> list[int]:
        """The least widths, and what is left over to those that want more, cells of text first."""
        widths = {place: least[place] for place in group}
        spare = room - _line(list(widths.values()))
        texts, numbers = ([place for place in group if (place in self.right) == right] for right in (False, True))
        for places in (texts, numbers):
            while places and spare > 0:
                # To the column that needs the most lines.
                lines, place = max((self._widest(place) / widths[place], place) for place in places)
                if lines <= 1:
                    break
                widths[place] += 1
                spare -= 1
        while spare < 0:  # not even the keys and one column fit
            widest = max(group, key=lambda place: widths[place])
            if widths[widest] == 1:
                break
            widths[widest] -= 1
            spare += 1
        return [widths[place] for place in group]

    def _cells(self, place: int) -> list[str]:
        return [str(row[place]) for row in self.rows]

    def _widest(self, place: int) -> int:
        return max(map(cell_len, (self.columns[place], *self._cells(place))))

    def _least(self, place: int) -> int:
        name = max(map(cell_len, self.columns[place].split()), default=0)
        cells = max(map(cell_len, self._cells(place)), default=0)
        if place >= self.keys and place not in self.right:
            cells = min(cells, _NARROW_TEXT)
        return max(name, cells, 1)

    def _table(self, chosen: Sequence[int], widths: Sequence[int]) -> Table:
        result = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
        for place, width in zip(chosen, widths, strict=True):
            justify = "right" if place in self.right else "left"
            result.add_column(self.columns[place], justify=justify, width=width, overflow="fold")  # type: ignore[arg-type]
        for row in self.rows:
            result.add_row(*(row[place] for place in chosen))
        return result


def _line(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1) + 2


def _pad(text: str, width: int, right: bool) -> str:
    space = " " * (width - cell_len(text))
    return space + text if right else text + space
