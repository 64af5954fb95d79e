"""Small networks, exported once a session (tracing takes a second or two each), and several versions of TensorRT."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from export_helpers import ARGUMENTS, Exported, instance_network, lively, one_thread
from needed import skip_or_fail

from edgeseg.calib.calibrate import calibrate
from edgeseg.calib.ranges import Ranges
from edgeseg.export.check import sample_pictures
from edgeseg.export.from_checkpoint import class_map
from edgeseg.export.instances import build_instances
from edgeseg.export.quantize import quantize
from edgeseg.export.to_onnx import export_onnx, save
from edgeseg.manifest import Manifest
from edgeseg.models import build

VERSIONS = ("10.6", "10.15", "11.2")
FOLDER = Path(os.environ.get("EDGESEG_TENSORRT") or Path(__file__).resolve().parents[2] / ".tensorrt")


@pytest.fixture(autouse=True)
def tests_take_one_thread() -> Iterator[None]:
    """For the tests; fixtures of the whole session are set up before it."""
    with one_thread():
        yield


@pytest.fixture(scope="session")
def person(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Two classes, a mean a channel, and a size that is no multiple of the stride: 72x100, inside 72x104."""
    model = lively(build("unet_lite", **ARGUMENTS))
    model.mean, model.std = (123.7, 116.3, 103.5), (58.4, 57.1, 57.4)  # type: ignore[assignment]
    architecture = {"name": "unet_lite", "args": ARGUMENTS}
    manifest = Manifest("person", class_map(["background", "person"]), 72, 100, architecture=architecture)
    path = tmp_path_factory.mktemp("person") / "model.onnx"
    with one_thread():
        export_onnx(model, manifest, path)
    return Exported(model, manifest, path)


@pytest.fixture(scope="session")
def pictures() -> npt.NDArray[np.uint8]:
    """uint8 [3, 72, 100, 3]: noise, a gradient with a disc, and black with a white border."""
    rng = np.random.default_rng(5)
    rows, columns = np.mgrid[0:72, 0:100]
    scene = np.stack([rows * 3, columns * 2, 255 - rows - columns], axis=-1)
    scene[(rows - 30) ** 2 + (columns - 60) ** 2 < 400] = (40, 90, 200)
    border = np.full((72, 100, 3), 255)
    border[2:-2, 2:-2] = 0
    return np.stack([rng.integers(0, 256, (72, 100, 3)), scene, border]).astype(np.uint8)


@pytest.fixture(scope="session")
def ranges(person: Exported, tmp_path_factory: pytest.TempPathFactory) -> Ranges:
    """Of the exported network, on drawn scenes."""
    import cv2

    folder = tmp_path_factory.mktemp("frames")
    for number, picture in enumerate(sample_pictures(90, 120)):
        cv2.imwrite(str(folder / f"{number}.png"), picture)
    return calibrate(person.path, folder, out=folder / "ranges.json")


@pytest.fixture(scope="session")
def int8(person: Exported, ranges: Ranges, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The int8 file with default options."""
    path = tmp_path_factory.mktemp("int8") / "model.int8.onnx"
    result = quantize(person.path, ranges, path)
    assert not result.kept_float
    return path


@pytest.fixture(params=VERSIONS)
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """One version of TensorRT, as the module `tensorrt` of child processes."""
    version: str = request.param
    site = FOLDER / version / "site"
    if not (site.parent / "complete").is_file():
        message = f"TensorRT {version} is not in {FOLDER}: run make tensorrt VERSION={version}"
        skip_or_fail(message)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH")))))
    monkeypatch.syspath_prepend(str(site))
    return version


@pytest.fixture(scope="session")
def instances(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A small Mask R-CNN of three classes and its file, 128x160. Tracing it takes half a minute."""
    with one_thread():
        network, architecture = instance_network()
        manifest = Manifest("toy", class_map(["background", "a", "b"]), 128, 160, architecture=architecture)
        path = tmp_path_factory.mktemp("instances") / "model.onnx"
        save(build_instances(network, manifest), path)
    return Exported(network, manifest, path)
