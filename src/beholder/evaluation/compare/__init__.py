"""One photograph through many codecs at one file size: figures, a contact sheet, a page with sliders.

- :mod:`.measure` -- the files, their metrics, and what observers see.
- :mod:`.equal_size` -- the file of a codec that is nearest to a size.
- :mod:`.crops` -- where the decompressed pictures differ most.
- :mod:`.sheet`, :mod:`.page` -- the PNG and the HTML file.
"""

from beholder.evaluation.compare.measure import Comparison, Contestant, Entry, Verdict, compare, contestants

__all__ = ["Comparison", "Contestant", "Entry", "Verdict", "compare", "contestants"]
