"""Entropy models in torch: what they learn, the coder computes in integers."""
