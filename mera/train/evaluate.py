"""Bits per dimension of a data set."""

from __future__ import annotations

import torch

from mera.data import ImageSet, first
from mera.flow import Flow
from mera.random import fixed_seed

__all__ = ["bits_per_dim"]


@torch.no_grad()
def bits_per_dim(flow: Flow, images: ImageSet, n: int | None = None, batch_size: int = 100, seed: int = 0) -> float:
    """The mean over the first `n` images of a set, with the same dequantisation noise each time.

    The random state is left as it was.

    Args:
        flow: the flow.
        images: a set whose items are (C, L, L) uint8.
        n: how many; all if None or if there are fewer.
        batch_size: images at a time.
        seed: of the noise.

    Raises:
        ValueError: if there is no image.
    """
    n = len(images) if n is None else min(n, len(images))
    if n < 1:
        raise ValueError(f"Expected at least one image to evaluate; got {n}")
    with fixed_seed(seed):
        total = 0.0
        for start in range(0, n, batch_size):
            batch = first(images, min(batch_size, n - start), start)
            total += flow.bits_per_dim(batch.to(flow.device)).double().sum().item()
    return total / n
