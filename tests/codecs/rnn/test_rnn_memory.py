"""Memory of a large picture: a tile's worth and a few bytes a pixel, not hundreds."""

import os
import subprocess
import sys

import pytest

resource = pytest.importorskip("resource")

MEGAPIXELS = 9
LINEAR = 130
"""Bytes a pixel that an encoder without tiles would take at least."""
PROGRAM = """
import resource
from PIL import Image
from beholder import api

width, height = 3760, 2400
small = Image.effect_noise((width // 16, height // 16), 60).convert("RGB")
data = api.compress(small.resize((width, height), Image.Resampling.BICUBIC), quality=1, alpha=0.0)
api.decompress(data)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss in KiB")
def test_memory_does_not_grow_with_the_picture() -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env=environment)
    peak = int(done.stdout) * 1024
    assert peak < LINEAR * MEGAPIXELS * 1_000_000, f"{peak >> 20} MiB"
