"""``python -m beholder``: the command line without its script."""

import sys

from beholder.cli import main

sys.exit(main())
