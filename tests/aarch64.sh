#!/bin/sh
# The SDK on Jetson's architecture without a Jetson: Debian's Python for arm64 and aarch64 wheels run under qemu, and
# segment frames of the clip that ships; their label maps must be this machine's.
#   sh tests/aarch64.sh UV PYTHON FOLDER      FOLDER: 0.5 GB afterwards
# Needs qemu-user-static (make system-packages), and apt with a mirror that has arm64 (Debian's have). Nothing of the
# system is changed: apt gets folders of its own.
set -eu
uv=$1 python=$2 folder=$3
here=$(cd "$(dirname "$0")" && pwd)
qemu=qemu-aarch64-static
for tool in $qemu apt-get dpkg-deb; do
  command -v $tool >/dev/null || { echo "error: missing: $tool. Use Debian with qemu-user-static." >&2; exit 1; }
done
# Newer ones read the host's processors and crash under qemu. The same here, so that architectures are what differs.
RUNTIME=onnxruntime==1.20.1
WHEELS="$RUNTIME opencv-python-headless numpy av pyyaml"

if [ ! -e "$folder/complete" ]; then
  echo "fetching Python and wheels for aarch64 into $folder"
  rm -rf "$folder"
  mkdir -p "$folder/root" "$folder/apt/state/lists/partial" "$folder/apt/cache/archives/partial"
  : >"$folder/apt/status"
  apt=$(cd "$folder/apt" && pwd)
  get() {
    apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o "Dir::State=$apt/state" \
      -o "Dir::State::status=$apt/status" -o "Dir::Cache=$apt/cache" -o Debug::NoLocking=1 \
      -o "APT::Sandbox::User=$(id -un)" "$@"
  }
  get update
  # Nothing counts as installed, so all that Python needs comes along, down to the C library.
  get install --yes --download-only --no-install-recommends python3 libstdc++6 libgomp1 >/dev/null
  for package in "$apt"/cache/archives/*.deb; do
    dpkg-deb --extract "$package" "$folder/root"
  done
  rm -rf "$apt"
  version=$(basename "$(readlink "$folder/root/usr/bin/python3")")
  grep -v '^onnxruntime==' "$here/../constraints.txt" >"$folder/constraints.txt"
  # shellcheck disable=SC2086
  "$uv" pip install --quiet --python "$python" --target "$folder/site" --python-platform aarch64-manylinux_2_28 \
    --python-version "${version#python}" --only-binary :all: --constraints "$folder/constraints.txt" $WHEELS
  "$uv" pip install --quiet --python "$python" --target "$folder/here" --no-deps $RUNTIME
  touch "$folder/complete"
fi

frames=$here/aarch64_frames.py
PYTHONPATH=$folder/here "$python" "$frames" write "$folder/here.npz"
root=$(cd "$folder/root" && pwd)
$qemu -L "$root" -E "PYTHONPATH=$folder/site:$here/.." -E PYTHONDONTWRITEBYTECODE=1 -E "HOME=$folder" \
  "$root/usr/bin/python3" "$frames" write "$folder/aarch64.npz" "$folder/here.npz"
"$python" "$frames" compare "$folder/here.npz" "$folder/aarch64.npz"
