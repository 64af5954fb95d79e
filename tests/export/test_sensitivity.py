"""A limit on what int8 may cost: which layers stay in float, and that the sweep is measured once."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path

import cv2
import pytest
from export_helpers import Exported

from edgeseg.calib.model_file import read_model
from edgeseg.calib.ranges import Ranges
from edgeseg.cli.main import main
from edgeseg.export.check import sample_pictures
from edgeseg.export.quantize import Quantized, quantize
from edgeseg.export.sensitivity import LayerDrop, Limited, fingerprint, limit_drop, sweep_layers
from edgeseg.runtime.segmenter import open_segmenter

# Points that each layer costs; together they are simply added.
COSTS = {"a": 0.1, "b": 4.0, "c": 0.2, "d": 1.5, "e": 0.0, "f": 0.9, "g": 0.3, "h": 0.05}
FP32, INT8 = Path("fp32"), Path("int8")


def search(limit: float) -> tuple[Limited, list[tuple[str, ...]], int]:
    """The result, each attempt's float layers, and how often the layers were swept."""
    attempts: list[tuple[str, ...]] = []
    sweeps = 0

    def make(kept: Collection[str]) -> Quantized:
        attempts.append(tuple(kept))
        return Quantized(tuple(name for name in COSTS if name not in kept), tuple(kept))

    def score(path: Path) -> float:
        lost = sum(cost for name, cost in COSTS.items() if name not in attempts[-1]) if path == INT8 else 0.0
        return 0.9 - lost / 100

    def sweep(layers: Sequence[str]) -> list[LayerDrop]:
        nonlocal sweeps
        sweeps += 1
        return [LayerDrop(name, COSTS[name]) for name in layers]

    return limit_drop(FP32, INT8, make, score, limit, sweep), attempts, sweeps


def test_nothing_is_kept_where_the_limit_holds() -> None:
    found, attempts, sweeps = search(8.0)
    assert (found.kept, found.layers, attempts, sweeps) == ((), (), [()], 0)
    assert found.drop_points == pytest.approx(sum(COSTS.values()))


@pytest.mark.parametrize(
    ("limit", "kept"), [(4.0, "b"), (1.6, "bd"), (0.7, "bdf"), (0.4, "bdfg"), (0.2, "bdfgc"), (0.06, "bdfgca")]
)
def test_the_fewest_of_the_costliest_layers_are_kept(limit: float, kept: str) -> None:
    found, attempts, sweeps = search(limit)
    assert found.kept == tuple(kept) and sweeps == 1
    assert found.drop_points <= limit
    # The file that stays is the one that was reported.
    assert attempts[-1] == found.kept == found.made.kept_float


def test_a_limit_that_cannot_hold_ends_with_one_layer_in_int8() -> None:
    found, _, sweeps = search(-1.0)
    assert found.drop_points > -1.0 and len(found.kept) == len(COSTS) - 1 and sweeps == 1


@pytest.fixture
def own(person: Exported, tmp_path: Path) -> Path:
    """A set whose truth is what the float network says: whatever int8 says else is lost."""
    root = tmp_path / "set"
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    with open_segmenter(person.path, "onnxruntime") as segmenter:
        for number, picture in enumerate(sample_pictures(90, 120)):
            cv2.imwrite(str(root / "images" / f"{number}.png"), picture)
            cv2.imwrite(str(root / "masks" / f"{number}.png"), segmenter(picture).label_map)
    (root / "val.txt").write_text("0 3 4")
    return root


def test_each_layer_is_measured_alone_and_once(person: Exported, ranges: Ranges, tmp_path: Path) -> None:
    layers = list(quantize(person.path, ranges, tmp_path / "all.onnx").int8)[:3]
    seen: list[int] = []

    def score(path: Path) -> float:
        nodes = read_model(path)[0].graph.node
        seen.append(sum(node.op_type == "QuantizeLinear" for node in nodes))
        return 0.5

    found = sweep_layers(person.path, ranges, layers, score, "here")
    assert [item.layer for item in found] == layers and all(item.drop_points == 0.0 for item in found)
    assert len(seen) == 4 and seen[0] == 0 and min(seen[1:]) > 0
    assert sweep_layers(person.path, ranges, layers, score, "here") == found and len(seen) == 4
    sweep_layers(person.path, ranges, layers, score, "elsewhere")
    assert len(seen) == 8
    # Layers that are never in int8 are not in it here either.
    alone = seen[-1]
    sweep_layers(person.path, ranges, layers[:2], score, "elsewhere", always_float=layers[2:])
    assert len(seen) == 11 and seen[-1] <= alone + 2


def test_other_data_have_another_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"one")
    first = fingerprint(tmp_path, "val")
    assert fingerprint(tmp_path, "val") == first != fingerprint(tmp_path, "train")
    (tmp_path / "a.png").write_bytes(b"other")
    assert fingerprint(tmp_path, "val") != first


def test_the_command_line_keeps_layers_and_prints_them(
    person: Exported, ranges: Ranges, own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ranges.save(tmp_path / "ranges.json")
    words = ["quantize", str(person.path), "--ranges", str(tmp_path / "ranges.json"), "-o", str(tmp_path / "q.onnx")]
    words += ["--data", str(own), "--json", str(tmp_path / "q.json")]
    assert main([*words, "--max-drop", "100"]) == 0
    whole = json.loads((tmp_path / "q.json").read_text())
    assert whole["score_fp32"] == 1.0 and whole["drop_points"] > 0 and whole["layers"] == []
    limit = whole["drop_points"] / 2
    capsys.readouterr()
    assert main([*words, "--max-drop", str(limit)]) == 0
    body = json.loads((tmp_path / "q.json").read_text())
    assert body["drop_points"] <= limit and body["kept_float"]
    assert sorted(item["layer"] for item in body["layers"]) == sorted(whole["int8"])
    kept = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.endswith(" float")]
    assert sorted(kept) == sorted(body["kept_float"])


def test_a_missed_limit_is_exit_code_5_and_leaves_its_report(
    person: Exported,
    ranges: Ranges,
    own: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ranges.save(tmp_path / "ranges.json")
    monkeypatch.setattr("edgeseg.cli.quantize.score", lambda model, **_: 1.0 if model == person.path else 0.5)
    words = ["quantize", str(person.path), "--ranges", str(tmp_path / "ranges.json"), "-o", str(tmp_path / "q.onnx")]
    assert main([*words, "--data", str(own), "--max-drop", "1", "--json", str(tmp_path / "q.json")]) == 5
    told = capsys.readouterr()
    assert told.err.startswith("error: int8 loses more than 1 points: 50.00. ")
    assert "points lost with it alone in int8" in told.out
    assert json.loads((tmp_path / "q.json").read_text())["drop_points"] == pytest.approx(50.0)
