"""Readers of data sets as they are published: ImageNet, Stanford Dogs, CUB-200-2011."""
