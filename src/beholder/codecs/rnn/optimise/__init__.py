"""Latent optimisation in the encoder (``--effort``) with NumPy and ONNX Runtime.

- :mod:`.adjust` -- the learned step, at alpha 0.
- :mod:`.loop`, :mod:`.objective` -- gradient descent, and what it asks for.
- :mod:`.human`, :mod:`.machine` -- objectives at alpha 0, and above.
- :mod:`.distortions` on :mod:`.ms_ssim`, :mod:`.ssimulacra2` and :mod:`.xyb` -- distances for people, with gradients.
- :mod:`.classifier`, :mod:`.views` -- distances for a classifier, with gradients.
"""
