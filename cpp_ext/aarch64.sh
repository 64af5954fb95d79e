#!/bin/sh
# Jetson's architecture without a Jetson: kernels for Orin (87) and Thor (110) and the plugin are cross-compiled; under qemu
# the tests pass and the plugin loads into the real aarch64 TensorRTs. The GPU's side is not run.
#   sh cpp_ext/aarch64.sh UV PYTHON TOOLS TENSORRT...
# TOOLS gets nvcc and CUDA's runtime for aarch64, as wheels; TENSORRT are folders of `sh tests/tensorrt.sh ... arm64`.
# Needs Debian's g++-aarch64-linux-gnu and qemu-user-static. Heard: AARCH64_ROOT (default /usr/aarch64-linux-gnu),
# EDGESEG_ARCHITECTURES (default "87 110"; CI has time for one), EDGESEG_SHARED. The tests' cases are made here, on this
# machine.
set -eu
uv=$1 python=$2 tools=$3
shift 3
checkout=$(cd "$(dirname "$0")/.." && pwd)
root=${AARCH64_ROOT:-/usr/aarch64-linux-gnu}
architectures=$(echo "${EDGESEG_ARCHITECTURES:-87 110}" | tr ' ' ';')
compiler=aarch64-linux-gnu-g++
qemu=qemu-aarch64-static
for tool in $compiler $qemu; do
  command -v $tool >/dev/null || { echo "error: missing: $tool. Install g++-aarch64-linux-gnu and qemu-user-static." >&2; exit 1; }
done
cmake=$(sh "$checkout/cpp_ext/find_tool.sh" cmake "$tools")
build=$checkout/build/aarch64
shared=${EDGESEG_SHARED:-$checkout/../shared}
[ -d "$shared/tensorrt/include-10.3" ] || { echo "error: no TensorRT headers: $shared/tensorrt. Set EDGESEG_SHARED." >&2; exit 1; }
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
for script in make_cases make_picture_cases; do
  PYTHONPATH=$checkout "$python" "$checkout/cpp_ext/tests/$script.py" "$cases"
done
"$cmake" -S "$checkout/cpp_ext" -B "$build" -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
  -DCMAKE_CXX_COMPILER=$compiler "-DCMAKE_CUDA_COMPILER=$(cd "$toolkit" && pwd)/bin/nvcc" -DCMAKE_CUDA_HOST_COMPILER=$compiler \
  "-DCMAKE_CROSSCOMPILING_EMULATOR=$qemu;-L;$root" "-DEDGESEG_ARCHITECTURES=$architectures" -DEDGESEG_SANITIZE=OFF \
  "-DEDGESEG_CASES=$cases" "-DEDGESEG_SHARED=$shared" \
  "-DEDGESEG_MATRIX=$(printf '%s;' "$shared"/tensorrt/include-* | sed 's/;$//')" >"$build.log" 2>&1 || {
  cat "$build.log" >&2
  exit 1
}
grep '^-- edgeseg' "$build.log"
unset MAKEFLAGS MFLAGS
"$cmake" --build "$build" --parallel "$(nproc)"
"$(sh "$checkout/cpp_ext/find_tool.sh" ctest "$tools")" --test-dir "$build" --verbose --label-regex cpu
failed=0
for folder in "$@"; do
  library=$(echo "$folder"/lib/libnvinfer.so.*)
  version=${folder##*-}
  # The one with headers of the library's own, or the newest below.
  case $version in 11.*) loader=load_plugin_11.1 ;; *) loader=load_plugin_$version ;; esac
  for headers in $(cd "$shared/tensorrt" && printf '%s\n' include-* | sed 's/include-//' | sort -V); do
    outcome=$($qemu -L "$root" -E "LD_LIBRARY_PATH=$folder/lib" "$build/$loader" "$library" \
      "$build/libedgeseg_plugin_$headers.so" 2>/dev/null) || {
      outcome="exit $?: $outcome"
      # Headers that are newer than the library promise nothing.
      [ "$(printf '%s\n' "$headers" "$version" | sort -V | head -n 1)" != "$headers" ] || failed=1
    }
    echo "aarch64: headers $headers, library $version: $outcome"
  done
done
exit $failed
