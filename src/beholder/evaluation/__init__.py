"""Evaluations: what an image costs, how well it survives, and what an observer still sees in it.

- :mod:`.protocol` -- what is compressed and what is classified: ``native`` or ``paper``.
- :mod:`.one_image` -- one image through one codec.
- :mod:`.matching` -- several codecs at one size.
- :mod:`.pictures` -- labelled side-by-side pictures.
- :mod:`.sweep` -- a data set through many codecs, in batches on processes or machines, into Parquet.
- :mod:`.summary`, :mod:`.plots`, :mod:`.report` -- tables, figures and one page about a sweep.
"""
