"""The shipped Mask R-CNN: its file on ONNX Runtime against its weights in torchvision's own detector, on real pictures.

The file holds the static form; torch runs the plain one, which it was trained as. Boxes, scores and small masks agree;
pasting differs by design: torchvision rounds the enlarged box to whole pixels, edgeseg (as Detectron2) does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import torch

from edgeseg.data.folder import list_samples
from edgeseg.export.from_checkpoint import load_for_export
from edgeseg.instance_masks import paste_window, whole
from edgeseg.runtime.segmenter import Segmenter, open_segmenter
from edgeseg.train.start import normalize
from edgeseg.types import Image

Floats = npt.NDArray[np.float32]
SURE = 0.5


class Found(NamedTuple):
    """One detector's answer to one picture, in pixels of the input."""

    boxes: Floats  # [K, 4]
    scores: Floats  # [K]
    small: Floats  # [K, 28, 28]
    pasted: npt.NDArray[np.bool_]  # [K, H, W], as that detector itself pastes


@pytest.fixture(scope="module")
def answers(shared: Path) -> list[tuple[Found, Found]]:
    """What torch and the file find in two pictures that nothing was trained on."""
    network, _ = load_for_export("pedestrian")
    samples = list_samples(shared / "data" / "pennfudan", "val")[:2]
    with open_segmenter("pedestrian", "onnxruntime", "fp32", threshold=0.0) as segmenter:
        inputs = [segmenter.preprocess(sample.read_image())[0][0] for sample in samples]
        return [(by_torch(network, picture), by_file(segmenter, picture)) for picture in inputs]


@torch.no_grad()
def by_torch(network: Any, picture: Image) -> Found:
    """The plain detector; what it has before pasting is taken where it hands it to be pasted."""
    paste, kept = network.detector.transform.postprocess, []

    def listen(found: list[dict[str, torch.Tensor]], *sizes: Any) -> Any:
        kept.extend(dict(item) for item in found)
        return paste(found, *sizes)

    network.detector.transform.postprocess = listen
    rgb = torch.from_numpy(np.ascontiguousarray(picture[:, :, ::-1].transpose(2, 0, 1)))[None]
    (given,) = network(normalize(rgb, network))
    network.detector.transform.postprocess = paste
    small = kept[0]["masks"][:, 0].numpy()
    return Found(given["boxes"].numpy(), given["scores"].numpy(), small, given["masks"][:, 0].numpy() >= 0.5)


def by_file(segmenter: Segmenter, picture: Image) -> Found:
    found = segmenter(picture).instances
    assert found is not None
    return Found(found.boxes, found.scores, found.mask_probabilities, found.masks)


def box_iou(one: Floats, other: Floats) -> float:
    sides = np.clip(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0, None)
    both = float(sides.prod())
    return both / (float((one[2:] - one[:2]).prod()) + float((other[2:] - other[:2]).prod()) - both)


def mask_iou(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> float:
    return float((one & other).sum() / (one | other).sum())


def pasted(small: Floats, box: Floats, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    return whole(paste_window(small, box, *size), *size)


def pairs(answers: list[tuple[Found, Found]]) -> Iterator[tuple[Found, int, Found, int]]:
    """Each sure detection of either side, and its partner of the other: the box that it overlaps most."""
    for each in answers:
        for mine, theirs in (each, each[::-1]):
            sure = np.flatnonzero(mine.scores > SURE)
            assert len(sure) >= 2
            for place in sure:
                overlaps = [box_iou(mine.boxes[place], box) for box in theirs.boxes]
                yield mine, int(place), theirs, int(np.argmax(overlaps))


def test_each_sure_detection_has_its_partner(answers: list[tuple[Found, Found]]) -> None:
    for mine, place, theirs, partner in pairs(answers):
        size = mine.pasted.shape[1:]
        assert box_iou(mine.boxes[place], theirs.boxes[partner]) > 0.99
        assert theirs.scores[partner] == pytest.approx(mine.scores[place], abs=1e-3)
        # Both pasted by the one rule that edgeseg has.
        masks = [pasted(one.small[k], one.boxes[k], size) for one, k in ((mine, place), (theirs, partner))]
        assert masks[0].sum() > 500 and mask_iou(*masks) > 0.99


def test_torchvision_s_own_pasting_differs_by_its_rounding_of_the_box_alone(
    answers: list[tuple[Found, Found]],
) -> None:
    for plain, _ in answers:
        for place in np.flatnonzero(plain.scores > SURE):
            left, top, right, bottom = plain.boxes[place].tolist()
            # Enlarged from 28 to 30 parts for a border of zeros, cut to whole pixels, its last pixel inside.
            across, down = (right - left) / 28, (bottom - top) / 28
            corners = np.trunc([left - across, top - down, right + across, bottom + down]) + [0, 0, 1, 1]
            inset = np.array([corners[2] - corners[0], corners[3] - corners[1]]) / 30
            box = (corners + [*inset, *-inset]).astype(np.float32)
            size = plain.pasted.shape[1:]
            assert mask_iou(pasted(plain.small[place], box, size), plain.pasted[place]) > 0.99
            assert mask_iou(pasted(plain.small[place], plain.boxes[place], size), plain.pasted[place]) > 0.9
