#!/bin/sh
# Full TensorRT for a machine that has neither a GPU nor an NVIDIA account: libraries as the JavaCPP project publishes
# them on Maven's public repository, Python bindings from the package index.
#   sh tests/tensorrt.sh UV PYTHON VERSION FOLDER [arm64]      VERSION: 10.6, 10.15 or 11.2; FOLDER: 1 to 3 GB afterwards
# PYTHONPATH=FOLDER/site then has the module `tensorrt`. Nothing happens where the folder is complete.
# arm64: the libraries alone, without the builder's kernels, to load plugins into under qemu.
set -eu
uv=$1 python=$2 version=$3 folder=$4 machine=${5:-x86_64}
case $version in
  10.6) jar=10.6-1.5.11 bindings=tensorrt-cu12-bindings==10.6.0 ;;
  10.15) jar=10.15-1.5.13 bindings=tensorrt-cu13-bindings==10.15.1.29 ;;
  11.2) jar=11.2-1.5.14 bindings=tensorrt-cu13-bindings==11.2.1.2 ;;
  *) echo "error: no such version of TensorRT: $version. Give 10.6, 10.15 or 11.2." >&2; exit 2 ;;
esac
[ ! -e "$folder/complete" ] || exit 0
command -v mvn >/dev/null || { echo "error: Maven is missing: mvn. Run make system-packages." >&2; exit 1; }
echo "fetching TensorRT $version into $folder"
rm -rf "$folder"
mkdir -p "$folder/lib" "$folder/site/tensorrt"
# A repository of its own, so that the archive does not stay behind in the user's.
mvn --quiet --batch-mode -Dstyle.color=never -Dmaven.repo.local="$folder/maven" dependency:copy \
  -Dartifact="org.bytedeco:tensorrt:$jar:jar:linux-$machine-redist" -DoutputDirectory="$folder/maven" >/dev/null
"$python" - "$folder" "$machine" <<'END'
import shutil
import sys
import zipfile
from pathlib import Path

folder = Path(sys.argv[1])
with zipfile.ZipFile(next((folder / "maven").glob("tensorrt-*.jar"))) as archive:
    for name in archive.namelist():
        file = Path(name).name
        # Not the glue for Java, and not the lean and version-compatible variants.
        unwanted = "vc_plugin" in file or (sys.argv[2] == "arm64" and "resource" in file)
        if file.startswith("libnv") and ".so" in file and not unwanted:
            with archive.open(name) as source, open(folder / "lib" / file, "wb") as out:
                shutil.copyfileobj(source, out, 1 << 20)
END
rm -rf "$folder/maven"
if [ "$machine" = arm64 ]; then
  touch "$folder/complete"
  exit 0
fi
"$uv" pip install --quiet --python "$python" --no-deps --target "$folder/site" "$bindings"
cat >"$folder/site/tensorrt/__init__.py" <<'END'
"""TensorRT's bindings over the libraries that lie beside them."""

import ctypes
from pathlib import Path

for _name in ("libnvinfer", "libnvinfer_plugin", "libnvonnxparser"):
    for _file in sorted((Path(__file__).parents[2] / "lib").glob(f"{_name}.so*")):
        ctypes.CDLL(str(_file), mode=ctypes.RTLD_GLOBAL)
from tensorrt_bindings import *  # noqa: E402, F403
from tensorrt_bindings import __version__  # noqa: E402, F401
END
touch "$folder/complete"
