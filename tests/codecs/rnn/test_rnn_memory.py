"""Memory of a large picture: a tile's worth and a few bytes a pixel, not hundreds."""

import os
import subprocess
import sys

import pytest

MEGAPIXELS = 6
LINEAR = 130
"""Bytes a pixel that an encoder without tiles would take at least."""
PROGRAM = """
from pathlib import Path
from PIL import Image
from beholder import api

width, height = 3008, 2000
small = Image.effect_noise((width // 16, height // 16), 60).convert("RGB")
data = api.compress(small.resize((width, height), Image.Resampling.BICUBIC), quality=1, alpha=0.0)
api.decompress(data)
# ru_maxrss would count the parent's memory, of which a child is a copy until it runs its own program.
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_picture() -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env=environment)
    peak = int(done.stdout) * 1024
    assert peak < LINEAR * MEGAPIXELS * 1_000_000, f"{peak >> 20} MiB"
