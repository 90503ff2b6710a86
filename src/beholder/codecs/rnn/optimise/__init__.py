"""Latent optimisation in the encoder (``--effort``) with NumPy and ONNX Runtime."""
