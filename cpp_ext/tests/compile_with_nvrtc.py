"""Compiles every kernel of the plugin with NVRTC 12.6: none uses anything newer, and JetPack 6 has CUDA 12.6.

    python cpp_ext/tests/compile_with_nvrtc.py build/ptxas.txt

Which kernels there are is read from ptxas' report (`make ext`). NVRTC comes from `nvidia-cuda-nvrtc-cu12==12.6.85`, a
wheel; there is none of that version's nvcc, so the host's side is left to JetPack. Needs c++filt.
"""

from __future__ import annotations

import ctypes
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ARCHITECTURES = (75, 80, 86, 87, 89, 90)
KERNELS = Path(__file__).resolve().parents[1] / "kernels"
BODIES = ("upsample_crop_concat_bodies.h", "label_map_body.h", "preprocess_body.h", "labels_bodies.h")


def main() -> None:
    """Compile for each architecture; the first mistake ends it with NVRTC's log."""
    names = kernel_names(Path(sys.argv[1]).read_text(encoding="utf-8"))
    nvrtc = load()
    major, minor = ctypes.c_int(), ctypes.c_int()
    nvrtc.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    for architecture in ARCHITECTURES:
        size = compile_all(nvrtc, names, architecture)
        print(
            f"NVRTC {major.value}.{minor.value}, sm_{architecture}: {len(names)} kernels, {size} bytes of machine code"
        )


def kernel_names(report: str) -> list[str]:
    """`edgeseg::run<...>` of every kernel in the report."""
    mangled = sorted(set(re.findall(r"Compiling entry function '(\w+)'", report)))
    if not mangled:
        sys.exit(f"error: no kernels in the report: {sys.argv[1]}. Run make ext.")
    plain = subprocess.run(["c++filt", *mangled], capture_output=True, text=True, check=True).stdout
    return [re.sub(r"^void |\(.*$", "", line) for line in plain.splitlines()]


def load() -> Any:
    """The library of the wheel."""
    for folder in sys.path:
        for path in (Path(folder) / "nvidia" / "cuda_nvrtc" / "lib").glob("libnvrtc.so.12"):
            return ctypes.CDLL(str(path))
    sys.exit("error: no NVRTC 12: nvidia-cuda-nvrtc-cu12. Install it with pip install nvidia-cuda-nvrtc-cu12==12.6.85.")


def compile_all(nvrtc: Any, names: list[str], architecture: int) -> int:
    """Bytes of the cubin that holds all kernels."""
    source = "".join(f'#include "{name}"\n' for name in BODIES).encode()
    program = ctypes.c_void_p()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, b"kernels.cu", 0, None, None)
    for name in names:
        nvrtc.nvrtcAddNameExpression(program, name.encode())
    options = [b"--std=c++17", f"--gpu-architecture=sm_{architecture}".encode(), f"--include-path={KERNELS}".encode()]
    failed = nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    if failed or b"warning" in log.value:
        sys.exit(f"error: NVRTC, sm_{architecture}:\n{log.value.decode()}")
    lowered = ctypes.c_char_p()
    for name in names:  # each was made indeed
        if nvrtc.nvrtcGetLoweredName(program, name.encode(), ctypes.byref(lowered)):
            sys.exit(f"error: NVRTC made no such kernel: {name}.")
    nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size))
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return size.value


if __name__ == "__main__":
    main()
