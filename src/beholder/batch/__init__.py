"""Many files at once: folders in, mirrored folders out, all cores busy, nothing lost by an interruption.

- :mod:`.plan` -- which files, and where each result goes.
- :mod:`.tasks` -- what is done with one file.
- :mod:`.run` -- worker processes, progress, failures.
- :mod:`.journal` -- ``files.csv`` and ``errors.csv`` in the folder of the results; going on with --resume.
"""
