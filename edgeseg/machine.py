"""What this machine is: the description that stands beside every measured figure. Reads Linux's own files only."""

from __future__ import annotations

import math
import os
import platform
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# Import name -> distributions that bring it, the first one found counts.
PACKAGES = {
    "numpy": ("numpy",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino"),
    "openvino": ("openvino",),
    "opencv": ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"),
    "av": ("av",),
}
_CPUS = Path("/sys/devices/system/cpu")
_CGROUP = Path("/sys/fs/cgroup/cpu.max")
# What decides which kernels a CPU runtime can take.
_FLAGS = frozenset(
    ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimddp", "bf16", "i8mm")
)


def describe() -> dict[str, Any]:
    """The machine and its software, fit for JSON; what cannot be read is None.

    Keys: cpu, cpu_features, cores (that this process may use), physical_cores, clock_mhz (of each core now),
    clock_max_mhz, governor, power_mode, virtual, memory_gb, os, kernel, architecture, python, versions.
    """
    return {
        "cpu": cpu_model(),
        "cpu_features": _cpu_features(),
        "cores": cores(),
        "physical_cores": physical_cores(),
        "clock_mhz": clocks_mhz(),
        "clock_max_mhz": _first_number(_CPUS / "cpu0/cpufreq/cpuinfo_max_freq", 1e-3),
        "governor": _text(_CPUS / "cpu0/cpufreq/scaling_governor"),
        "power_mode": power_mode(),
        "virtual": "hypervisor" in _cpuinfo("flags").split(),
        "memory_gb": _memory_gb(),
        "os": _os_name(),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "versions": versions(PACKAGES),
    }


def cpu_model() -> str:
    """The CPU as it calls itself, "AMD EPYC (family 25, model 1)" for one; the board's name where the CPU has none."""
    name = _cpuinfo("model name")
    if name:
        return f"{name} (family {_cpuinfo('cpu family')}, model {_cpuinfo('model')})"
    board = _text(Path("/proc/device-tree/model"))
    return board.rstrip("\0") if board else platform.processor() or platform.machine()


def cores() -> int:
    """Logical cores that this process may use: affinity and the container's quota count."""
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:
        allowed = os.cpu_count() or 1
    quota = _quota()
    return max(1, min(allowed, math.ceil(quota)) if quota else allowed)


def physical_cores() -> int:
    """Cores of `cores()` that do not share their arithmetic units with another one."""
    try:
        allowed = os.sched_getaffinity(0)
    except AttributeError:
        return cores()
    units = {_text(_CPUS / f"cpu{cpu}/topology/thread_siblings_list") or str(cpu) for cpu in allowed}
    return min(len(units), cores())


def clocks_mhz() -> list[int] | None:
    """The clock of each core now, in MHz; None where the machine does not say."""
    found = [_first_number(path, 1e-3) for path in sorted(_CPUS.glob("cpu[0-9]*/cpufreq/scaling_cur_freq"))]
    if not found:
        found = [float(value) for value in _cpuinfo_all("cpu MHz")]
    return [round(value) for value in found if value is not None] or None


def power_mode() -> str | None:
    """The platform's power profile ("balanced"), or a Jetson's nvpmodel mode; None where there is none to read."""
    profile = _text(Path("/sys/firmware/acpi/platform_profile"))
    return profile or _text(_CPUS / "cpu0/cpufreq/energy_performance_preference") or _jetson_mode()


def versions(names: Iterable[str]) -> dict[str, str | None]:
    """Installed versions by import name, read from package metadata without importing; None: not installed."""
    return {name: _version(name) for name in names}


def busy_s() -> tuple[float, float] | None:
    """Seconds since boot of all cores together: (at work, taken away by the hypervisor); None if unknown."""
    fields = (_text(Path("/proc/stat")) or "").partition("\n")[0].split()[1:9]
    if len(fields) < 8:
        return None
    # user nice system idle iowait irq softirq steal
    user, nice, system, _, _, irq, softirq, steal = (int(field) for field in fields)
    tick_s = 1 / os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + softirq) * tick_s, steal * tick_s


def _version(name: str) -> str | None:
    from importlib import metadata  # here, as it takes longer to load than all of this module

    for distribution in PACKAGES.get(name, (name,)):
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    # JetPack's cv2 belongs to no distribution; only a loaded one can tell.
    module = sys.modules.get("cv2" if name == "opencv" else name)
    return getattr(module, "__version__", None)


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _first_number(path: Path, factor: float) -> float | None:
    try:
        return float((_text(path) or "").split()[0]) * factor
    except (IndexError, ValueError):
        return None


def _cpuinfo_all(key: str) -> list[str]:
    lines = (_text(Path("/proc/cpuinfo")) or "").splitlines()
    return [line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == key]


def _cpuinfo(key: str) -> str:
    return next(iter(_cpuinfo_all(key)), "")


def _cpu_features() -> list[str]:
    return sorted(_FLAGS.intersection((_cpuinfo("flags") or _cpuinfo("Features")).split()))


def _quota() -> float | None:
    words = (_text(_CGROUP) or "max").split()
    return int(words[0]) / int(words[1]) if len(words) == 2 and words[0] != "max" else None


def _memory_gb() -> float | None:
    for line in (_text(Path("/proc/meminfo")) or "").splitlines():
        if line.startswith("MemTotal:"):
            return round(int(line.split()[1]) / 2**20, 1)
    return None


def _os_name() -> str:
    for line in (_text(Path("/etc/os-release")) or "").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return platform.system()


def _jetson_mode() -> str | None:
    # "pmode:0002" in the file that nvpmodel leaves behind; the number is what `nvpmodel -q` prints last.
    status = _text(Path("/var/lib/nvpmodel/status"))
    return f"nvpmodel {status.partition(':')[2].lstrip('0') or '0'}" if status and ":" in status else None
