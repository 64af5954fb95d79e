"""JSON goes aside first and alone to standard output; errors of all kinds become one line with an exit code."""

from __future__ import annotations

import argparse
import json
import os
import signal
from pathlib import Path

import pytest

from edgeseg.cli import doctor
from edgeseg.cli.main import main
from edgeseg.cli.output import check_target, table, write_json
from edgeseg.errors import LimitError, OutputError, UsageError


def test_table_aligns_numbers_right_and_words_left() -> None:
    text = table(("span", "ms"), [("inference", 1.5), ("post", 12.25), ("none", None)])
    assert text.splitlines() == ["span          ms", "inference   1.50", "post       12.25", "none           -"]


def test_json_replaces_the_file_and_leaves_nothing_aside(tmp_path: Path) -> None:
    target = tmp_path / "figures.json"
    target.write_text("old")
    write_json({"p95_ms": 1.5}, str(target))
    assert json.loads(target.read_text()) == {"p95_ms": 1.5}
    assert list(tmp_path.iterdir()) == [target]


def test_what_is_read_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_text("the only one")
    (tmp_path / "link.onnx").symlink_to("model.onnx")
    with pytest.raises(UsageError, match=r"the file to write is one that is read: .*link\.onnx\. Give another name"):
        check_target(tmp_path / "link.onnx", None, tmp_path / "none", tmp_path / "model.onnx")
    check_target(tmp_path / "other.onnx", None, tmp_path / "none", tmp_path / "model.onnx")


def test_json_that_fails_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "figures.json"
    target.write_text("old")
    with pytest.raises(ValueError, match="JSON"):
        write_json({"p95_ms": float("nan")}, str(target))
    assert target.read_text() == "old"


@pytest.mark.parametrize("place", ["missing/figures.json", "."])
def test_unwritable_targets_are_found_before_the_work(tmp_path: Path, place: str) -> None:
    with pytest.raises(OutputError):
        check_target(tmp_path / place)


def _raise(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    "error, code, told",
    [
        (LimitError("too slow", "9 ms", "Wait"), 5, "error: too slow: 9 ms. Wait."),
        (ZeroDivisionError("division\nby zero"), 1, "--debug"),
        (ModuleNotFoundError("No module named 'openvino'", name="openvino"), 4, "edgeseg[openvino]"),
        (KeyboardInterrupt(), 0, "warning: "),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_error_is_one_line(
    error: BaseException, code: int, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "handle", lambda args: _raise(error))
    assert main(["doctor"]) == code
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 1


def test_debug_shows_the_traceback_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "handle", lambda args: _raise(ZeroDivisionError("by zero")))
    assert main(["doctor", "--debug"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("error: ")


def test_sigterm_ends_a_verb_with_zero_and_the_handler_is_put_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wait(args: argparse.Namespace) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        signal.sigtimedwait([], 1.0)
        return 1

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(doctor, "handle", wait)
    assert main(["doctor"]) == 0
    assert "stopped" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is before
