"""Summaries of a sweep: means with confidence intervals, curves, comparisons of codecs."""
