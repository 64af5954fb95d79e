"""The network with memory: a fourth channel, and the weights of networks without one."""

from __future__ import annotations

import pytest
import torch

from edgeseg.errors import UsageError
from edgeseg.models import build
from edgeseg.models.encoders import ENCODERS

SLIM = {"blocks": [1, 1, 1, 1, 1], "ratio": [1, 0.25, 0.25, 0.25, 0.25], "stem": 16, "decoder": [16, 16, 8]}


@pytest.mark.parametrize("encoder", ENCODERS)
def test_it_takes_four_channels_on_every_encoder(encoder: str) -> None:
    network = build("unet_video", encoder=encoder, decoder=[16, 16]).eval()
    assert network.in_channels == 4
    with torch.no_grad():
        assert network(torch.zeros(1, 4, 64, 96)).shape == (1, 1, 64, 96)


def test_the_weights_of_a_network_without_memory_fit_and_ignore_it() -> None:
    torch.manual_seed(0)
    plain, video = build("unet_lite", **SLIM).eval(), build("unet_video", **SLIM).eval()
    state = plain.state_dict()
    video.load_state_dict(state)
    assert state["encoder.stem.0.weight"].shape[1] == 3
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        for memory in (torch.zeros(2, 1, 64, 64), torch.rand(2, 1, 64, 64)):
            assert torch.equal(video(torch.cat([x, memory], 1)), plain(x))


def test_its_own_weights_come_back_whole() -> None:
    video, other = build("unet_video", **SLIM), build("unet_video", **SLIM)
    other.load_state_dict(video.state_dict())
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in video.state_dict().items())
    assert video.state_dict()["encoder.stem.0.weight"][:, 3].any()


def test_more_than_two_classes_are_an_error() -> None:
    with pytest.raises(UsageError, match=r"two classes: 3\. Take unet_lite"):
        build("unet_video", classes=3, **SLIM)
