"""What every semantic network of the table must do, and what is DeepLab's own."""

from __future__ import annotations

import pytest
import torch

from edgeseg.errors import UsageError
from edgeseg.models import REGISTRY, build
from edgeseg.models.deeplab import ASPP

NETWORKS = [
    *((name, {"width": 32}) for name in REGISTRY if name.startswith("deeplabv3plus")),
    *(("unet_lite", {"encoder": name}) for name in ("mobilenet_v2", "mobilenet_v3_small", "resnet18")),
]


@pytest.mark.parametrize(("name", "arguments"), NETWORKS)
@pytest.mark.parametrize("classes", [1, 11])
def test_logits_are_as_large_as_the_input(name: str, arguments: dict[str, object], classes: int) -> None:
    network = build(name, classes=classes, **arguments).eval()
    height, width = 2 * network.stride, 3 * network.stride
    assert network(torch.zeros(2, 3, height, width)).shape == (2, classes, height, width)
    assert len(network.mean) == len(network.std) == 3


@pytest.mark.parametrize(("name", "arguments"), NETWORKS)
def test_every_weight_learns(name: str, arguments: dict[str, object]) -> None:
    torch.manual_seed(0)
    network = build(name, **arguments)
    network(torch.randn(2, 3, 64, 64)).square().mean().backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in network.parameters())


@pytest.mark.parametrize(("output_stride", "rates"), [(8, [12, 24, 36]), (16, [6, 12, 18]), (32, [3, 6, 9])])
def test_atrous_rates_follow_the_output_stride(output_stride: int, rates: list[int]) -> None:
    network = build("deeplabv3plus_mobilenet_v2", output_stride=output_stride, width=16).eval()
    found = [branch[0][0].dilation[0] for branch in network.aspp.branches[1:4]]  # type: ignore[union-attr, index]
    assert found == rates
    assert network.stride == output_stride
    assert network(torch.zeros(1, 3, 64, 96)).shape == (1, 1, 64, 96)


def test_image_pooling_sees_the_whole_map() -> None:
    torch.manual_seed(0)
    pooling = ASPP(4, 8, (1,), 0.0).eval().branches[-1]
    x = torch.randn(1, 4, 9, 7)
    y = pooling(x)
    assert y.shape == (1, 8, 9, 7)
    assert torch.equal(y[..., :1, :1].expand_as(y), y)
    x[..., 8, 6] += 3.0
    assert not torch.equal(pooling(x), y)


def test_an_unknown_encoder_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown encoder"):
        build("unet_lite", encoder="vgg16")
