"""The pictures of a run: samples show what they claim, curves hold what the log says."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from torch import Tensor

from edgeseg.data.evaluate import spread
from edgeseg.data.pool import Pool, SetConfig
from edgeseg.export.from_checkpoint import class_map
from edgeseg.models.base import SemanticNetwork
from edgeseg.train.pictures import SHOWN, _series, draw_curves, draw_samples
from edgeseg.train.validate import answer

CLASSES = class_map(["background", "person"], [[0, 0, 0], [0, 0, 255]])


class Bright(SemanticNetwork):
    """Calls bright pixels person, in the middle of the picture where `margin` is set."""

    def __init__(self, margin: int = 0) -> None:
        super().__init__(stride=1)
        self.margin = margin

    def forward(self, x: Tensor) -> Tensor:
        inner = slice(self.margin, x.shape[-1] - self.margin)
        return x.mean(dim=1, keepdim=True)[..., inner, inner]


def pool(folder: Path) -> Pool:
    for name in ("images", "masks"):
        (folder / "set" / name).mkdir(parents=True)
    for stem in "abc":
        image = np.zeros((40, 60, 3), np.uint8)
        image[:, :30] = 255
        mask = np.zeros((40, 60), np.uint8)
        mask[:20] = 1
        cv2.imwrite(str(folder / "set" / "images" / f"{stem}.png"), image)
        cv2.imwrite(str(folder / "set" / "masks" / f"{stem}.png"), mask)
    (folder / "set" / "train.txt").write_text("a b c")
    return Pool(folder, SetConfig("set"), classes=2)


def test_samples_show_picture_truth_and_answer(tmp_path: Path) -> None:
    samples, network = pool(tmp_path), Bright().eval()
    shown_ones = spread(range(len(samples)), SHOWN)
    assert shown_ones == [0, 1, 2]
    answers = [answer(network, *samples[index], (40, 60)) for index in shown_ones]
    draw_samples(answers, CLASSES, tmp_path / "samples.jpg")
    shown = cv2.imread(str(tmp_path / "samples.jpg"))
    assert shown is not None
    # Three samples beside each other, three rows of 192; 60x40 pictures are 288 wide.
    assert shown.shape == (576, 3 * 288, 3)
    red = shown[..., 2].astype(int) - shown[..., 1] > 60
    picture, truth, given = red[:192], red[192:384], red[384:]
    assert not picture.any()
    # Truth: the upper half; the answer: the left half.
    assert truth[:90].mean() > 0.9 > 0.1 > truth[102:].mean()
    assert given[:, :138].mean() > 0.9 > 0.1 > given[:, 150:288].mean()


def test_an_answer_for_the_middle_comes_with_the_middle(tmp_path: Path) -> None:
    image, mask = pool(tmp_path)[0]
    picture, truth, given = answer(Bright(4).eval(), image, mask, (32, 32))
    assert picture.shape == (24, 24, 3)
    assert truth.shape == given.shape == (24, 24)
    assert np.array_equal(truth[:, 0], np.repeat([1, 0], 12))
    assert np.array_equal(given[0], np.repeat([1, 0], 12))


def test_curves_are_drawn_from_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    lines = [{"step": k, "loss": 1.0 / k, "lr": 0.1, "images_per_s": 3.0} for k in range(1, 9)]
    lines += [{"step": 4, "iou/set": 0.5}, {"step": 8, "iou/set": 0.75}, {"step": 2, "loss": 9.0}]
    # A machine that went down left half a line.
    log.write_text("\n".join([*(json.dumps(line) for line in lines), '{"step": 9, "lo']))
    assert _series(lines, "iou/set") == ([4, 8], [0.5, 0.75])
    assert _series(lines, "loss")[1][:3] == [1.0, 9.0, 1.0 / 3]
    draw_curves(log, tmp_path / "curves.png")
    first = cv2.imread(str(tmp_path / "curves.png"))
    assert first is not None and first.shape[0] > 500
    log.write_text(json.dumps({"step": 1, "loss": 1.0, "lr": 0.1}))
    draw_curves(log, tmp_path / "curves.png")
    assert not np.array_equal(first, cv2.imread(str(tmp_path / "curves.png")))
