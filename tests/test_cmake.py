"""cpp_ext's CMake: which TensorRT it finds, what it says it leaves out, and what an install gives to other projects.

Trees of headers are made up, as JetPack, Debian's packages and the tar lay them out; FindTensorRT.cmake looks at
nothing but their places and NvInferVersion.h. No compiler for CUDA is needed here, `make ext` has one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from needed import skip_or_fail

ROOT = Path(__file__).resolve().parents[1]
CPP = ROOT / "cpp_ext"
pytestmark = pytest.mark.checkout

FIND = f"""
cmake_minimum_required(VERSION 3.22)
project(find NONE)
list(APPEND CMAKE_MODULE_PATH "{CPP / "cmake"}")
find_package(TensorRT 10.3 QUIET)
message(STATUS "found ${{TensorRT_FOUND}}|${{TensorRT_VERSION}}|${{TensorRT_INCLUDE_DIR}}|${{TensorRT_LIBRARY}}")
"""
CONSUMER = """
cmake_minimum_required(VERSION 3.22)
project(consumer CXX)
find_package(edgeseg 0.1 REQUIRED)
add_executable(consumer main.cpp)
target_link_libraries(consumer edgeseg::plugin)
"""
# A step of zeros is refused before anything is asked of a GPU: cudaErrorInvalidValue is 1.
MAIN = """
extern "C" int edgeseg_label_map(const void* step, const void* logits, void* labels, void* stream);
static long long step[8];
int main() { return edgeseg_label_map(step, nullptr, nullptr, nullptr) == 1 ? 0 : 1; }
"""


@pytest.fixture
def cmake() -> str:
    script = ["sh", CPP / "find_tool.sh", "cmake", ROOT / ".cuda"]
    found = subprocess.run(script, capture_output=True, text=True, check=True).stdout.strip()
    if not found or shutil.which("c++") is None:
        message = "no CMake or no C++ compiler: run make cuda"
        skip_or_fail(message)
    return found


def run(*command: object, **more: str) -> str:
    """What it prints; it ends well."""
    environment = {key: value for key, value in os.environ.items() if key not in ("TENSORRT_ROOT", "EDGESEG_SHARED")}
    words = list(map(str, command))
    done = subprocess.run(
        words, env=environment | more, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def tree(include: Path, version: str, lib: Path | None = None) -> Path:
    """Headers of that version, and a library where one is wanted."""
    include.mkdir(parents=True)
    (include / "NvInferRuntime.h").touch()
    parts = zip(("MAJOR", "MINOR", "PATCH"), version.split("."), strict=True)
    later = int(version.split(".")[0]) > 10
    lines = [
        f"#define TRT_{part}_ENTERPRISE {number}\n#define NV_TENSORRT_{part} TRT_{part}_ENTERPRISE //!< the {part}"
        if later
        else f"#define NV_TENSORRT_{part} {number} //!< the {part}"
        for part, number in parts
    ]
    (include / "NvInferVersion.h").write_text("\n".join([*lines, "#define NV_TENSORRT_LWS_MAJOR 0\n"]))
    if lib is not None:
        lib.mkdir(parents=True)
        (lib / "libnvinfer.so").touch()
    return include


def find(cmake: str, root: Path, machine: str = "x86_64", **environment: str) -> list[str]:
    """TensorRT_FOUND, _VERSION, _INCLUDE_DIR and _LIBRARY of a machine whose files lie under `root`."""
    source = root.with_name("source")
    source.mkdir(exist_ok=True)
    (source / "CMakeLists.txt").write_text(FIND)
    system = ["-DCMAKE_SYSTEM_NAME=Linux", f"-DCMAKE_SYSTEM_PROCESSOR={machine}", f"-DCMAKE_FIND_ROOT_PATH={root}"]
    system += [f"-DCMAKE_FIND_ROOT_PATH_MODE_{kind}=ONLY" for kind in ("INCLUDE", "LIBRARY")]
    build = root.with_name("build")
    shutil.rmtree(build, ignore_errors=True)
    told = run(cmake, "-S", source, "-B", build, *system, **environment)
    match = re.search(r"-- found (.*)", told)
    assert match is not None, told
    return [word.replace(str(root), "") for word in match[1].split("|")]


@pytest.mark.parametrize("machine", ["aarch64", "x86_64"])
def test_jetpack_s_and_debian_s_packages(cmake: str, tmp_path: Path, machine: str) -> None:
    usr = tmp_path / "root" / "usr"
    tree(usr / f"include/{machine}-linux-gnu", "10.3.0", usr / f"lib/{machine}-linux-gnu")
    other = "x86_64" if machine == "aarch64" else "aarch64"
    tree(usr / f"include/{other}-linux-gnu", "10.9.0", usr / f"lib/{other}-linux-gnu")
    places = [f"/usr/include/{machine}-linux-gnu", f"/usr/lib/{machine}-linux-gnu/libnvinfer.so"]
    assert find(cmake, tmp_path / "root", machine) == ["TRUE", "10.3.0", *places]


def test_an_unpacked_tar(cmake: str, tmp_path: Path) -> None:
    usual = tmp_path / "root" / "usr/local/TensorRT"
    tree(usual / "include", "11.1.0", usual / "lib")
    places = ["/usr/local/TensorRT/include", "/usr/local/TensorRT/lib/libnvinfer.so"]
    assert find(cmake, tmp_path / "root") == ["TRUE", "11.1.0", *places]
    # What is named goes before it: a tar elsewhere, or a folder of headers alone.
    tar = tmp_path / "root" / "home/TensorRT-10.15.1.29"
    tree(tar / "include", "10.15.1", tar / "lib")
    places = ["/home/TensorRT-10.15.1.29/include", "/home/TensorRT-10.15.1.29/lib/libnvinfer.so"]
    assert find(cmake, tmp_path / "root", TENSORRT_ROOT=str(tar)) == ["TRUE", "10.15.1", *places]
    headers = tree(tmp_path / "root" / "include-10.6", "10.6.0")
    found = find(cmake, tmp_path / "root", TENSORRT_ROOT=str(headers))
    assert found == ["TRUE", "10.6.0", "/include-10.6", "TensorRT_LIBRARY-NOTFOUND"]
    # A named folder without headers is no reason to take others.
    assert find(cmake, tmp_path / "root", TENSORRT_ROOT=str(usual / "lib"))[0] == "FALSE"


def test_the_shared_headers_come_last_and_old_ones_do_not_count(cmake: str, tmp_path: Path) -> None:
    shared = tmp_path / "root" / "shared"
    tree(shared / "tensorrt/include-10.3", "10.3.0")
    found = find(cmake, tmp_path / "root", EDGESEG_SHARED=str(shared))
    assert found == ["TRUE", "10.3.0", "/shared/tensorrt/include-10.3", "TensorRT_LIBRARY-NOTFOUND"]
    system = tree(tmp_path / "root/usr/include/x86_64-linux-gnu", "10.13.3")
    assert find(cmake, tmp_path / "root", EDGESEG_SHARED=str(shared))[1] == "10.13.3"
    shutil.rmtree(system)
    tree(system, "8.6.2")  # JetPack 5
    assert find(cmake, tmp_path / "root")[:2] == ["FALSE", "8.6.2"]


def test_the_real_headers(cmake: str, tmp_path: Path, shared: Path) -> None:
    folders = sorted((shared / "tensorrt").glob("include-*"))
    if not folders:
        pytest.skip(f"no headers of TensorRT in {shared}")
    root = tmp_path / "root"
    for folder in folders:
        found = find(cmake, root, TENSORRT_ROOT=str(shutil.copytree(folder, root / folder.name)))
        assert found[0] == "TRUE" and found[1].startswith(folder.name.removeprefix("include-") + ".")


NO_NVCC = "no nvcc found: the plugin, its loader and all tests on a GPU are left out (set CUDACXX, or run make cuda)"
NO_HEADERS = (
    "no headers of TensorRT 10.3 or later found: the plugin, its loader and their tests (test_plugin, test_plugin_gpu) "
    "are left out (set TENSORRT_ROOT)"
)


def test_what_is_left_out_is_said_in_a_line_each(cmake: str, tmp_path: Path) -> None:
    """A machine without nvcc; CUDA's headers, which configuring looks for, are an empty file."""
    (tmp_path / "cuda").mkdir()
    (tmp_path / "cuda" / "cuda_runtime_api.h").touch()
    options = ["-DCMAKE_CUDA_COMPILER=", "-DCMAKE_DISABLE_FIND_PACKAGE_CUDAToolkit=ON", "-UTensorRT_*"]
    options += [f"-DCUDAToolkit_INCLUDE_DIRS={tmp_path / 'cuda'}", f"-DEDGESEG_CASES={tmp_path}"]
    build = tmp_path / "build"
    kernels = {f"test_{name}" for name in ("kernel_parts", "label_map", "labels", "preprocess", "upsample_crop_concat")}
    tree(tmp_path / "with", "10.3.0")
    (tmp_path / "without").mkdir()
    for name, left_out in (("with", [NO_NVCC]), ("without", [NO_NVCC, NO_HEADERS])):
        told = run(cmake, "-S", CPP, "-B", build, *options, f"-DTENSORRT_ROOT={tmp_path / name}")
        assert re.findall(r"^-- edgeseg: (.*)$", told, re.M) == left_out
        targets = set(re.findall(r"^\.\.\. (\w+)", run(cmake, "--build", build, "--target", "help"), re.M))
        assert targets >= kernels | {"edgeseg_cpu"}
        assert ("test_plugin" in targets) == (name == "with")
        assert not targets & {"edgeseg_plugin", "edgeseg_plugin_loader", "edgeseg_kernels", "test_plugin_gpu"}


def test_an_install_serves_find_package(cmake: str, tmp_path: Path) -> None:
    build = ROOT / "build" / "ext"
    if not (build / "libedgeseg_plugin.so").is_file() or not (build / "libedgeseg_plugin_loader.so").is_file():
        message = "no plugin library: run make ext"
        skip_or_fail(message)
    prefix, consumer = tmp_path / "prefix", tmp_path / "consumer"
    run(cmake, "--install", build, "--prefix", prefix)
    installed = {path.name for path in prefix.rglob("*") if path.is_file()}
    assert installed >= {"libedgeseg_plugin.so", "libedgeseg_plugin_loader.so", "edgesegConfig.cmake"}
    consumer.mkdir()
    (consumer / "CMakeLists.txt").write_text(CONSUMER)
    (consumer / "main.cpp").write_text(MAIN)
    run(cmake, "-S", consumer, "-B", consumer / "build", f"-DCMAKE_PREFIX_PATH={prefix}")
    run(cmake, "--build", consumer / "build")
    run(consumer / "build" / "consumer")
