"""`edgeseg doctor`: what this machine has: Python, packages, backends, the plugin, cameras, decoders, models."""

from __future__ import annotations

import argparse
from typing import Any

HELP = "say what this machine has and what is missing"
EXAMPLE = "edgeseg doctor --json -"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `doctor`."""
    from edgeseg.cli.arguments import add_json

    add_json(parser)


def handle(args: argparse.Namespace) -> int:
    """Print what was found."""
    from edgeseg.cli.output import check_target, text_stream, write_json

    check_target(args.json)
    found = examine()
    write_json(found, args.json)
    print(describe_findings(found), file=text_stream(args.json))
    return 0


def examine() -> dict[str, Any]:
    """Everything `doctor` reports, as JSON types."""
    from edgeseg import __version__
    from edgeseg.machine import describe
    from edgeseg.runtime.zoo import list_models

    return {
        "edgeseg": __version__,
        "machine": describe(),
        "packages": packages(),
        "problems": problems(),
        "backends": backends(),
        "plugin": plugin(),
        "cameras": cameras(),
        "decoders": decoders(),
        "gstreamer": gstreamer(),
        "models": [model["name"] for model in list_models()],
    }


def packages() -> dict[str, dict[str, str | None]]:
    """For each package that edgeseg can use: its version (None where it is absent) and the extra that brings it."""
    from importlib.metadata import packages_distributions, version
    from importlib.util import find_spec

    from edgeseg.packages import EXTRA_OF

    owners = packages_distributions()
    found: dict[str, dict[str, str | None]] = {}
    for name, extra in EXTRA_OF.items():
        present = find_spec(name) is not None
        # JetPack's cv2 and tensorrt come from Debian packages, which Python knows no version of.
        known = version(owners[name][0]) if present and name in owners else None
        found[name] = {"version": known or ("of the system" if present else None), "extra": extra or None}
    return found


def backends() -> dict[str, str]:
    """State of each backend: ready, or what is missing."""
    from edgeseg.runtime.backends import installed, known, usable

    here, ready = installed(), usable()
    return {
        name: "ready"
        if name in ready
        else "installed, but there is no GPU"
        if name in here
        else f"not installed: pip install 'edgeseg[{kind.extra}]'"
        for name, kind in known().items()
    }


def plugin() -> str:
    """Where the TensorRT plugin library lies, or what to do for one."""
    from edgeseg.errors import InputError
    from edgeseg.runtime.backends.plugin_library import find_library

    try:
        found = find_library()
    except InputError as error:
        return str(error)
    return str(found) if found else "none: make ext in a checkout, then EDGESEG_PLUGIN names it elsewhere"


def problems() -> list[str]:
    """Core packages that are there but do not load, each as its one-line error."""
    import importlib

    from edgeseg.packages import missing_package

    found = []
    for name in ("cv2", "av", "onnxruntime"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            found.append(str(missing_package(error) or error))
    return found


def cameras() -> list[dict[str, Any]]:
    """Video devices of the kernel, as `v4l2.Camera` has them."""
    from dataclasses import asdict

    from edgeseg.runtime.sources import v4l2

    return [{**asdict(camera), "raw": camera.raw} for camera in v4l2.cameras()]


def gstreamer() -> str:
    """GStreamer's version, or why it cannot be loaded."""
    from edgeseg.errors import BackendError
    from edgeseg.runtime.sources.gstreamer_binding import gstreamer as load

    try:
        return str(load().Gst.version_string())
    except BackendError as error:
        return str(error)


def decoders() -> dict[str, str]:
    """State of each way to decode video in hardware."""
    from edgeseg.runtime.sources.decoding import hardware_decoders

    return hardware_decoders()


def describe_camera(camera: dict[str, Any], sensor: int | None = None) -> str:
    """Lines for one camera: name, and for each format sizes with their rates; `sensor` is the number of a bare one."""
    by = f" ({camera['driver']})" if camera["driver"] else ""
    lines = [f"  {camera['device']}  {camera['name']}{by}".rstrip()]
    sizes: dict[str, list[str]] = {}
    for mode in camera["modes"]:
        rates = ", ".join(f"{rate:g}" for rate in mode["fps"])
        size = f"{mode['width']}x{mode['height']}" if mode["width"] else "any size"
        sizes.setdefault(mode["pixels"], []).append(f"{size} at {rates} fps" if rates else size)
    lines += [f"    {pixels}: {'; '.join(each)}" for pixels, each in sizes.items()]
    if camera["problem"]:
        lines.append(f"    cannot be asked: {camera['problem']}")
    elif not camera["modes"]:
        lines.append("    captures no pictures")
    elif sensor is not None:
        lines.append(f"    a bare sensor: on a Jetson csi://{sensor} reads it")
    return "\n".join(lines)


def describe_findings(found: dict[str, Any]) -> str:
    """The findings as text: machine, packages, backends, plugin, cameras, decoders, models, what is wrong."""
    from edgeseg.cli.output import table

    machine = [f"  {key.replace('_', ' ')}: {value}" for key, value in found["machine"].items() if value is not None]
    rows = [
        (name, entry["version"] or "-", "" if entry["version"] else f"pip install 'edgeseg[{entry['extra']}]'")
        for name, entry in found["packages"].items()
    ]
    sensors = [camera["device"] for camera in found["cameras"] if camera["raw"]]
    cameras = [
        describe_camera(camera, sensors.index(camera["device"]) if camera["raw"] else None)
        for camera in found["cameras"]
    ]
    parts = [
        f"edgeseg {found['edgeseg']}",
        "\n".join(["machine", *machine]),
        table(("package", "version", "to get it"), rows),
        "\n".join(["backends", *(f"  {name}: {state}" for name, state in found["backends"].items())]),
        f"TensorRT plugin: {found['plugin']}",
        "\n".join(["cameras", *(cameras or ["  none"])]),
        "\n".join(["hardware decoders", *(f"  {name}: {state}" for name, state in found["decoders"].items())]),
        f"GStreamer: {found['gstreamer']}",
        f"models: {', '.join(found['models']) or 'none'}",
        *(f"problem: {problem}" for problem in found["problems"]),
    ]
    return "\n\n".join(parts)
