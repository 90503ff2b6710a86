"""ONNX files of other programs: their structure, what they take, what their answers mean.

- :mod:`.structure` -- the last operator and the class names, read from the file without the package ``onnx``.
- :mod:`.session` -- opened files, shared between all observers of a process.
- :mod:`.signature` -- input and outputs of an opened file.
- :mod:`.answers` -- logits, sigmoids, columns and maps to probabilities.
"""
