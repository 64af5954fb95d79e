#!/bin/sh
# Prints the path of a tool, the machine's before the one that toolchain.sh fetched; nothing where there is none.
#   sh cpp_ext/find_tool.sh nvcc|cmake|ctest FOLDER
set -eu
tool=$1 folder=$2
case $tool in
  nvcc) candidates="${CUDACXX:-} nvcc /usr/local/cuda/bin/nvcc $folder/cuda/nvidia/cu13/bin/nvcc" ;;
  *) candidates="$tool $folder/cmake/cmake/data/bin/$tool" ;;
esac
for candidate in $candidates; do
  if path=$(command -v "$candidate"); then
    case $path in /*) echo "$path" ;; *) echo "$PWD/$path" ;; esac
    exit 0
  fi
done
