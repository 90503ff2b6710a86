"""The recurrent neural codec and its `.bhd` files.

- :mod:`.codec` -- the codec behind the interface that all codecs share.
- :mod:`.bitstream`, :mod:`.layout` -- the file; which channels each iteration codes, in what order.
- :mod:`.encoder`, :mod:`.optimise` -- analyse, optimise the latent, quantise, code.
- :mod:`.onnx_model`, :mod:`.sessions`, :mod:`.tiles` -- a trained model: its networks, tile by tile.
- :mod:`.steps`, :mod:`.linear` -- quantiser and linear reconstruction with NumPy.
- :mod:`.entropy` -- entropy model and range coder, in integers.
- :mod:`.damage` -- damaged models.
- :mod:`.torch` -- the codec as torch modules, for training and export only.
"""

from beholder.codecs.rnn.codec import Rnn

__all__ = ["Rnn"]
