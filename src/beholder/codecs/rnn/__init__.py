"""The recurrent neural codec and its `.bhd` files."""

from beholder.codecs.rnn.codec import Rnn

__all__ = ["Rnn"]
