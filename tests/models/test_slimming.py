"""Slimming: nothing is lost where nothing has to be, and far less than by cutting channels where something has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edgeseg.errors import UsageError
from edgeseg.models.encoders.efficientnet_lite import EfficientNetLite0, load_imagenet
from edgeseg.models.slimming import _pursue, slim_encoder

BLOCKS = (1, 2, 2, 2, 2)
SIZE = (24, 3, 96, 96)  # more positions in the deepest map than a block has hidden channels


def settled(encoder: EfficientNetLite0) -> EfficientNetLite0:
    """Norm statistics that belong to its weights, as after training."""
    encoder.train()
    with torch.no_grad():
        for _ in range(30):
            encoder(torch.randn(4, 3, 64, 64))
    return encoder.eval()


@pytest.mark.parametrize("blocks", [BLOCKS, (0, *BLOCKS[1:])])
def test_an_encoder_of_the_same_widths_computes_the_same(blocks: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    wide = settled(EfficientNetLite0(blocks, (0.1,) * 5, stem=8))
    same = EfficientNetLite0(blocks, (0.1,) * 5, stem=8)
    lost = slim_encoder(wide, same, torch.randn(SIZE))
    assert max(lost) < 1e-3
    x = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        for mine, theirs in zip(same(x), wide(x), strict=True):
            assert float((mine - theirs).square().mean() / theirs.var()) < 0.01


def test_idle_channels_are_the_ones_that_go() -> None:
    torch.manual_seed(1)
    wide = settled(EfficientNetLite0((1, 1, 1, 1, 1), (1, 0.2, 0.2, 0.2, 0.2), stem=16))
    narrow = EfficientNetLite0((1, 1, 1, 1, 1), (1, 0.1, 0.1, 0.1, 0.1), stem=16)
    with torch.no_grad():
        for stage in wide.stages[1:]:
            weight = stage[0].project[0].weight
            weight[:, torch.randperm(weight.shape[1])[8:]] = 0
    assert max(slim_encoder(wide, narrow, torch.randn(SIZE))) < 1e-3


def test_a_first_stage_that_is_linear_can_be_left_out_for_nothing() -> None:
    torch.manual_seed(2)
    wide = settled(EfficientNetLite0((1, 1, 1, 1, 1), (1, 0.2, 0.2, 0.2, 0.2), stem=12))
    with torch.no_grad():
        # Its depthwise kernels pass the middle on, times a factor, and no value reaches the activation's corners.
        depthwise = wide.stages[0][0].depthwise
        depthwise[0].weight.zero_()[:, :, 1, 1] = 1.0
        depthwise[1].running_mean.zero_()
        depthwise[1].running_var.fill_(1.0)
    narrow = EfficientNetLite0((0, 1, 1, 1, 1), (1, 0.2, 0.2, 0.2, 0.2), stem=12)
    x = torch.randn(SIZE)
    before = [value.clone() for value in wide.state_dict().values()]
    assert max(slim_encoder(wide, narrow, x)) < 1e-3
    assert all(torch.equal(a, b) for a, b in zip(before, wide.state_dict().values(), strict=True))
    with torch.no_grad():
        mine, theirs = narrow(x), wide(x)
    assert narrow.channels == (12, *wide.channels[1:])
    for index in range(1, 4):
        # Along the border the rebuilding's constant meets padding that it does not know.
        inner = (..., slice(1, -1), slice(1, -1))
        error = (mine[index][inner] - theirs[index][inner]).square().mean() / theirs[index].var()
        assert float(error) < 0.01


def test_only_the_first_stage_may_be_empty() -> None:
    with pytest.raises(UsageError, match="without blocks"):
        EfficientNetLite0((1, 0, 1, 1, 1))


def test_the_pursuit_finds_what_explains_the_target() -> None:
    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.standard_normal((500, 12)))
    target = features[:, [2, 7, 9]] @ torch.from_numpy(rng.standard_normal((3, 4)))
    assert _pursue(features.T @ features, features.T @ target, 3).tolist() == [2, 7, 9]


def test_imagenet_survives_slimming(shared: Path) -> None:
    """On real pictures, the features of an encoder with a third of the hidden channels resemble the full one's."""
    import cv2

    full = load_imagenet(shared / "weights" / "efficientnet-lite0-57934424.pth")
    files = sorted((shared / "data" / "portraits-eg1800" / "images").glob("*.jpg"))[:24]
    pictures = np.stack([cv2.resize(cv2.imread(str(file)), (128, 128))[:, :, ::-1] for file in files])
    x = (torch.from_numpy(pictures.transpose(0, 3, 1, 2).copy()).float() - 127) / 128
    slim = EfficientNetLite0((1, 2, 2, 3, 3, 3), (1, 0.34, 0.34, 0.34, 0.34, 0.34), stem=16)
    lost = slim_encoder(full, slim, x[:16])
    assert lost == pytest.approx([min(max(share, 0.0), 0.6) for share in lost])
    with torch.no_grad():
        # Pictures that it was not fitted on; the last feature map of both is another stage's.
        for mine, theirs in list(zip(slim(x[16:]), full(x[16:]), strict=True))[:4]:
            assert float((mine - theirs).square().mean() / theirs.var(dim=(0, 2, 3)).mean()) < 0.8
