"""Questions about sizes that a network asks while it runs, and while it is exported with its sizes left open."""

from __future__ import annotations

import torch


def surely(condition: bool | torch.SymBool) -> bool:
    """Whether a condition on sizes holds; where an export leaves the sizes open: whether it holds for all of them.

    A plain `if` on an open size would fix it in the exported graph.
    """
    if isinstance(condition, bool):
        return condition
    from torch.fx.experimental.symbolic_shapes import statically_known_true

    return bool(statically_known_true(condition))
