"""Builds and installs edgeseg. Packages stand here by hand: find_packages() would install a top-level `export`."""

import re
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent

# edgeseg.export and edgeseg.calib live at the top of the checkout.
MOVED = {"edgeseg.export": "export", "edgeseg.calib": "calib"}
PACKAGES = [
    "edgeseg",
    "edgeseg.bench",
    "edgeseg.cli",
    "edgeseg.data",
    "edgeseg.models",
    "edgeseg.models.encoders",
    "edgeseg.runtime",
    "edgeseg.runtime.backends",
    "edgeseg.runtime.sinks",
    "edgeseg.runtime.sources",
    "edgeseg.train",
    *MOVED,
]

# Core: what running a model and the command line need. JetPack brings its own cv2, so aarch64 is not given another.
CORE = [
    "numpy>=1.26",
    "opencv-python>=4.9; platform_machine != 'aarch64'",
    "onnxruntime>=1.18",
    "av>=15",  # with 13 and 14 an OpenCV window hangs for ever
]
OPENVINO = ["openvino>=2024.4", "onnx>=1.16"]  # onnx: OpenVINO reads no ONNX functions, so they are inlined first
TRAIN = [
    "torch>=2.6",
    "torchvision>=0.21",
    "pyyaml>=6",
    "tqdm>=4.66",
    "tensorboard>=2.17",
    "matplotlib>=3.8",
    "pycocotools>=2.0.8",
]
EXPORT = ["torch>=2.8", "torchvision>=0.23", "onnx>=1.16", "onnxscript>=0.3"]  # torch.onnx writes with onnxscript
GPU_MEMORY = "cuda-bindings>=12.6"
TENSORRT_RTX = ["tensorrt-rtx-cu13>=1.1", "onnx>=1.16", GPU_MEMORY]
WEB = ["aiohttp>=3.10"]
ROS = ["cyclonedds>=0.10.5", "rosbags>=0.10"]
DEV = [
    "pytest>=8",
    "pytest-timeout>=2.3",
    "ruff>=0.8",
    "mypy>=1.13",
    "onnx>=1.16",
    "scikit-learn>=1.4",  # the reference for our metrics
    "tritonclient>=2.41,<2.70",  # the schema of Triton's configurations; later ones hold ml-dtypes below 0.6
    "grpcio>=1.60",  # tritonclient's schema imports it
    "types-PyYAML",
    "types-tqdm",
]
EXTRAS = {
    "cv": ["opencv-python>=4.9"],
    "train": TRAIN,
    "export": EXPORT,
    "openvino": OPENVINO,
    "tensorrt": ["tensorrt>=10.3; platform_machine == 'x86_64'", "onnx>=1.16", GPU_MEMORY],
    "tensorrt-rtx": TENSORRT_RTX,
    "pycuda": ["pycuda>=2024.1"],
    "web": WEB,
    "ros": ROS,
    "dev": DEV,
    # Without pycuda, which builds from source, and tensorrt, which JetPack brings and other machines choose by driver.
    "all": sorted({*TRAIN, *EXPORT, *OPENVINO, *TENSORRT_RTX, *WEB, *ROS, *DEV}),
}

readme = HERE / "README.md"
version = re.search(r'^__version__ = "(.+)"$', (HERE / "edgeseg" / "__init__.py").read_text(encoding="utf-8"), re.M)
assert version

setup(
    name="edgeseg",
    version=version[1],
    description="Real-time video segmentation for edge devices: train, export, quantize, run",
    long_description=readme.read_text(encoding="utf-8") if readme.exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10,<3.14",
    packages=PACKAGES,
    package_dir=MOVED,
    package_data={"edgeseg": ["py.typed", "zoo/*/*", "clips/*"], "edgeseg.export": ["templates/*"]},
    install_requires=CORE,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["edgeseg = edgeseg.cli.main:main"]},
    zip_safe=False,
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
)
