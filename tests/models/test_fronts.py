"""A front of patches: its maps, and that it learns what another front gives."""

from __future__ import annotations

import pytest
import torch

from edgeseg.models import build, fronts
from edgeseg.models.encoders.efficientnet_lite import EfficientNetLite0
from edgeseg.models.fronts import can_refit, fit_front
from edgeseg.models.slimming import is_wider

DEEP = {"blocks": [0, 1, 1, 1, 1, 1], "ratio": [1, 0.2, 0.2, 0.1, 0.1, 0.1]}


def scenes(count: int) -> torch.Tensor:
    """Smooth random pictures [N, 3, 32, 48], as photographs are."""
    coarse = torch.randn(count, 3, 5, 7, generator=torch.Generator().manual_seed(3))
    return torch.nn.functional.interpolate(coarse, (32, 48), mode="bicubic")


def trained() -> EfficientNetLite0:
    """With a stem and a first stage, its norms fitted to the pictures."""
    torch.manual_seed(0)
    encoder = EfficientNetLite0(**DEEP, stem=16).train()
    with torch.no_grad():
        for _ in range(20):
            encoder(scenes(16))
    return encoder.eval()


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 80), (144, 256)])
def test_maps_begin_at_stride_4_and_logits_are_whole(height: int, width: int) -> None:
    network = build("unet_lite", **DEEP, patch=24, decoder=[16, 16, 8]).eval()
    assert network.encoder.strides == (4, 8, 16, 32) and network.stride == 16
    x = torch.zeros(1, 3, height, width)
    with torch.no_grad():
        assert network.encoder(x)[0].shape == (1, 24, height // 4, width // 4)
        assert network(x).shape == (1, 1, height, width)


def test_patches_do_not_overlap() -> None:
    stem = EfficientNetLite0(**DEEP, patch=8).eval().stem
    x = torch.randn(1, 3, 16, 16)
    changed = x.clone()
    changed[:, :, 4:8, 8:12] += 1.0
    with torch.no_grad():
        moved = (stem(x) != stem(changed)).any(dim=1)[0]
    assert moved.nonzero().tolist() == [[1, 2]]


def test_it_learns_what_the_old_front_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fronts, "STEPS", 150)
    given, own = trained(), EfficientNetLite0(**DEEP, patch=24)
    assert can_refit(given, own) and not is_wider(given, own)
    lost = fit_front(given, own, scenes(64))
    # Random weights are hard to imitate; 1 is what the mean alone would leave.
    assert lost < 0.7
    x = scenes(70)[64:]
    with torch.no_grad():
        wanted, made = given.stages[1](given.stages[0](given.stem(x))), own.stages[1](own.stem(x))
    # In the old front's own units, channel by channel.
    unexplained = (made - wanted).square().mean((0, 2, 3)) / wanted.var((0, 2, 3))
    assert float(unexplained.mean()) < 0.8
    assert all(
        torch.equal(a, b) for a, b in zip(given.stages[2:].parameters(), own.stages[2:].parameters(), strict=True)
    )


def test_another_depth_cannot_be_refitted() -> None:
    other = EfficientNetLite0(**(DEEP | {"blocks": [0, 1, 1, 1, 2, 1]}), patch=24)
    assert not can_refit(trained(), other)
    assert not can_refit(other, other)
