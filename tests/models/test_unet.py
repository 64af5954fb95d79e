"""The U-Net of 2015: its published sizes, which sizes it takes, and what it sees."""

from __future__ import annotations

import pytest
import torch

from edgeseg.errors import UsageError
from edgeseg.models import build
from edgeseg.models.unet import valid_length


@pytest.mark.parametrize("up", ["transposed", "bilinear"])
def test_572_gives_388(up: str) -> None:
    with torch.device("meta"):
        network = build("unet", classes=2, up=up).eval()
        assert network(torch.zeros(1, 3, 572, 572)).shape == (1, 2, 388, 388)


@pytest.mark.parametrize(("length", "gives"), [(572, 388), (188, 4), (204, 20), (573, 0), (570, 0), (100, 0)])
def test_sizes(length: int, gives: int) -> None:
    assert valid_length(length) == gives


def test_a_size_that_cannot_be_halved_names_the_next() -> None:
    network = build("unet", width=2)
    with pytest.raises(UsageError, match="573x190. Use 588x204"):
        network(torch.zeros(1, 3, 573, 190))


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("up", ["transposed", "bilinear"])
def test_every_weight_learns(up: str, norm: bool) -> None:
    torch.manual_seed(0)
    network = build("unet", classes=1, width=4, up=up, norm=norm, dropout=0.0)
    network(torch.randn(2, 3, 188, 204)).square().mean().backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in network.parameters())


@torch.no_grad()
def test_the_answer_belongs_to_the_middle() -> None:
    """A change in the middle of the picture moves the answer most in its own middle."""
    torch.manual_seed(0)
    network = build("unet", width=4).eval()
    x = torch.randn(1, 3, 220, 220)
    before = network(x)
    assert before.shape[-2:] == (36, 36)
    x[..., 110, 110] += 5.0
    changed = (network(x) - before).abs()[0, 0]
    assert float(changed.max()) > 0
    row, column = divmod(int(changed.argmax()), 36)
    assert abs(row - 18) <= 3 and abs(column - 18) <= 3
