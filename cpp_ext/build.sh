#!/bin/sh
# Compiles cpp_ext: `plugin` leaves build/libedgeseg_plugin.so, its loader, its twin for the CPU and build/ptxas.txt,
# `tests` compiles and runs ctest, `matrix` compiles the plugin once more over each of EDGESEG_SHARED's headers.
#   sh cpp_ext/build.sh plugin|tests|matrix PYTHON TOOLS [CMAKE OPTIONS...]
# TENSORRT_ROOT, EDGESEG_SHARED and CUDACXX are heard; EDGESEG_ARCHITECTURES="75 87" compiles for those GPUs alone.
set -eu
what=$1 python=$2 tools=$3
shift 3
checkout=$(cd "$(dirname "$0")/.." && pwd)
cmake=$(sh "$checkout/cpp_ext/find_tool.sh" cmake "$tools")
CUDACXX=$(sh "$checkout/cpp_ext/find_tool.sh" nvcc "$tools")
export CUDACXX
unset MAKEFLAGS MFLAGS # the jobs of a make that calls this are not CMake's
build=$checkout/build/ext
shared=${EDGESEG_SHARED:-$checkout/../shared}

matrix=
architectures=$(echo "${EDGESEG_ARCHITECTURES:-}" | tr ' ' ';')
if [ "$what" = matrix ]; then
  matrix=$(printf '%s;' "$shared"/tensorrt/include-* | sed 's/;$//')
fi

mkdir -p "$checkout/build"
"$cmake" -S "$checkout/cpp_ext" -B "$build" "-DEDGESEG_SHARED=$shared" "-DPython3_EXECUTABLE=$python" \
  "-DEDGESEG_ARCHITECTURES=$architectures" "-DEDGESEG_MATRIX=$matrix" "$@" >"$build.log" 2>&1 || {
  cat "$build.log" >&2
  exit 1
}
grep '^-- edgeseg' "$build.log"
if [ "$what" != tests ] && grep -q 'left out' "$build.log"; then
  echo "error: there is no plugin to build: $build.log. See the line above." >&2
  exit 1
fi
case $what in
  plugin)
    "$cmake" --build "$build" --parallel "$(nproc)" --target edgeseg_plugin edgeseg_plugin_loader edgeseg_cpu
    cat "$build"/CMakeFiles/edgeseg_kernels.dir/kernels/*.ptxas.txt >"$checkout/build/ptxas.txt"
    for library in libedgeseg_plugin.so libedgeseg_plugin_loader.so libedgeseg_cpu.so; do
      cp "$build/$library" "$checkout/build/$library.part"
      mv "$checkout/build/$library.part" "$checkout/build/$library"
    done
    echo "build/libedgeseg_plugin.so, its loader and its twin for the CPU; build/ptxas.txt has registers and spills"
    ;;
  matrix)
    "$cmake" --build "$build" --parallel "$(nproc)" --target edgeseg_plugins
    ;;
  tests)
    "$cmake" --build "$build" --parallel "$(nproc)"
    "$(sh "$checkout/cpp_ext/find_tool.sh" ctest "$tools")" --test-dir "$build" --verbose
    ;;
esac
