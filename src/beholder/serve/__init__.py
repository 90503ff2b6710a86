"""``beholder serve``: a web page that compresses, measures and classifies a photo, on this machine.

- :mod:`.app` -- the addresses, their limits, and errors as sentences.
- :mod:`.answers` -- the work behind an address: bytes of a file and options in, figures and pictures out.
- :mod:`.gate` -- how many jobs run at once and how many may wait.
- :mod:`.server` -- the socket.
- ``page/`` -- HTML, CSS and JavaScript, without anything from outside.
- :mod:`.web_model`, :mod:`.onnx_weights` -- a codec model for the browser's decoder.
- :mod:`.static_site` -- that decoder as a folder of files; ``decoder/`` is built from ``web/``.

The server keeps nothing between two requests: every request brings its file, so visitors cannot see each other's.
"""
