"""Checkpoints: everything that a run needs to go on as if it had never stopped, and what export needs."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler

from edgeseg.errors import InputError, ModelError
from edgeseg.train.average import WeightAverage
from edgeseg.train.recipe import Recipe


def save_checkpoint(
    path: Path,
    recipe: Recipe,
    step: int,
    network: nn.Module,
    average: WeightAverage,
    optimizer: torch.optim.Optimizer,
    scaler: GradScaler,
    best: float | None = None,
    int8_scales: Mapping[str, float] | None = None,
) -> None:
    """Write the state after `step` steps aside, then rename it over `path`."""
    body = {
        "format": 1,
        "name": recipe.name,
        "model": {"name": recipe.network.name, "args": dict(recipe.network.args)},
        "classes": list(recipe.classes),
        "colors": [list(color) for color in recipe.colors],
        "size": list(recipe.size),
        "fit": recipe.fit,
        "recipe": _plain(dataclasses.asdict(recipe)),
        "step": step,
        "best": best,
        "int8_scales": dict(int8_scales) if int8_scales is not None else None,
        "network": network.state_dict(),
        "ema": average.network.state_dict(),
        "ema_updates": average.updates,
        "optimizer": optimizer.state_dict(),
        "scaler": scaler.state_dict(),
    }
    part = path.with_name(path.name + ".part")
    torch.save(body, part)
    os.replace(part, path)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint.

    Raises:
        InputError: there is no such file.
        ModelError: the file is no checkpoint of edgeseg.
    """
    try:
        body = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError("cannot read the checkpoint", f"{path} ({error.strerror})", "Give last.pt of a run") from None
    except Exception as error:  # torch raises whatever its unpickler met
        reason = str(error).splitlines()[0]
        raise ModelError("not a checkpoint", f"{path} ({reason})", "Give last.pt of a run") from None
    if not isinstance(body, dict) or body.get("format") != 1:
        raise ModelError("not a checkpoint of edgeseg", path, "Give last.pt of a run")
    return body


def _plain(value: Any) -> Any:
    """Tuples become lists: a checkpoint holds only what `weights_only` loads anywhere."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (tuple, list)) else value
