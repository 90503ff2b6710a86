"""Shards: a data set as a few large tar files with an index."""
