"""Colour maps of numbers on a lattice."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mera._utils.errors import InputError


def coloured(values: Tensor, diverging: bool = True) -> Tensor:
    """Draw numbers (H, W) as a picture, (3, H, W) uint8.

    Args:
        values: the numbers, (H, W).
        diverging: blue for negative, white for 0 and red for positive numbers, on a scale up to the largest magnitude;
            otherwise from dark for the smallest number to bright for the largest.

    Raises:
        ValueError: if the numbers have another shape.

    >>> coloured(torch.tensor([[-1.0, 0.0, 1.0]])).shape
    torch.Size([3, 1, 3])
    """
    from matplotlib import colormaps

    if values.ndim != 2:
        raise InputError("numbers (H, W)", str(tuple(values.shape)))
    values, tiny = values.double(), torch.finfo(torch.float32).tiny
    if diverging:
        shares = 0.5 + values / (2 * values.abs().max()).clamp(min=tiny)
    else:
        shares = (values - values.min()) / (values.max() - values.min()).clamp(min=tiny)
    colours = colormaps["RdBu_r" if diverging else "viridis"](shares.numpy())[..., :3]
    return torch.from_numpy(np.round(255 * colours).astype(np.uint8)).movedim(2, 0)
