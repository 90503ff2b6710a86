"""Training of codecs and classifiers; needs the extra ``train``."""
