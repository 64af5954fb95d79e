"""The error for a package that is missing names the way to get it, as the real import machinery reports it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from edgeseg.packages import EXTRA_OF, missing_package


@pytest.mark.parametrize("name", EXTRA_OF)
def test_each_absent_package_names_its_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)  # the import system's own way to say "not there"
    with pytest.raises(ImportError) as caught:
        importlib.import_module(name)
    error = missing_package(caught.value)
    assert error is not None
    assert error.exit_code == 4
    assert f"edgeseg[{EXTRA_OF[name]}]" in str(error) if EXTRA_OF[name] else "pip install edgeseg" in str(error)
    assert "\n" not in str(error)


def test_cv2_names_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ImportError) as caught:
        importlib.import_module("cv2")
    text = str(missing_package(caught.value))
    assert "JetPack" in text
    assert "edgeseg[cv]" in text


def test_cv2_without_its_system_library_says_which_packages_bring_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A shared object that is none makes the dynamic linker fail, as it does when libGL.so.1 is absent.
    (tmp_path / "cv2.so").write_bytes(b"")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cv2", raising=False)
    with pytest.raises(ImportError) as caught:
        importlib.import_module("cv2")
    text = str(missing_package(caught.value))
    assert "libgl1" in text
    assert "opencv-python-headless" in text


def test_a_foreign_import_error_is_left_alone() -> None:
    with pytest.raises(ImportError) as caught:
        importlib.import_module("no_such_package_of_ours")
    assert missing_package(caught.value) is None
