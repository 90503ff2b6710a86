"""Evaluations: what an image costs, how well it survives, and what an observer still sees in it.

- :mod:`.protocol` -- what is compressed and what is classified: ``native`` or ``paper``.
- :mod:`.single` -- one image through one codec.
- :mod:`.matching` -- several codecs at one size.
- :mod:`.pictures` -- labelled side-by-side pictures.
"""
