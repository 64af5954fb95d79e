"""Which extra brings which package, and what to say when one cannot be imported. Standard library only."""

from __future__ import annotations

from edgeseg.errors import BackendError

# Import name -> extra of `pip install edgeseg[EXTRA]`; "" stands for a core dependency.
EXTRA_OF = {
    "aiohttp": "web",
    "av": "",
    "cuda": "tensorrt",
    "cv2": "cv",
    "cyclonedds": "ros",
    "matplotlib": "train",
    "numpy": "",
    "onnx": "export",
    "onnxruntime": "",
    "onnxscript": "export",
    "openvino": "openvino",
    "pycocotools": "train",
    "pycuda": "pycuda",
    "tensorboard": "train",
    "tensorrt": "tensorrt",
    "tensorrt_rtx": "tensorrt-rtx",
    "torch": "train",
    "torchvision": "train",
    "tqdm": "train",
    "yaml": "",
}


def missing_package(error: ImportError) -> BackendError | None:
    """The one-line error for a package that is absent or does not load; None where it is none of ours."""
    package = (error.name or "").partition(".")[0]
    if package == "cv2":
        todo = _CV2_ABSENT if isinstance(error, ModuleNotFoundError) else _CV2_BROKEN
        return BackendError("cannot load cv2", error, todo)
    if package not in EXTRA_OF:
        return None
    extra = EXTRA_OF[package]
    target = f"'edgeseg[{extra}]'" if extra else "edgeseg"
    return BackendError(f"cannot load the package {package}", error, f"Install it with pip install {target}")


_CV2_ABSENT = (
    "On a Jetson use JetPack's own (python3 -m venv --system-site-packages), elsewhere pip install 'edgeseg[cv]'"
)
# The wheel with windows links to libraries of the system that servers and containers often lack.
_CV2_BROKEN = (
    "Install its system libraries (Debian: apt-get install libgl1 libglib2.0-0 libxcb1) or swap the wheel: "
    "pip uninstall opencv-python, then pip install opencv-python-headless"
)
