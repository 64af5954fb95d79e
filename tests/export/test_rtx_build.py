"""TensorRT-RTX parses and builds what is exported, without a GPU; in a child process, so that a crash is a failure."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from export_helpers import Exported

pytestmark = pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is not installed")

# Strongly typed, as every engine is; N is fixed to 1 by the profile. Prints the number of layers.
BUILD = """
import sys
import tensorrt_rtx as trt
logger = trt.Logger(trt.Logger.ERROR)
builder = trt.Builder(logger)
network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
parser = trt.OnnxParser(network, logger)
if not parser.parse(open(sys.argv[1], "rb").read()):
    sys.exit("; ".join(parser.get_error(i).desc() for i in range(parser.num_errors)))
config, profile = builder.create_builder_config(), builder.create_optimization_profile()
image = network.get_input(0)
assert image.dtype == trt.uint8 and image.name == "image"
assert [network.get_output(i).dtype for i in range(network.num_outputs)] == [trt.uint8] * network.num_outputs
shape = (1, *tuple(image.shape)[1:])
profile.set_shape("image", shape, shape, shape)
config.add_optimization_profile(profile)
engine = builder.build_serialized_network(network, config)
if engine is None:
    sys.exit("no engine")
print(network.num_layers, engine.nbytes)
"""


def build(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(path)], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    layers, size = (int(word) for word in done.stdout.split())
    assert layers > 50 and size > 10_000


def test_float_file_builds(person: Exported) -> None:
    build(person.path)


def test_int8_file_builds(int8: Path) -> None:
    build(int8)
