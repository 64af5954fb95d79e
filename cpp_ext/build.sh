#!/bin/sh
# Compiles cpp_ext: `plugin` leaves build/libedgeseg_plugin.so and build/ptxas.txt, `tests` compiles and runs ctest.
#   sh cpp_ext/build.sh plugin|tests PYTHON TOOLS [CMAKE OPTIONS...]
# TENSORRT_ROOT, EDGESEG_SHARED and CUDACXX are heard; EDGESEG_ARCHITECTURES="87" compiles for one GPU.
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

"$cmake" -S "$checkout/cpp_ext" -B "$build" "-DEDGESEG_SHARED=$shared" "-DPython3_EXECUTABLE=$python" \
  ${EDGESEG_ARCHITECTURES:+"-DEDGESEG_ARCHITECTURES=$EDGESEG_ARCHITECTURES"} "$@" | grep -e '^-- edgeseg' -e rror || true
"$cmake" --build "$build" --parallel "$(nproc)" --target help | grep -q '[ .]edgeseg_plugin' || {
  [ "$what" = tests ] || { echo "error: the plugin was left out: $build. See the line above." >&2; exit 1; }
}
case $what in
  plugin)
    "$cmake" --build "$build" --parallel "$(nproc)" --target edgeseg_plugin
    cat "$build"/CMakeFiles/edgeseg_kernels.dir/kernels/*.ptxas.txt >"$checkout/build/ptxas.txt"
    cp "$build/libedgeseg_plugin.so" "$checkout/build/libedgeseg_plugin.so.part"
    mv "$checkout/build/libedgeseg_plugin.so.part" "$checkout/build/libedgeseg_plugin.so"
    echo "build/libedgeseg_plugin.so; build/ptxas.txt has registers and spills"
    ;;
  tests)
    "$cmake" --build "$build" --parallel "$(nproc)"
    "$(sh "$checkout/cpp_ext/find_tool.sh" ctest "$tools")" --test-dir "$build" --verbose
    ;;
esac
