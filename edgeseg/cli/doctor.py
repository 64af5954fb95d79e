"""`edgeseg doctor`: what this machine has: Python, packages, backends, the plugin, cameras, models, cache."""

from __future__ import annotations

import argparse
from pathlib import Path
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
    from edgeseg.export.plugin import find_library

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


def cameras() -> list[dict[str, str]]:
    """Video devices of the kernel: {"device", "name"}."""
    found = []
    for device in sorted(Path("/dev").glob("video*")):
        label = Path("/sys/class/video4linux") / device.name / "name"
        found.append({"device": str(device), "name": label.read_text().strip() if label.is_file() else ""})
    return found


def describe_findings(found: dict[str, Any]) -> str:
    """The findings as text: machine, packages, backends, plugin, cameras, models, and what is wrong."""
    from edgeseg.cli.output import table

    machine = [f"  {key.replace('_', ' ')}: {value}" for key, value in found["machine"].items() if value is not None]
    rows = [
        (name, entry["version"] or "-", "" if entry["version"] else f"pip install 'edgeseg[{entry['extra']}]'")
        for name, entry in found["packages"].items()
    ]
    cameras = [f"  {camera['device']}  {camera['name']}".rstrip() for camera in found["cameras"]]
    parts = [
        f"edgeseg {found['edgeseg']}",
        "\n".join(["machine", *machine]),
        table(("package", "version", "to get it"), rows),
        "\n".join(["backends", *(f"  {name}: {state}" for name, state in found["backends"].items())]),
        f"TensorRT plugin: {found['plugin']}",
        "\n".join(["cameras", *(cameras or ["  none"])]),
        f"models: {', '.join(found['models']) or 'none'}",
        *(f"problem: {problem}" for problem in found["problems"]),
    ]
    return "\n\n".join(parts)
