"""Ctrl-C after several OpenVINO models were loaded and closed: the process goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import os, signal, sys
from pathlib import Path
from edgeseg.runtime.backends import load_backend
models = [load_backend(Path(sys.argv[1]), "openvino") for _ in range(2)]
for model in models:
    model.close()
del model, models
caught = []
signal.signal(signal.SIGINT, lambda *_: caught.append(1))
os.kill(os.getpid(), signal.SIGINT)
print(len(caught))
"""


def test_a_signal_after_models_were_closed_in_the_order_of_their_loading(tiny_model: Path) -> None:
    pytest.importorskip("openvino")
    done = subprocess.run([sys.executable, "-c", CODE, str(tiny_model)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
