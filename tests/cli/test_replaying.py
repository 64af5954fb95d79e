"""`run --record` and `run replay:DIR` as users call them: the same masks again, or exit code 5 and the first frame."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeseg.cli.main import main
from edgeseg.errors import UsageError
from edgeseg.runtime.recording import HEAD, LINES


def record(folder: Path, source: object, *words: object) -> int:
    """`edgeseg run` into a recording, on ONNX Runtime."""
    return main(["run", str(source), "--backend", "onnxruntime", "--record", str(folder), *map(str, words)])


@pytest.mark.parametrize("smooth", [None, "steady"])
def test_the_clip_that_ships(smooth: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--precision", "fp32", "--max-frames", 12, *(["--smooth", smooth] if smooth else [])]
    assert record(tmp_path / "tape", "demo", *words, "--masks", tmp_path / "first") == 0
    assert f"wrote {tmp_path / 'tape'}" in capsys.readouterr().out
    again = [f"replay:{tmp_path / 'tape'}", "--masks", str(tmp_path / "second"), "--stats", str(tmp_path / "s.json")]
    assert main(["run", *again]) == 0
    out = capsys.readouterr().out
    assert "replay: 12 of 12 recorded masks, all identical" in out and "onnxruntime" in out and "fp32" in out
    masks = [[path.read_bytes() for path in sorted((tmp_path / name).iterdir())] for name in ("first", "second")]
    assert masks[0] == masks[1] and len(masks[0]) == 12
    replay = json.loads((tmp_path / "s.json").read_text())["replay"]
    assert replay == {"recorded": 12, "compared": 12, "different": 0, "first_different": None}


@pytest.fixture
def tape(tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A recording of 8 frames by the tiny model."""
    folder = tmp_path / "tape"
    assert record(folder, "synthetic:64x48", "--max-frames", 8, "--model", tiny_model, "--threshold", 0.4) == 0
    capsys.readouterr()
    return folder


def test_another_mask_is_exit_code_5_and_names_the_first_frame(tape: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [json.loads(line) for line in (tape / LINES).read_text().splitlines()]
    for line in lines:
        if line["frame"] in (3, 6):
            line["mask"] = "0" * 64
    (tape / LINES).write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main(["run", f"replay:{tape}"]) == 5
    err = capsys.readouterr().err
    assert err.startswith("error: ") and err.count("\n") == 1
    assert "frame 3 is the first of 2 that differ, of 8" in err
    assert main(["run", f"replay:{tape}", "--max-frames", "3"]) == 0
    assert "replay: 3 of 8 recorded masks, all identical" in capsys.readouterr().out


def test_classes_are_for_the_outputs_alone(tape: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", f"replay:{tape}", "--classes", "background", "--masks", str(tmp_path / "masks")]) == 0
    assert "all identical" in capsys.readouterr().out


def test_a_live_source_is_replayed_with_its_drops(
    tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--model", tiny_model, "--smooth", "uncertainty", "--max-frames", 40]
    counts = []
    for place, command in enumerate((None, f"replay:{tmp_path / 'tape'}")):
        stats = tmp_path / f"{place}.json"
        if command is None:
            assert record(tmp_path / "tape", "synthetic:320x240@400", *words, "--stats", stats) == 0
        else:
            assert main(["run", command, "--stats", str(stats)]) == 0
        body = json.loads(stats.read_text())
        counts.append({name: body[name] for name in ("frames_in", "frames_out", "dropped", "failed")})
    assert counts[0] == counts[1] and counts[0]["frames_in"] == 40
    assert "all identical" in capsys.readouterr().out


def test_settings_are_those_of_the_recording(tape: Path, capsys: pytest.CaptureFixture[str]) -> None:
    replay = f"replay:{tape}"
    wrong = {
        ("--threshold", "0.5"): "--threshold 0.5",
        ("--smooth", "steady"): "--smooth steady",
        ("--model", "person-landscape"): "--model person-landscape",
        ("--policy", "all"): "--policy",
        ("--record", str(tape) + "-2"): "--record",
        (replay,): "a replay runs alone",
    }
    for words, told in wrong.items():
        assert main(["run", replay, *words]) == 2
        assert told in capsys.readouterr().err
    assert main(["run", replay, "--threshold", "0.4"]) == 0


def test_a_model_that_has_changed_is_refused(
    tmp_path: Path, make_tiny_model: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    model = make_tiny_model(tmp_path / "own.onnx")
    assert record(tmp_path / "tape", "synthetic:64x48", "--max-frames", 2, "--model", model) == 0
    make_tiny_model(model, name="other")
    assert main(["run", f"replay:{tmp_path / 'tape'}"]) == 4
    assert "has changed since the recording" in capsys.readouterr().err


def test_several_sources_have_a_recording_each(
    tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--max-frames", "3", "--model", str(tiny_model), "--backend", "onnxruntime"]
    assert main(["run", "synthetic:64x48", "synthetic:80x40", *words, "--record", str(tmp_path / "tape")]) == 0
    for place in (0, 1):
        assert main(["run", f"replay:{tmp_path / 'tape'}-{place}"]) == 0
    assert capsys.readouterr().out.count("replay: 3 of 3 recorded masks, all identical") == 2


def test_recordings_that_cannot_be(tape: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--max-frames", 1, "--model", tiny_model]
    assert record(tape, "synthetic:64x48", *words) == 3
    assert "holds a recording already" in capsys.readouterr().err
    assert main(["run", "replay:nowhere"]) == 3
    assert "holds no recording" in capsys.readouterr().err
    head = json.loads((tape / HEAD).read_text())
    for settings, told in ((3, "(settings)"), ({"model": "person"}, "(no backend, precision")):
        (tape / HEAD).write_text(json.dumps({**head, "settings": settings}))
        assert main(["run", f"replay:{tape}"]) == 3
        err = capsys.readouterr().err
        assert "the recording's head is damaged" in err and told in err


def test_unknown_smoothing_is_said_before_anything_is_opened() -> None:
    import edgeseg

    with pytest.raises(UsageError, match="unknown option of smoothing"):
        next(edgeseg.stream("no-such-file.mp4", smooth="uncertainty+flaw"))
