"""Open ONNX files in processes that fork, as torch's DataLoader and ``multiprocessing`` do on Linux."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.observers import RED_GREEN_BLUE, make_onnx

pytest.importorskip("onnx")

PROGRAM = """
import os, sys, time
from pathlib import Path
import numpy as np
from beholder.observers.classifier_file import session

def answer():
    run = session.get(Path(sys.argv[1])).session
    return run.run(None, {run.get_inputs()[0].name: np.ones((1, 3, 8, 8), np.float32)})[0]

before = answer()
time.sleep(0.5)  # the runtime's threads stop looking for work and wait
child = os.fork()
if not child:
    same = (answer() == before).all()
    session._open.clear()
    os._exit(0 if same else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_opens_its_own_and_does_not_wait_for_its_parents(tmp_path: Path) -> None:
    model = make_onnx(tmp_path / "a.onnx", RED_GREEN_BLUE)
    with subprocess.Popen([sys.executable, "-c", PROGRAM, str(model)], start_new_session=True) as process:
        try:
            assert process.wait(30) == 0
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            raise
