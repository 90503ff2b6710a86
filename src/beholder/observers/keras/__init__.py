"""Classifiers of `keras.applications`: download, build, load weights, convert to ONNX (extra ``train``)."""
