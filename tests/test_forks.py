"""A forked child drops the codec's sessions, and does begun work anew, without waiting for its parent's threads."""

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


BEGUN = """
import os, sys, time
from beholder.threads import begin

result = begin(lambda: time.sleep(2) or os.getpid())
child = os.fork()
if not child:
    os._exit(result() != os.getpid())
parents = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
sys.exit(parents or result() != os.getpid())
"""


@pytest.mark.parametrize("program", [PROGRAM, BEGUN], ids=["sessions", "work that was begun"])
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_does_not_wait_for_its_parents_threads(program: str) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    with subprocess.Popen([sys.executable, "-c", program], start_new_session=True, env=environment) as process:
        try:
            assert process.wait(30) == 0
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            raise
