"""GStreamer as Python sees it: PyGObject, found in the environment or as Debian's package; what to install without it.

PyGObject comes with the system (`python3-gi`): its wheel-less package on PyPI would want a compiler and headers. An
environment made without `--system-site-packages` does not see it, so that one package is looked for where Debian and
Ubuntu, JetPack's included, put it. It loads where this Python is of the version that it was built for.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import re
import sys
import warnings
from functools import cache
from pathlib import Path
from typing import Any

from edgeseg.errors import BackendError, UsageError

DEBIAN_GI = Path("/usr/lib/python3/dist-packages/gi")
PACKAGES = "python3-gi gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good"
# Where elements come from, by the beginnings of their names; the first that fits. Others: Debian's three large sets.
_PACKAGE_OF = (
    ("nv", "nvidia-l4t-gstreamer, which JetPack brings; other machines have no such element"),
    ("avdec_", "gstreamer1.0-libav"),
    ("x264enc", "gstreamer1.0-plugins-ugly"),
    ("h264parse", "gstreamer1.0-plugins-bad"),
    ("h265parse", "gstreamer1.0-plugins-bad"),
    ("video", "gstreamer1.0-plugins-base"),
    ("decodebin", "gstreamer1.0-plugins-base"),
    ("rtsp", "gstreamer1.0-plugins-good"),
    ("v4l2", "gstreamer1.0-plugins-good"),
)


class Binding:
    """The three namespaces that sources use: `Gst`, `GstApp` and `GstVideo`, each as PyGObject gives it."""

    def __init__(self) -> None:
        import gi

        for name in ("Gst", "GstApp", "GstVideo"):
            gi.require_version(name, "1.0")
        from gi.repository import Gst, GstApp, GstVideo

        Gst.init(None)
        self.Gst: Any = Gst
        self.GstApp: Any = GstApp
        self.GstVideo: Any = GstVideo

    def has(self, *elements: str) -> bool:
        """True where GStreamer has all of these elements."""
        return all(self.Gst.ElementFactory.find(name) is not None for name in elements)

    def launch(self, description: str) -> Any:
        """The pipeline that a description in gst-launch's language stands for, not started.

        Raises:
            BackendError: an element of that name is not installed; the message says which package has it.
            UsageError: the description does not read as a pipeline.
        """
        try:
            return self.Gst.parse_launch(description)
        except Exception as error:  # GLib.Error, a class that is made while PyGObject loads
            told = str(getattr(error, "message", error))
            absent = re.search(r'no element "([^"]+)"', told)
            if absent is None:
                raise UsageError("no GStreamer pipeline", told, "Try it with gst-launch-1.0 first") from None
            raise missing_element(absent[1]) from None


def missing_element(name: str) -> BackendError:
    """The error for an element that GStreamer does not have."""
    package = next((package for start, package in _PACKAGE_OF if name.startswith(start)), None)
    todo = f"It is in {package}" if package else f"Check the name (gst-inspect-1.0), or apt-get install {_SETS}"
    return BackendError("GStreamer has no such element", name, todo)


@cache
def gstreamer() -> Binding:
    """Load GStreamer, once.

    Raises:
        BackendError: PyGObject or GStreamer's description for it is missing; the message names Debian's packages.
    """
    # PyGObject's own way of importing is an old one, and says so.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            if importlib.util.find_spec("gi") is None:
                _take_debians()
            return Binding()
        except (ImportError, ValueError) as error:  # ValueError: a namespace is not there
            raise BackendError("cannot load GStreamer", error, _todo()) from None


def why_no_gstreamer() -> str | None:
    """Why GStreamer cannot be loaded, as its error's line; None where it can."""
    try:
        gstreamer()
    except BackendError as error:
        return str(error)
    return None


def _take_debians() -> None:
    """Load Debian's `gi` and nothing else of its Python; ModuleNotFoundError where none fits this interpreter."""
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    if not (DEBIAN_GI / f"_gi{suffix}").exists():
        raise ModuleNotFoundError("No module named 'gi'", name="gi")
    spec = importlib.util.spec_from_file_location(
        "gi", DEBIAN_GI / "__init__.py", submodule_search_locations=[str(DEBIAN_GI)]
    )
    assert spec is not None and spec.loader is not None
    module = sys.modules["gi"] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules["gi"]
        raise


def _todo() -> str:
    install = f"Debian and Ubuntu, JetPack too: apt-get install {PACKAGES}"
    built_for = sorted({found[1] for path in DEBIAN_GI.glob("_gi.cpython-*") if (found := _VERSION.match(path.name))})
    here = f"3{sys.version_info.minor}"
    if built_for and here not in built_for:
        versions = " and ".join(f"{version[0]}.{version[1:]}" for version in built_for)
        return f"{install}; python3-gi here is for Python {versions}, so make the environment with /usr/bin/python3"
    return install


_VERSION = re.compile(r"_gi\.cpython-(\d+)-")
_SETS = "gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad"
