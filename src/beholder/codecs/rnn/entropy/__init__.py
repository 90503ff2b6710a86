"""Entropy model and range coder in integers: the same bits on every machine.

- :mod:`.coder` -- codes to bytes and back.
- :mod:`.rate_estimate` -- what codes cost while predictions are held fixed.
- :mod:`.stage_network`, :mod:`.pyramid` -- predictions: of a stage, of the low-frequency channels.
- :mod:`.products` -- their exact products of bytes.
- :mod:`.rounding`, :mod:`.tables` -- predictions to tables of probabilities.
- :mod:`.coding_order`, :mod:`.windows`, :mod:`.as_needed` -- little memory, little time.
"""
