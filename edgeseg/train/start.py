"""What a run starts from: ImageNet's encoder, or a trained network, either slimmed where the new one is narrower."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from edgeseg.data.scenes import SceneMaker
from edgeseg.errors import UsageError
from edgeseg.models.efficientnet_lite import EfficientNetLite0, load_imagenet
from edgeseg.models.slimming import is_wider, slim_encoder
from edgeseg.models.unet_lite import UNetLite
from edgeseg.train.recipe import Recipe

# Samples that a slim encoder is fitted on. Their numbers lie beyond those of any run, so training never repeats them.
PICTURES = 96
FIRST_NUMBER = 1 << 40


def start(network: UNetLite, recipe: Recipe, data: Path, maker: SceneMaker, trained: UNetLite | None = None) -> None:
    """Fill `network` as the recipe says.

    Args:
        network: fresh.
        recipe: names the ImageNet checkpoint.
        data: the folder that it is relative to.
        maker: makes the pictures that a slim encoder is fitted on.
        trained: what `init` of the recipe names, loaded.

    Raises:
        InputError: the ImageNet checkpoint cannot be read.
        UsageError: `init` has another decoder, or a narrower or shorter encoder.
    """
    if trained is not None:
        if _shapes(trained) == _shapes(network):
            network.load_state_dict(trained.state_dict())
            return
        _take_decoder(network, trained, recipe)
        encoder = trained.encoder
    elif recipe.encoder_weights:
        encoder = load_imagenet(data / recipe.encoder_weights)
    else:
        return
    _fill(network, encoder, recipe, maker)


def _take_decoder(network: UNetLite, trained: UNetLite, recipe: Recipe) -> None:
    for name in ("steps", "head"):
        own, other = getattr(network, name), getattr(trained, name)
        if _shapes(own) != _shapes(other):
            cause = "init has another decoder or other classes than the recipe's network"
            advice = "Give network.args.decoder and classes as init has them, or drop init and set encoder_weights"
            raise UsageError(cause, recipe.init, advice)
        own.load_state_dict(other.state_dict())


def _fill(network: UNetLite, encoder: EfficientNetLite0, recipe: Recipe, maker: SceneMaker) -> None:
    if _shapes(encoder) == _shapes(network.encoder):
        network.encoder.load_state_dict(encoder.state_dict())
        return
    if not is_wider(encoder, network.encoder):
        seen = recipe.init or recipe.encoder_weights
        raise UsageError(
            "the encoder to start from is narrower or shorter than the recipe's", seen, "Lower network.args"
        )
    encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    slim_encoder(encoder, network.encoder, pictures(network, recipe, maker), recipe.seed)


def pictures(network: UNetLite, recipe: Recipe, maker: SceneMaker) -> Tensor:
    """float32 [PICTURES, 3, H, W] at the recipe's size, normalized."""
    made = [
        maker(np.random.default_rng([recipe.seed, FIRST_NUMBER + k]), recipe.size)[0][:, :, ::-1].transpose(2, 0, 1)
        for k in range(PICTURES)
    ]
    return normalize(torch.from_numpy(np.stack(made)), network)


def normalize(images: Tensor, network: UNetLite) -> Tensor:
    """uint8 [N, 3, H, W] RGB -> float32 in channels-last order, `(x - mean) / std`."""
    mean = torch.tensor(network.mean).view(1, 3, 1, 1)
    std = torch.tensor(network.std).view(1, 3, 1, 1)
    return ((images.float() - mean) / std).contiguous(memory_format=torch.channels_last)


def _shapes(network: nn.Module) -> dict[str, torch.Size]:
    return {key: value.shape for key, value in network.state_dict().items()}
