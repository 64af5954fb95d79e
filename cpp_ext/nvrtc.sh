#!/bin/sh
# Compiles the kernels of build/ptxas.txt with NVRTC 12.6, which it fetches as a wheel.
#   sh cpp_ext/nvrtc.sh UV PYTHON FOLDER
set -eu
uv=$1 python=$2 folder=$3
here=$(cd "$(dirname "$0")" && pwd)
if [ ! -d "$folder/nvrtc" ]; then
  echo "fetching NVRTC 12.6 into $folder/nvrtc"
  rm -rf "$folder/nvrtc.part"
  "$uv" pip install --quiet --python "$python" --no-deps --target "$folder/nvrtc.part" nvidia-cuda-nvrtc-cu12==12.6.85
  mv "$folder/nvrtc.part" "$folder/nvrtc"
fi
PYTHONPATH=$folder/nvrtc "$python" "$here/tests/compile_with_nvrtc.py" "$here/../build/ptxas.txt"
