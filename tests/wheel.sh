#!/bin/sh
# Builds the wheel, installs it into fresh environments without torch and runs the tests that need no checkout from
# another directory. Usage: tests/wheel.sh UV PYTHON, where PYTHON is an interpreter, or `all` for each of 3.10 to 3.13.
# EDGESEG_TESTED="3.11" leaves a version out of `all`, unless it is the only one.
set -eu
uv=$1
checkout=$(cd "$(dirname "$0")/.." && pwd)
case $uv in /*) ;; *) uv=$PWD/$uv ;; esac

found() { # each Python from 3.10 to 3.13, on the PATH or kept by pyenv
  for version in 3.10 3.11 3.12 3.13; do
    for python in "python$version" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version"*/bin/python; do
      # pyenv's shims exist for versions that are not selected: only one that starts counts.
      if "$python" -c '' 2>/dev/null; then command -v "$python"; break; fi
    done
  done
}

if [ "$2" = all ]; then
  pythons=$(found)
  others=$(for python in $pythons; do
    "$python" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] == '${EDGESEG_TESTED:-}')" && echo "$python"
  done || true)
  pythons=${others:-$pythons}
else
  pythons=$2
fi
[ -n "$pythons" ] || { echo "error: no Python from 3.10 to 3.13: $PATH. Install one." >&2; exit 1; }

room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
echo "building the wheel"
# Built from a copy of what git would take: setuptools leaves its own folders behind, and old ones would get into the wheel.
cd "$checkout"
mkdir "$room/source" "$room/elsewhere"
git ls-files --cached --others --exclude-standard | tar --create --files-from - | tar --extract --directory "$room/source"
"$uv" build --quiet --wheel --out-dir "$room/dist" "$room/source"
cp -r "$checkout/tests" "$checkout/pyproject.toml" "$room/elsewhere"
cd "$room/elsewhere"
EDGESEG_SHARED=${EDGESEG_SHARED:-$checkout/../shared}
export EDGESEG_SHARED

for python in $pythons; do
  echo "== $("$python" -V): the wheel, without torch"
  "$uv" venv --quiet --clear --python "$python" "$room/venv"
  install() { "$uv" pip install --quiet --python "$room/venv/bin/python" --constraints "$checkout/constraints.txt" "$@"; }
  install "$room"/dist/*.whl pytest pytest-timeout onnx openvino pycocotools cyclonedds rosbags aiohttp
  "$room/venv/bin/python" -c 'import cv2' 2>/dev/null || {
    "$uv" pip uninstall --quiet --python "$room/venv/bin/python" opencv-python
    install opencv-python-headless
  }
  "$room/venv/bin/python" -m pytest -q -m 'not checkout' -p no:cacheprovider
done
