"""train, export, calibrate, quantize and eval in a row, as a user calls them, on a toy set and a toy network."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeseg.calib.model_file import read_model
from edgeseg.cli.main import main

RECIPE = """
name: toy
classes: [background, disc]
network: {name: unet_lite, args: {blocks: [1, 1, 1, 1, 1, 1], stem: 8, decoder: [16, 16, 8, 8]}}
size: [64, 64]
train: [{path: toy}]
val: [{path: toy}]
steps: 4
phases: [{until: 1.0, sizes: [[64, 64]], batch: 4}]
optimizer: {lr: 0.004, encoder_lr: 0.004, warmup: 2}
workers: 0
checkpoint_every: 2
"""


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe and a set of discs, in which the verbs were run one after the other."""
    folder = tmp_path_factory.mktemp("workshop")
    (folder / "toy.yaml").write_text(RECIPE)
    (folder / "toy" / "images").mkdir(parents=True)
    (folder / "toy" / "masks").mkdir()
    rng = np.random.default_rng(0)
    for stem in "abcd":
        mask = np.zeros((96, 96), np.uint8)
        cv2.circle(mask, (int(rng.integers(30, 66)), 48), 24, 1, -1)
        image = np.where(mask[..., None] == 1, np.uint8(220), rng.integers(0, 90, (96, 96, 3)).astype(np.uint8))
        cv2.imwrite(str(folder / "toy" / "images" / f"{stem}.png"), image)
        cv2.imwrite(str(folder / "toy" / "masks" / f"{stem}.png"), mask)
    for split in ("train", "val"):
        (folder / "toy" / f"{split}.txt").write_text("a b c d")
    train = ["train", folder / "toy.yaml", "--data", folder, "--out", folder / "run"]
    assert call(*train, "--stop-at", "2") == 0
    assert call(*train) == 0
    export = ["export", folder / "run" / "last.pt", "-o", folder / "model.onnx", "--triton", folder / "served"]
    assert call(*export, "--json", folder / "export.json") == 0
    frames = ["--frames", folder / "toy", "--split", "train", "--method", "minmax"]
    assert call("calibrate", folder / "model.onnx", *frames, "-o", folder / "ranges.json") == 0
    return folder


def call(*words: object) -> int:
    """The command line in this process."""
    return main([str(word) for word in words])


def quantize(folder: Path, *more: object) -> int:
    """`quantize` on what the workshop holds."""
    words = ["quantize", folder / "model.onnx", "--ranges", folder / "ranges.json", "-o", folder / "model.int8.onnx"]
    return call(*words, *more)


def test_a_run_resumes_and_its_export_agrees_with_torch(workshop: Path) -> None:
    steps = [json.loads(line)["step"] for line in (workshop / "run" / "log.jsonl").read_text().splitlines()]
    assert steps[-1] == 4
    figures = json.loads((workshop / "export.json").read_text())
    assert figures["against_torch"]["max_levels"] <= 1
    assert figures["size_bytes"] == (workshop / "model.onnx").stat().st_size
    copy = workshop / "served" / "toy" / "1" / "model.onnx"
    assert copy.read_bytes() == (workshop / "model.onnx").read_bytes() and figures["triton"]["max_batch_size"] == 4


def test_a_narrower_run_starts_from_the_first_and_resumes_without_it(workshop: Path) -> None:
    wide = workshop / "wide.pt"
    shutil.copyfile(workshop / "run" / "last.pt", wide)
    narrower = "network.args.ratio=[1, 0.5, 0.5, 0.5, 0.5, 0.5]"
    words = ["train", workshop / "toy.yaml", "--data", workshop, "--out", workshop / "slim", f"init={wide}", narrower]
    assert call(*words, "freeze_norms=true", "--stop-at", "2") == 0
    wide.unlink()
    assert call(*words, "freeze_norms=true") == 0
    steps = [json.loads(line)["step"] for line in (workshop / "slim" / "log.jsonl").read_text().splitlines()]
    assert steps[-1] == 4


def test_encoder_weights_of_the_command_line_are_what_a_run_starts_from(
    workshop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    from edgeseg.models.encoders import build_encoder

    (workshop / "start.yaml").write_text(RECIPE + "init: nowhere.onnx\n")
    torch.manual_seed(5)
    given = build_encoder("mobilenet_v3_small", multiplier=0.5).state_dict()
    torch.save(given, workshop / "mobilenet.pth")
    network = "network={name: unet_lite, args: {encoder: mobilenet_v3_small, multiplier: 0.5, decoder: [8]}}"
    words = ["train", workshop / "start.yaml", "--data", workshop, "--out", workshop / "started", network]
    assert call(*words, "--stop-at", "1") == 3
    assert "nowhere.onnx" in capsys.readouterr().err
    # Found in the data folder; at a rate of 0 the weights stay as they were given.
    still = ["encoder_weights=mobilenet.pth", "optimizer.encoder_lr=0.0"]
    assert call(*words, *still, "--stop-at", "1") == 0
    assert capsys.readouterr().err.count("init nowhere.onnx is left out") == 1
    trained = torch.load(workshop / "started" / "last.pt", weights_only=True)["network"]
    kernels = {key for key, value in given.items() if value.ndim == 4}
    assert kernels and all(torch.equal(trained[f"encoder.{key}"], given[key]) for key in kernels)
    assert call(*words, *still, "init=other.pt") == 2
    assert "two starts are given" in capsys.readouterr().err


def test_check_counts_classes_and_names_the_bad_file(workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", workshop / "toy.yaml", "--data", workshop, "--check"]
    assert call(*words) == 0
    out = capsys.readouterr().out
    assert "toy, train: 4 pictures, 0.0% not counted" in out
    shares = [float(line.split()[1].rstrip("%")) for line in out.splitlines() if line.startswith("  disc")]
    # A disc of radius 24 on 96 x 96 pixels.
    assert shares == pytest.approx([100 * np.pi * 24**2 / 96**2] * 2, abs=0.5)
    assert call(*words, "classes=[background, disc, square]") == 0
    assert "no training picture shows square" in capsys.readouterr().err
    bad = workshop / "bad"
    shutil.copytree(workshop / "toy", bad)
    cv2.imwrite(str(bad / "masks" / "c.png"), np.full((96, 96), 7, np.uint8))
    assert call(*words, "train=[{path: bad}]") == 3
    assert "unknown class id: 7 in" in capsys.readouterr().err


def test_check_counts_instances(workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workshop / "things.yaml").write_text(RECIPE.replace("unet_lite", "maskrcnn_efficientnet_lite0"))
    assert call("train", workshop / "things.yaml", "--data", workshop, "--check") == 0
    # One disc a picture, in the training set and in the validation set.
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if "disc" in line]
    assert [line[-2:] for line in lines] == [["4", "instances"], ["4", "instances"]]


def test_biases_are_corrected_on_frames(workshop: Path) -> None:
    assert quantize(workshop, "--frames", workshop / "toy" / "images") == 0
    _, manifest = read_model(workshop / "model.int8.onnx")
    assert manifest.origin["quantization"]["biases_corrected_on"] == 4


def test_quantize_measures_the_drop(workshop: Path) -> None:
    measure = ["--data", workshop / "toy", "--split", "val", "--json", workshop / "int8.json"]
    assert quantize(workshop, "--max-drop", 100, *measure) == 0
    figures = json.loads((workshop / "int8.json").read_text())
    assert figures["drop_points"] == pytest.approx(100 * (figures["score_fp32"] - figures["score_int8"]))
    assert len(figures["int8"]) > 5
    assert figures["layers"] == [] and figures["kept_float"] == []


def test_eval_of_both_files(workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert quantize(workshop) == 0
    for name, precision in (("model.onnx", "fp32"), ("model.int8.onnx", "int8")):
        capsys.readouterr()
        words = ["eval", "--model", workshop / name, "--backend", "onnxruntime", "--data", workshop / "toy"]
        assert call(*words, "--split", "val", "--json", "-", "--report", workshop / f"report-{precision}") == 0
        figures = json.loads(capsys.readouterr().out)
        assert (figures["model"], figures["precision"], figures["images"]) == ("toy", precision, 4)
        assert 0.0 <= figures["disc_iou_mean_over_images"] <= 1.0
        assert len(list((workshop / f"report-{precision}").iterdir())) == 5


@pytest.mark.parametrize(
    "words, code, told",
    [
        (["train", "none.yaml"], 3, "none.yaml"),
        (["train", "toy.yaml", "stepz=3"], 2, "Did you mean 'steps'?"),
        (["train", "toy.yaml", "--data", "elsewhere"], 3, "elsewhere"),
        (["export", "no.pt", "-o", "x.onnx"], 3, "no.pt"),
        (["export", "toy.yaml", "-o", "x.onnx"], 4, "toy.yaml"),
        (["export", "nobody", "-o", "x.onnx"], 2, "nobody"),
        (["export", "run/last.pt", "-o", "no/x.onnx"], 3, "no"),
        (["calibrate", "model.onnx", "--frames", "bare", "-o", "r.json"], 3, "bare"),
        (["calibrate", "toy.yaml", "--frames", "toy", "-o", "r.json"], 4, "toy.yaml"),
        (["quantize", "model.onnx", "--ranges", "none.json", "-o", "q.onnx"], 3, "none.json"),
        (["quantize", "model.onnx", "--ranges", "export.json", "-o", "q.onnx"], 4, "export.json"),
        (["eval", "--model", "model.onnx", "--data", "run", "--split", "val"], 3, "Looked for"),
        (["eval", "--model", "model.onnx", "--data", "toy", "--split", "test"], 3, "test.txt"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else None,
)
def test_bad_input(
    words: list[str],
    code: int,
    told: str,
    workshop: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (workshop / "bare").mkdir(exist_ok=True)
    monkeypatch.chdir(workshop)
    assert main(words) == code
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert told in err
