"""Each encoder: shapes, torchvision's checkpoints, and dilation against the same network without it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision

from edgeseg.errors import InputError, UsageError
from edgeseg.models.encoders import ENCODERS, SCALABLE, build_encoder

# Squeeze-and-excitation looks at the whole map, so dilated maps differ there by design.
WITHOUT_EXCITATION = ("efficientnet_lite0", "mobilenet_v2", "resnet18", "small")
# TensorFlow's "SAME" padding centres the first window on the second pixel.
FROM_THE_SECOND = ("efficientnet_lite0", "small")


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_feature_maps_are_as_large_as_said(name: str, output_stride: int) -> None:
    encoder = build_encoder(name, output_stride).eval()
    features = encoder(torch.zeros(1, 3, 64, 96))
    assert [feature.shape[1] for feature in features] == list(encoder.channels)
    assert [(64 // f.shape[2], 96 // f.shape[3]) for f in features] == [(s, s) for s in encoder.strides]
    assert encoder.strides == tuple(min(stride, output_stride) for stride in (2, 4, 8, 16, 32))


@pytest.mark.parametrize("name", WITHOUT_EXCITATION)
@pytest.mark.parametrize("output_stride", [8, 16])
def test_dilated_maps_hold_the_strided_ones(name: str, output_stride: int) -> None:
    torch.manual_seed(0)
    strided, dilated = build_encoder(name, 32).eval(), build_encoder(name, output_stride).eval()
    dilated.load_state_dict(strided.state_dict())
    x = torch.randn(1, 3, 64, 96)
    step = 32 // output_stride
    first = step - 1 if name in FROM_THE_SECOND else 0
    torch.testing.assert_close(dilated(x)[-1][..., first::step, first::step], strided(x)[-1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small", "resnet18"])
def test_torchvision_s_checkpoints_load_unchanged(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    source = getattr(torchvision.models, name)(weights=None).eval()
    torch.save(source.state_dict(), tmp_path / "imagenet.pth")
    encoder = build_encoder(name, pretrained=tmp_path / "imagenet.pth").eval()
    x = torch.randn(1, 3, 64, 64)
    wanted = x
    if name == "resnet18":
        for part in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
            wanted = getattr(source, part)(wanted)
    else:
        wanted = source.features[:-1](x)
    torch.testing.assert_close(encoder(x)[-1], wanted)


def test_imagenet_weights_of_a_shorter_encoder(shared: Path) -> None:
    path = shared / "weights" / "efficientnet-lite0-57934424.pth"
    whole = build_encoder("efficientnet_lite0", pretrained=path).eval()
    short = build_encoder("efficientnet_lite0", pretrained=path, blocks=(1, 2, 2, 3, 3)).eval()
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(short(x)[-1], whole(x)[3])
    with pytest.raises(UsageError, match="slim"):
        build_encoder("efficientnet_lite0", pretrained=path, ratio=(0.5,) * 7)


@pytest.mark.parametrize("name", sorted(SCALABLE))
def test_channels_of_all_maps_follow_the_multiplier(name: str) -> None:
    half, whole = (build_encoder(name, multiplier=multiplier) for multiplier in (0.5, 1.0))
    assert all(narrow < wide and narrow % 8 == 0 for narrow, wide in zip(half.channels, whole.channels, strict=True))
    assert {name for name in ENCODERS if name not in SCALABLE} == {"efficientnet_lite0", "resnet18"}


def test_the_small_encoder_is_small_and_takes_weights_of_its_kind(tmp_path: Path) -> None:
    source = build_encoder("small").eval()
    assert sum(parameter.numel() for parameter in source.parameters()) == 157_472
    torch.save(source.state_dict(), tmp_path / "small.pth")
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(build_encoder("small", pretrained=tmp_path / "small.pth").eval()(x), source(x))
    with pytest.raises(InputError, match=r"not a checkpoint of the small encoder.*small.pth.*size mismatch"):
        build_encoder("small", pretrained=tmp_path / "small.pth", multiplier=0.5)
    with pytest.raises(UsageError, match="bad encoder multiplier: 0"):
        build_encoder("small", multiplier=0)


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean 'mobilenet_v2'"):
        build_encoder("mobilenet_v1")
    with pytest.raises(UsageError, match="Use 8, 16 or 32"):
        build_encoder("resnet18", 4)
    with pytest.raises(UsageError, match="cannot be built"):
        build_encoder("resnet18", multiplier=2.0)
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), tmp_path / "other.pth")
    with pytest.raises(InputError, match="not a checkpoint of mobilenet_v2.*other.pth"):
        build_encoder("mobilenet_v2", pretrained=tmp_path / "other.pth")
    torch.save(torchvision.models.mobilenet_v2(weights=None, width_mult=0.5).state_dict(), tmp_path / "half.pth")
    with pytest.raises(InputError, match="size mismatch"):
        build_encoder("mobilenet_v2", pretrained=tmp_path / "half.pth")
    with pytest.raises(InputError, match="not found"):
        build_encoder("mobilenet_v2", pretrained=tmp_path / "none.pth")
