"""A forked child drops the codec's sessions without waiting for its parent's threads."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import gc, os, sys, time
import numpy as np
from beholder.codecs.rnn import onnx_model

onnx_model.load().analyse(np.zeros((3, 64, 64), np.uint8), 0.0)
time.sleep(0.5)  # the runtime's threads stop looking for work and wait
child = os.fork()
if not child:
    onnx_model.load.cache_clear()
    gc.collect()
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_drops_its_parents_models() -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    with subprocess.Popen([sys.executable, "-c", PROGRAM], start_new_session=True, env=environment) as process:
        try:
            assert process.wait(30) == 0
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            raise
