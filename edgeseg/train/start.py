"""What a run starts from: ImageNet's encoder, or a trained network, either slimmed where the new one is narrower."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgeseg.data.memory import planes
from edgeseg.errors import UsageError
from edgeseg.models.base import Encoded, EncodedNetwork, Network
from edgeseg.models.encoders.base import Encoder, dilate
from edgeseg.models.encoders.efficientnet_lite import EfficientNetLite0, load_imagenet
from edgeseg.models.fronts import can_refit, fit_front
from edgeseg.models.slimming import is_wider, slim_encoder
from edgeseg.train.recipe import Recipe

# Samples that a slim encoder is fitted on. Their numbers lie beyond those of any run, so training never repeats them.
PICTURES, FRONT_PICTURES = 96, 480
FIRST_NUMBER = 1 << 40
# (random numbers, (height, width)) -> picture uint8 [H, W, 3] BGR, and what is known of it.
PictureMaker = Callable[[np.random.Generator, tuple[int, int]], tuple[Any, Any]]


def start(network: Network, recipe: Recipe, data: Path, maker: PictureMaker, trained: Network | None = None) -> None:
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
    if trained is not None and trained.in_channels > network.in_channels:
        todo = "Start from a network without, or take unet_video"
        raise UsageError("init has a memory, which the recipe's network has not", recipe.init, todo)
    if trained is not None and _fits(trained.state_dict(), network.state_dict()):
        network.load_state_dict(trained.state_dict())
    elif trained is not None:
        if not (isinstance(network, EncodedNetwork) and isinstance(trained, EncodedNetwork)):
            seen = f"{recipe.init}, for {recipe.network.name}"
            raise UsageError(
                "init is another network than the recipe's", seen, "Give one of the same name and arguments"
            )
        _take_head(network, trained, recipe)
        _fill(network, trained.encoder, recipe, maker)
    elif recipe.encoder_weights:
        if not isinstance(network, Encoded):
            raise UsageError("the network has no encoder", recipe.network.name, "Leave encoder_weights out")
        _load_imagenet(network, recipe, data, maker)


def find_weights(recipe: Recipe, data: Path) -> Path:
    """The recipe's `encoder_weights`: below `data` or, where there is no such file, from the current folder on."""
    name = str(recipe.encoder_weights)
    return Path(name) if not (data / name).is_file() and Path(name).is_file() else data / name


def _load_imagenet(network: Encoded, recipe: Recipe, data: Path, maker: PictureMaker) -> None:
    path = find_weights(recipe, data)
    if isinstance(network.encoder, EfficientNetLite0):
        encoder = load_imagenet(path)
        dilate(encoder, network.encoder.strides[-1])
        _fill(network, encoder, recipe, maker)
    else:
        network.encoder.load(path)


def _take_head(network: EncodedNetwork, trained: EncodedNetwork, recipe: Recipe) -> None:
    own, other = network.head_state(), trained.head_state()
    if _shapes(own) != _shapes(other):
        cause = "init has another decoder or other classes than the recipe's network"
        advice = "Give network.args.decoder and classes as init has them, or drop init and set encoder_weights"
        raise UsageError(cause, recipe.init, advice)
    network.load_state_dict(other, strict=False)


def _fill(network: Encoded, encoder: Encoder, recipe: Recipe, maker: PictureMaker) -> None:
    own = network.encoder
    if _fits(encoder.state_dict(), own.state_dict()):
        own.load_state_dict(encoder.state_dict())
        return
    lite = EfficientNetLite0
    refit = isinstance(encoder, lite) and isinstance(own, lite) and network.in_channels == 3 and can_refit(encoder, own)
    if isinstance(encoder, lite) and isinstance(own, lite) and refit:
        fit_front(encoder, own, pictures(network, recipe, maker, FRONT_PICTURES), recipe.seed)
        return
    if not (isinstance(encoder, lite) and isinstance(own, lite) and is_wider(encoder, own)):
        seen = recipe.init or recipe.encoder_weights
        cause = "the encoder to start from is narrower or shorter than the recipe's, or of another kind"
        raise UsageError(cause, seen, "Lower ratio, blocks or stem in network.args, or take the same encoder")
    if network.in_channels > 3:
        todo = "Start from a network of the recipe's own ratio, blocks and stem, or leave those out"
        raise UsageError("a network with memory cannot be slimmed", recipe.network.name, todo)
    encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    slim_encoder(encoder, own, pictures(network, recipe, maker), recipe.seed)


def pictures(network: Network | Encoded, recipe: Recipe, maker: PictureMaker, count: int = PICTURES) -> Tensor:
    """float32 [count, in_channels, H, W] at the recipe's size, normalized, with what a memory would hold."""
    made = []
    for number in range(FIRST_NUMBER, FIRST_NUMBER + count):
        rng = np.random.default_rng([recipe.seed, number])
        made.append(planes(rng, *maker(rng, recipe.size), recipe.memory if network.in_channels > 3 else None)[0])
    return normalize(torch.from_numpy(np.stack(made)), network)


def normalize(images: Tensor, network: Network | Encoded) -> Tensor:
    """uint8 [N, 3, H, W] RGB -> float32 in channels-last order, `(x - mean) / std`.

    A fourth channel, the probability of the frame before, becomes 0 to 1; a network with memory gets it as zeros where
    the pictures have none.
    """
    missing = network.in_channels - images.shape[1]
    if missing:
        images = torch.cat([images, torch.zeros_like(images[:, :missing])], dim=1)
    mean = torch.tensor([*network.mean, 0.0][: images.shape[1]]).view(1, -1, 1, 1)
    std = torch.tensor([*network.std, 255.0][: images.shape[1]]).view(1, -1, 1, 1)
    return ((images.float() - mean) / std).contiguous(memory_format=torch.channels_last)


def _fits(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> bool:
    """Whether weights have the shapes that a network wants; one with memory also takes pictures' weights alone."""
    own, other = _shapes(wanted), _shapes(given)
    return own.keys() == other.keys() and all(
        shape == other[key] or (shape[1:2] == (4,) and other[key] == (shape[0], 3, *shape[2:]))
        for key, shape in own.items()
    )


def _shapes(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {key: value.shape for key, value in state.items()}
