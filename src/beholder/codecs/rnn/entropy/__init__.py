"""Entropy model and range coder in integers: the same bits on every machine."""
