"""`make proof`: what it reads from the words' output, and that a word alone leaves the figures of the others."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
pytestmark = pytest.mark.checkout

LINES = [
    "1: kernel_parts: 704208 checks, 0 failed",
    "2: skipped: no GPU: there is no driver",
    "aarch64: headers 10.3, library 11.2: exit 139: ",
    "x86_64 and aarch64, int8: 99.8459 % of 1228800 pixels are equal in 4 frames, 20.8 % of them person",
    "NVRTC 12.6, sm_87: 67 kernels, 1113320 bytes of machine code",
]


@pytest.fixture
def proof(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import proof as module

    return module


def test_what_is_read_of_the_output(proof: Any) -> None:
    assert proof.aarch64(LINES) == {
        "programs": {"kernel_parts": {"checks": 704208, "failed": 0}},
        "skipped": ["no GPU: there is no driver"],
        "cells": [{"headers": "10.3", "library": "11.2", "outcome": "exit 139: "}],
        "label_maps": {"int8": {"equal_percent": 99.8459, "pixels": 1228800, "frames": 4}},
    }
    assert proof.nvrtc(LINES) == {"gpus": {"sm_87": {"nvrtc": "12.6", "kernels": 67}}}


def test_cells_keep_what_came_of_python_and_of_c(proof: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cell = {"headers": "10.3", "library": "11.2", "must": True, "outcome": "both made", "from_cpp": "exit 1"}
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "plugin-matrix.json").write_text(json.dumps([cell | {"log": ["a line"], "LabelMap": None}]))
    monkeypatch.setattr(proof, "CHECKOUT", tmp_path)
    assert proof.matrix([]) == {"cells": [cell]}


def test_a_word_alone_leaves_the_others(proof: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import common

    monkeypatch.setattr(common, "RESULTS", tmp_path)
    monkeypatch.setattr(proof, "FILE", tmp_path / "proof.json")
    (tmp_path / "proof.json").write_text(json.dumps({"ext": {"exit_status": 0}, "test-nvrtc": {"exit_status": 0}}))
    monkeypatch.setattr(proof, "run", lambda word: {"exit_status": 2, "word": word})
    monkeypatch.setattr(sys, "argv", ["proof.py", "test-ext", "test-nvrtc"])
    assert proof.main() == 1
    body = json.loads((tmp_path / "proof.json").read_text())
    assert [key for key in body if key in proof.WORDS] == ["ext", "test-ext", "test-nvrtc"]
    assert body["ext"] == {"exit_status": 0} and body["test-nvrtc"] == {"exit_status": 2, "word": "test-nvrtc"}
