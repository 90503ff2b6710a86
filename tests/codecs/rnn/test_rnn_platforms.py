"""The same bytes and nearly the same pixels, whatever BLAS kernel, number of threads or vector instructions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from beholder.codecs.rnn import Rnn

pytestmark = pytest.mark.xdist_group("platforms")  # one process, for its fixture takes seconds

Found = tuple[list[str], list[bytes], list[str], list[np.ndarray]]
"""Digests of files above alpha 0, files of effort 0 at alpha 0 and of effort 1, BLAS kernels, pixels."""
GOLDEN = Path(__file__).parents[2] / "golden"
WORK = """
import hashlib, io, json, sys
import numpy as np
from PIL import Image
from beholder.codecs.rnn import Rnn
from threadpoolctl import ThreadpoolController

rng = np.random.default_rng(0)
smooth = np.add.outer(np.arange(180), np.arange(210))[..., None] % 256
picture = Image.fromarray((smooth + rng.integers(0, 60, (180, 210, 3))).clip(0, 255).astype(np.uint8))
codec = Rnn()
written = [hashlib.sha256(codec.encode(picture, 8, alpha=alpha)).hexdigest() for alpha in (0.3, 1)]
corner = picture.crop((0, 0, 96, 80))
optimised = [codec.encode(picture, 8)]
optimised += [Rnn(effort=1).encode(corner, quality, alpha=alpha) for quality, alpha in ((4, 0), (2, 1))]
pixels = [np.asarray(codec.decode(open(path, "rb").read())) for path in sys.argv[2:]]
np.savez(sys.argv[1], *pixels)
kernels = [library.architecture for library in ThreadpoolController().lib_controllers if library.user_api == "blas"]
print(json.dumps([written, [data.hex() for data in optimised], kernels]))
"""


def run(folder: Path, **environment: str) -> Found:
    """Files that another process writes, its BLAS kernels, and pixels of golden files."""
    files = [*sorted(GOLDEN.glob("*.bhd"))[::5], *GOLDEN.glob("*-q12-*.bhd")]
    assert files
    command = [sys.executable, "-W", "ignore", "-c", WORK, str(folder / "pixels.npz"), *map(str, files)]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
    written, optimised, kernels = json.loads(done.stdout)
    with np.load(folder / "pixels.npz") as pixels:
        return written, list(map(bytes.fromhex, optimised)), kernels, list(pixels.values())


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return run(tmp_path_factory.mktemp("usual"), OMP_NUM_THREADS="1")


def without_vectors() -> str:
    """Every kind of instructions that this NumPy chooses at run time and this processor has."""
    from numpy._core import _multiarray_umath as umath

    return " ".join(name for name in umath.__cpu_dispatch__ if umath.__cpu_features__.get(name))


@pytest.mark.parametrize(("kernel", "threads"), [("Prescott", "1"), ("Sandybridge", "3")])
def test_blas_kernels_and_threads(usual: Found, kernel: str, threads: str, tmp_path: Path) -> None:
    """Kernels without FMA or AVX sum in another order."""
    if not usual[2] or usual[2][0] not in ("Haswell", "Zen", "SkylakeX", "Cooperlake", "Sapphirerapids"):
        pytest.skip("no OpenBLAS for x86-64 with AVX2 here")
    found = run(tmp_path, OPENBLAS_CORETYPE=kernel, OMP_NUM_THREADS=threads, OPENBLAS_NUM_THREADS=threads)
    assert found[2] != usual[2]
    check(found, usual)


@pytest.mark.parametrize("threads", ["2", "3", "7"])
def test_threads_change_nothing(usual: Found, threads: str, tmp_path: Path) -> None:
    found = run(tmp_path, OMP_NUM_THREADS=threads, OPENBLAS_NUM_THREADS=threads)
    assert found[:2] == usual[:2]
    for ours, theirs in zip(found[3], usual[3], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_numpy_without_vector_instructions(usual: Found, tmp_path: Path) -> None:
    disabled = without_vectors()
    if not disabled:
        pytest.skip("this NumPy chooses no instructions at run time")
    check(run(tmp_path, NPY_DISABLE_CPU_FEATURES=disabled), usual)


def check(found: Found, usual: Found) -> None:
    """Equal bytes without effort above alpha 0, else similar files; pixels within 1 (docs/bhd-format.md)."""
    assert found[0] == usual[0]
    for one, other in zip(found[1], usual[1], strict=True):
        assert len(one) == pytest.approx(len(other), rel=0.03)
        pictures = [np.asarray(Rnn().decode(data), float) for data in (one, other)]
        assert np.abs(pictures[0] - pictures[1]).mean() < 1.5
    for ours, theirs in zip(found[3], usual[3], strict=True):
        apart = np.abs(ours.astype(int) - theirs)
        assert apart.max() <= 1
        assert (apart > 0).mean() <= 1e-4
