#!/bin/sh
# What compiling cpp_ext needs beside a C++ compiler and make, as wheels in a folder: nvcc unless one is installed, CMake
# unless one is installed.
#   sh cpp_ext/toolchain.sh UV PYTHON FOLDER
# Nothing happens where everything is there. NVIDIA's packages are under its own licence (CUDA Toolkit EULA).
set -eu
uv=$1 python=$2 folder=$3
here=$(dirname "$0")
# CUDA 13.0: the newest that a driver of 580 runs. FindCUDAToolkit wants lib64 and the library's plain name.
CUDA="nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-cuda-runtime==13.0.96
  nvidia-cuda-cccl==13.0.85"
CMAKE="cmake>=3.22,<5"

command -v c++ >/dev/null || { echo "error: no C++ compiler: c++. Install one (Debian: apt-get install g++)." >&2; exit 1; }
fetch() { "$uv" pip install --quiet --python "$python" --no-deps --target "$@"; }

if [ -z "$(sh "$here/find_tool.sh" nvcc "$folder")" ]; then
  echo "fetching nvcc into $folder/cuda"
  rm -rf "$folder/cuda"
  # shellcheck disable=SC2086
  fetch "$folder/cuda.part" $CUDA
  toolkit=$folder/cuda.part/nvidia/cu13
  ln -s lib "$toolkit/lib64"
  ln -s libcudart.so.13 "$toolkit/lib/libcudart.so"
  mv "$folder/cuda.part" "$folder/cuda"
fi
if [ -z "$(sh "$here/find_tool.sh" cmake "$folder")" ]; then
  echo "fetching CMake into $folder/cmake"
  rm -rf "$folder/cmake"
  fetch "$folder/cmake.part" "$CMAKE"
  mv "$folder/cmake.part" "$folder/cmake"
fi
