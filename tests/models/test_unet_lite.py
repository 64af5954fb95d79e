"""The network and its fused step: shapes, the step against its definition, and the ImageNet weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edgeseg.errors import InputError, UsageError
from edgeseg.models import build
from edgeseg.models.encoders.efficientnet_lite import load_imagenet
from edgeseg.models.ops import upsample_crop_concat

SLIM = {"blocks": [1, 1, 1, 1, 1, 1], "ratio": [1, 0.25, 0.25, 0.25, 0.25, 0.25], "stem": 16, "decoder": [16, 16, 8, 8]}


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 160), (32, 64), (48, 80), (16, 16)])
@pytest.mark.parametrize("classes", [1, 3])
def test_logits_have_the_size_of_the_input(height: int, width: int, classes: int) -> None:
    network = build("unet_lite", classes=classes, **SLIM).eval()
    assert network.stride == 16
    assert network(torch.zeros(2, 3, height, width)).shape == (2, classes, height, width)


def test_a_deepest_map_of_odd_size_is_rounded_up_with_zeros() -> None:
    torch.manual_seed(0)
    network = build("unet_lite", **(SLIM | {"decoder": [16, 8]})).eval()
    x = torch.randn(1, 3, 48, 80)
    with torch.no_grad():
        maps = network.encoder(x)
        assert [tuple(value.shape[2:]) for value in maps] == [(24, 40), (12, 20), (6, 10), (4, 6), (2, 3)]
        assert not maps[3][:, :, 3].any() and not maps[3][:, :, :, 5].any()
        assert torch.equal(maps[4], network.encoder.stages[5](maps[3]))
        # The decoder goes on with the part that the picture has.
        deep = network.steps[0](maps[4], maps[3])[:, :, :3, :5]
        logits = torch.nn.functional.pixel_shuffle(network.head(network.steps[1](deep, maps[2])), 8)
        assert torch.equal(network(x), logits)


def test_nearest_upsampling_only_moves_values() -> None:
    torch.manual_seed(0)
    network = build("unet_lite", upsample="nearest", **SLIM).eval()
    deep, skip = torch.randn(1, network.encoder.channels[-1], 2, 3), torch.randn(1, network.encoder.channels[-2], 4, 6)
    step = network.steps[0]
    with torch.no_grad():
        repeated = step.narrow(deep).repeat_interleave(2, 2).repeat_interleave(2, 3)
        assert torch.equal(step(deep, skip), step.mix(torch.cat([skip, repeated], 1)))


@pytest.mark.parametrize("encoder", ["small", "mobilenet_v3_small", "efficientnet_lite0"])
def test_a_larger_width_has_more_weights(encoder: str) -> None:
    networks = [build("unet_lite", classes=3, encoder=encoder, width=width).eval() for width in (0.5, 1.0, 1.5)]
    counts = [[sum(p.numel() for p in part.parameters()) for part in (n.encoder, n.steps)] for n in networks]
    assert counts[0][1] < counts[1][1] < counts[2][1]
    # EfficientNet-Lite0 has `ratio` and `stem` instead.
    same = encoder == "efficientnet_lite0"
    assert counts[0][0] == counts[1][0] if same else counts[0][0] < counts[1][0] < counts[2][0]
    for network, widths in zip(networks, ([24, 16, 16], [48, 32, 24], [72, 48, 40]), strict=True):
        assert [step.narrow[0].out_channels for step in network.steps] == widths
    assert networks[0](torch.zeros(2, 3, 64, 96)).shape == (2, 3, 64, 96)


def test_width_one_changes_nothing_and_a_multiplier_wins() -> None:
    odd = build("unet_lite", encoder="small", decoder=[20, 12], width=1.0)
    assert [step.narrow[0].out_channels for step in odd.steps] == [20, 12]
    kept = build("unet_lite", encoder="small", multiplier=1.0, width=0.5)
    assert kept.encoder.channels == odd.encoder.channels
    with pytest.raises(UsageError, match="bad width multiplier: 0"):
        build("unet_lite", width=0)


def test_an_unknown_upsampling_names_the_known() -> None:
    with pytest.raises(UsageError, match=r"bicubic.*bilinear, nearest"):
        build("unet_lite", upsample="bicubic", **SLIM)


def test_every_weight_learns() -> None:
    network = build("unet_lite", **SLIM)
    network(torch.randn(2, 3, 64, 64)).square().mean().backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in network.parameters())


def test_an_unknown_network_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean 'unet_lite'"):
        build("unet_light")


def test_a_wrong_argument_is_an_error() -> None:
    with pytest.raises(UsageError, match="depth"):
        build("unet_lite", depth=3)
    with pytest.raises(UsageError, match="feature maps that halve"):
        build("unet_lite", output_stride=16)
    with pytest.raises(UsageError, match="Give 1 to 4"):
        build("unet_lite", decoder=[8, 8, 8, 8, 8])


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_a_shorter_decoder_still_gives_full_size(steps: int) -> None:
    network = build("unet_lite", classes=2, **(SLIM | {"decoder": [16, 16, 8, 8][:steps]})).eval()
    assert network.enlarge == 2 ** (5 - steps)
    assert network(torch.zeros(1, 3, 64, 96)).shape == (1, 2, 64, 96)


def reference_step(deep: np.ndarray, skip: np.ndarray, scale: int) -> np.ndarray:
    """Bilinear upsampling with half-pixel centres, pixel by pixel from its definition, then crop and concatenate."""
    height, width = deep.shape[-2] * scale, deep.shape[-1] * scale
    up = np.zeros((*deep.shape[:2], height, width), np.float64)
    for y in range(height):
        for x in range(width):
            fy = min(max((y + 0.5) / scale - 0.5, 0.0), deep.shape[-2] - 1)
            fx = min(max((x + 0.5) / scale - 0.5, 0.0), deep.shape[-1] - 1)
            y0, x0 = int(fy), int(fx)
            y1, x1 = min(y0 + 1, deep.shape[-2] - 1), min(x0 + 1, deep.shape[-1] - 1)
            wy, wx = fy - y0, fx - x0
            top = deep[..., y0, x0] * (1 - wx) + deep[..., y0, x1] * wx
            low = deep[..., y1, x0] * (1 - wx) + deep[..., y1, x1] * wx
            up[..., y, x] = top * (1 - wy) + low * wy
    top, left = (skip.shape[-2] - height) // 2, (skip.shape[-1] - width) // 2
    return np.concatenate([skip[..., top : top + height, left : left + width], up], axis=1)


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("extra", [(0, 0), (1, 3), (4, 2)])
@pytest.mark.parametrize("size", [(1, 1), (3, 5)])
def test_the_fused_step_follows_its_definition(scale: int, extra: tuple[int, int], size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    deep = rng.standard_normal((2, 3, *size)).astype(np.float32)
    skip = rng.standard_normal((2, 2, size[0] * scale + extra[0], size[1] * scale + extra[1])).astype(np.float32)
    given = upsample_crop_concat(torch.from_numpy(deep), torch.from_numpy(skip), scale).numpy()
    assert np.allclose(given, reference_step(deep, skip, scale), atol=1e-5)


def test_a_skip_that_is_too_small_is_an_error() -> None:
    with pytest.raises(ValueError, match="smaller"):
        upsample_crop_concat(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 7, 8))


def test_the_imagenet_encoder_has_the_file_s_weights(shared: Path) -> None:
    path = shared / "weights" / "efficientnet-lite0-57934424.pth"
    source = torch.load(path, weights_only=True)
    encoder = load_imagenet(path)
    assert torch.equal(encoder.stem[0].weight, source["_conv_stem.weight"])
    assert torch.equal(encoder.stages[3][1].expand[0].weight, source["_blocks.6._expand_conv.weight"])
    assert torch.equal(encoder.stages[6][0].project[1].running_var, source["_blocks.15._bn2.running_var"])
    assert not encoder.training


def test_another_checkpoint_is_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="not a checkpoint of EfficientNet-Lite0"):
        load_imagenet(tmp_path / "other.pth")
    with pytest.raises(InputError, match="not found"):
        load_imagenet(tmp_path / "nothing.pth")
