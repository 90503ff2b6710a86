"""Gradient graphs: an ONNX graph of the distance of two pictures as a classifier sees them, and of its gradient."""
