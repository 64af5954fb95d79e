#!/bin/sh
# Writes constraints.txt: one pin for each package and Python from 3.10 to 3.13. Usage: tests/constraints.sh UV
set -eu
pins=$(mktemp)
trap 'rm -f "$pins"' EXIT
printf 'torch==2.13.0\ntorchvision==0.28.0\nopencv-python-headless\n' >"$pins"
{
  echo "# What CI installs: the same versions every day. Written by \`make constraints\`; setup.py has the lower bounds."
  "$1" pip compile setup.py "$pins" --quiet --universal --python-version 3.10 --extra all --extra cv \
    --no-header --no-annotate |
    # The markers that pyproject.toml's tool.uv.environments puts on every line say nothing here.
    sed -E "s/ and sys_platform == 'linux'//g; s/ (;|and) python_full_version < '3.14'\$//"
} >constraints.txt.part
mv constraints.txt.part constraints.txt
