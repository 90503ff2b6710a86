"""``beholder serve``: a web page that compresses, measures and classifies a photo, on this machine.

- :mod:`.app` -- the addresses, their limits, and errors as sentences.
- :mod:`.answers` -- the work behind an address: bytes of a file and options in, figures and pictures out.
- :mod:`.gate` -- how many jobs run at once and how many may wait.
- :mod:`.server` -- the socket.
- ``page/`` -- HTML, CSS and JavaScript, without anything from outside.

The server keeps nothing between two requests: every request brings its file, so visitors cannot see each other's.
"""
