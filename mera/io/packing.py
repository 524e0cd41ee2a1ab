"""Weights in less than half the space, for flows that come with the package: large matrices in fixed point.

An entry is stored as a 16-bit multiple of 1/220 of the root mean square of its matrix, and so rounded by 0.13 % of it.
The low bytes of all entries come first and their high bytes, few of which differ, last: zip compresses them by a third.
Small tensors, such as scales and biases, stay as they are: rounding them too costs up to 0.07 bits/dim.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

LEAST = 256
"""The number of entries from which a matrix is rounded."""
STEPS = 220
"""The number of steps in the root mean square of a matrix, unless its largest entry needs wider steps."""
LARGEST, TINY = 2**15 - 1, 1e-30
"""The largest multiple, and the smallest step."""
BYTES, STEP = ":bytes", ":step"
"""The endings of the names of the bytes of a matrix, (2, *shape), and of its step, a number."""


def pack(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Round the large matrices of a state dict to fixed point, and keep their bytes and steps.

    >>> packed = pack({"weight": torch.eye(16), "bias": torch.ones(16)})
    >>> {name: tuple(value.shape) for name, value in packed.items()}
    {'weight:bytes': (2, 16, 16), 'weight:step': (), 'bias': (16,)}
    >>> torch.allclose(unpack(packed)["weight"], torch.eye(16), atol=0.001)
    True
    """
    packed = {}
    for name, value in state.items():
        if value.dtype == torch.float32 and value.ndim > 1 and value.numel() >= LEAST:
            step = torch.maximum(value.square().mean().sqrt() / STEPS, value.abs().max() / LARGEST).clamp_min(TINY)
            multiples = (value / step).round().to(torch.int16)
            pairs = multiples.contiguous().view(torch.uint8).unflatten(-1, (-1, 2))
            packed[name + BYTES], packed[name + STEP] = pairs.movedim(-1, 0).contiguous(), step
        else:
            packed[name] = value
    return packed


def unpack(packed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of packed weights, in single precision."""
    return {
        name.removesuffix(BYTES): _multiples(value) * packed[name.removesuffix(BYTES) + STEP]
        if name.endswith(BYTES)
        else value
        for name, value in packed.items()
        if not name.endswith(STEP)
    }


def _multiples(planes: Tensor) -> Tensor:
    """The multiples of a matrix, from their bytes (2, *shape)."""
    return planes.movedim(0, -1).flatten(-2).view(torch.int16).float()
