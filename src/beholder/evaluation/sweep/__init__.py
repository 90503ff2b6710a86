"""Sweeps: a data set through many codecs, in batches on processes or machines, into Parquet files."""
