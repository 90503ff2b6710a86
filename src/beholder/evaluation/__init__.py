"""Evaluations: what an image costs, how well it survives, and what an observer still sees in it.

- :mod:`.protocol` -- what is compressed and what is classified: ``native`` or ``paper``.
- :mod:`.single` -- one image through one codec.
- :mod:`.matching` -- several codecs at one size.
- :mod:`.pictures` -- labelled side-by-side pictures.
- :mod:`.sweep` -- a data set through many codecs, in batches (:mod:`.jobs`) on processes (:mod:`.sweep_workers`) or
  machines (:mod:`.cluster`), under fixed settings (:mod:`.sweep_settings`), into Parquet (:mod:`.results`).
- :mod:`.summary`, :mod:`.plots`, :mod:`.report` -- tables, figures and one page about a sweep.
"""
