"""What every semantic network of the table must do, and what is DeepLab's own."""

from __future__ import annotations

import pytest
import torch

from edgeseg.errors import UsageError
from edgeseg.models import REGISTRY, build
from edgeseg.models.deeplab import ASPP

NETWORKS = [
    *((name, {"width": 32}) for name in REGISTRY if name.startswith("deeplabv3plus")),
    ("segnet", {"width": 0.05}),
    ("fcn8s", {"width": 0.05}),
    ("fastscnn", {}),
    *(("unet_lite", {"encoder": name}) for name in ("mobilenet_v2", "mobilenet_v3_small", "resnet18", "small")),
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
    network(torch.randn(2, 3, 64, 96)).square().mean().backward()
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


@pytest.mark.parametrize(
    ("name", "classes", "millions", "within"),
    # SegNet and Fast-SCNN: their papers, which leave details of the second one open; the others: their layers, counted.
    [("unet", 2, 31.0, 0.01), ("segnet", 12, 29.5, 0.01), ("fcn8s", 21, 134.5, 0.01), ("fastscnn", 19, 1.11, 0.03)],
)
def test_references_are_as_large_as_published(name: str, classes: int, millions: float, within: float) -> None:
    with torch.device("meta"):
        network = build(name, classes=classes)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, rel=within)


def test_segnet_unpools_where_it_pooled() -> None:
    """A bright pixel comes back at its own place in the 2 x 2 block, not in the block's corner."""
    torch.manual_seed(0)
    network = build("segnet", width=0.05).eval()
    x = torch.zeros(1, 3, 64, 64)
    x[0, :, 33, 21] = 50.0
    there = (network(x) - network(torch.zeros_like(x))).abs()[0, 0]
    x = x.roll(1, dims=3)
    assert not torch.equal((network(x) - network(torch.zeros_like(x))).abs()[0, 0], there)


def test_fcn_starts_with_bilinear_upsampling() -> None:
    layer = build("fcn8s", classes=3, width=0.02).up[2]  # type: ignore[index]
    x = torch.randn(1, 3, 6, 7)
    wanted = torch.nn.functional.interpolate(x, scale_factor=8, mode="bilinear", align_corners=False)
    torch.testing.assert_close(layer(x)[..., 8:-8, 8:-8], wanted[..., 8:-8, 8:-8], rtol=1e-4, atol=1e-5)
