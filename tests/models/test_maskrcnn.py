"""Mask R-CNN: shapes and losses of the paper, and two real pictures learnt by heart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edgeseg.data.average_precision import average_precision
from edgeseg.data.instances import Instances, list_instances, stacked
from edgeseg.errors import UsageError
from edgeseg.models import build_instance
from edgeseg.models.maskrcnn import MaskRCNN
from edgeseg.train.instances import detect, fitted, target_of
from edgeseg.train.start import normalize

TINY = {"width": 16, "hidden": 32, "mask_depth": 1, "blocks": [1] * 6, "ratio": [0.1] * 6, "stem": 8}
SIZE = (256, 320)


def disc() -> Instances:
    rows, columns = np.mgrid[0:128, 0:160]
    return stacked([(rows - 60) ** 2 + (columns - 80) ** 2 < 900], [1], [False], (128, 160))


def test_the_losses_of_the_paper_and_masks_of_28() -> None:
    torch.manual_seed(0)
    network = build_instance("maskrcnn_efficientnet_lite0", classes=3, **TINY).train()
    losses = network(torch.randn(2, 3, 128, 160), [target_of(disc()), target_of(disc())])
    assert set(losses) == {"loss_classifier", "loss_box_reg", "loss_mask", "loss_objectness", "loss_rpn_box_reg"}
    sum(losses.values()).backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in network.parameters())
    heads = network.detector.roi_heads
    regions = torch.zeros(5, 16, 14, 14)
    assert heads.mask_predictor(heads.mask_head(regions)).shape == (5, 3, 28, 28)
    # The exported file writes the ratio out; 0, which adapts, could not be.
    assert heads.box_roi_pool.sampling_ratio == heads.mask_roi_pool.sampling_ratio == 2


def test_a_picture_without_instances_teaches_background() -> None:
    torch.manual_seed(0)
    network = build_instance("maskrcnn_efficientnet_lite0", **TINY).train()
    nobody = stacked([], [], [], (128, 160))
    losses = network(torch.randn(1, 3, 128, 160), [target_of(nobody)])
    assert losses["loss_mask"].item() == losses["loss_rpn_box_reg"].item() == 0.0
    assert losses["loss_objectness"].item() > 0.0


def test_answers_have_the_size_of_the_picture() -> None:
    torch.manual_seed(0)
    network = build_instance("maskrcnn_efficientnet_lite0", max_detections=7, **TINY).eval()
    network.detector.roi_heads.score_thresh = 0.0
    with torch.no_grad():
        (found,) = network(torch.randn(1, 3, 128, 160))
    assert 0 < len(found["scores"]) <= 7
    assert found["masks"].shape[1:] == (1, 128, 160)
    assert ((found["masks"] >= 0) & (found["masks"] <= 1)).all()
    assert (found["boxes"][:, 2] <= 160).all() and (found["boxes"][:, 3] <= 128).all()


def test_a_map_without_anchors_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"\[16, 32\], strides \[4, 8, 16, 32\] and one more"):
        build_instance("maskrcnn_efficientnet_lite0", **(TINY | {"anchors": [16, 32]}))


def test_an_unknown_network_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="maskrcnn_mobilenet_v2"):
        build_instance("maskrcnn_mobilenetv2")


def pair(shared: Path) -> tuple[list[np.ndarray], list[Instances]]:
    """Two pictures with pedestrians at `SIZE`."""
    samples, _ = list_instances(shared / "data" / "pennfudan", "train")
    pictures, truth = zip(*(fitted(*sample.read(), SIZE) for sample in samples[:2]), strict=True)
    return list(pictures), list(truth)


def learn(network: MaskRCNN, x: torch.Tensor, truth: list[Instances], steps: int) -> None:
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    network.train()
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.eval()  # two pictures are no statistics
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 1e-3 * min(1.0, (step + 1) / 20) * (1 - step / steps)
        loss = sum(network(x, [target_of(item) for item in truth]).values())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()


def test_two_real_pictures_are_learnt_by_heart(shared: Path) -> None:
    torch.manual_seed(0)
    pictures, truth = pair(shared)
    network = build_instance("maskrcnn_efficientnet_lite0", width=64, hidden=256, mask_depth=2, regions=64)
    network.detector.backbone.encoder.load(shared / "weights" / "efficientnet-lite0-57934424.pth")
    network.to(memory_format=torch.channels_last)
    rgb = np.stack([picture[:, :, ::-1].transpose(2, 0, 1) for picture in pictures])
    x = normalize(torch.from_numpy(rgb), network)
    learn(network, x, truth, STEPS)
    figures = average_precision(truth, [detect(network, picture) for picture in pictures])
    assert figures["ap50"] == pytest.approx(1.0)
    assert figures["ap"] >= 0.75


STEPS = 160
