#!/bin/sh
# Jetson's architecture without a Jetson: kernels for Orin (87) and Thor (110) and the plugin are cross-compiled; under qemu
# the tests pass and the plugin loads into the real aarch64 TensorRTs. The GPU's side is not run.
#   sh cpp_ext/aarch64.sh UV PYTHON TOOLS TENSORRT...
# TOOLS gets nvcc and CUDA's runtime for aarch64, as wheels; TENSORRT are folders of `sh tests/tensorrt.sh ... arm64`.
# Needs Debian's g++-aarch64-linux-gnu and qemu-user-static. Heard: AARCH64_ROOT (default /usr/aarch64-linux-gnu),
# EDGESEG_SHARED. The tests' cases are made here, on this machine.
set -eu
uv=$1 python=$2 tools=$3
shift 3
checkout=$(cd "$(dirname "$0")/.." && pwd)
root=${AARCH64_ROOT:-/usr/aarch64-linux-gnu}
compiler=aarch64-linux-gnu-g++
qemu=qemu-aarch64-static
for tool in $compiler $qemu; do
  command -v $tool >/dev/null || { echo "error: missing: $tool. Install g++-aarch64-linux-gnu and qemu-user-static." >&2; exit 1; }
done
cmake=$(sh "$checkout/cpp_ext/find_tool.sh" cmake "$tools")
build=$checkout/build/aarch64
cases=$build/cases
toolkit=$tools/aarch64/nvidia/cu13

if [ ! -d "$tools/aarch64" ]; then
  echo "fetching nvcc and aarch64's CUDA runtime into $tools/aarch64"
  rm -rf "$tools/aarch64.part" "$tools/aarch64.runtime"
  fetch() { "$uv" pip install --quiet --python "$python" --no-deps --target "$@"; }
  fetch "$tools/aarch64.part" nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 \
    nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85
  fetch "$tools/aarch64.runtime" --python-platform aarch64-manylinux_2_28 nvidia-cuda-runtime==13.0.96
  # nvcc links with what lies in lib64: aarch64's runtime there makes it a cross-compiler.
  cp -r "$tools/aarch64.runtime/nvidia/cu13/lib" "$tools/aarch64.part/nvidia/cu13/lib64"
  ln -s libcudart.so.13 "$tools/aarch64.part/nvidia/cu13/lib64/libcudart.so"
  rm -rf "$tools/aarch64.runtime"
  mv "$tools/aarch64.part" "$tools/aarch64"
fi

mkdir -p "$build"
PYTHONPATH=$checkout "$python" "$checkout/cpp_ext/tests/make_cases.py" "$cases"
"$cmake" -S "$checkout/cpp_ext" -B "$build" -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
  -DCMAKE_CXX_COMPILER=$compiler "-DCMAKE_CUDA_COMPILER=$(cd "$toolkit" && pwd)/bin/nvcc" -DCMAKE_CUDA_HOST_COMPILER=$compiler \
  "-DCMAKE_CROSSCOMPILING_EMULATOR=$qemu;-L;$root" "-DEDGESEG_ARCHITECTURES=87;110" -DEDGESEG_SANITIZE=OFF \
  "-DEDGESEG_CASES=$cases" "-DEDGESEG_SHARED=${EDGESEG_SHARED:-$checkout/../shared}" >"$build.log" 2>&1 || {
  cat "$build.log" >&2
  exit 1
}
grep '^-- edgeseg' "$build.log"
unset MAKEFLAGS MFLAGS
"$cmake" --build "$build" --parallel "$(nproc)"
"$(sh "$checkout/cpp_ext/find_tool.sh" ctest "$tools")" --test-dir "$build" --verbose --label-regex cpu
for folder in "$@"; do
  for library in "$folder"/lib/libnvinfer.so.*; do
    $qemu -L "$root" -E "LD_LIBRARY_PATH=$folder/lib" "$build/tests/load_plugin" "$library" "$build/libedgeseg_plugin.so"
  done
done
