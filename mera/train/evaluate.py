"""Bits per dimension of a data set."""

from __future__ import annotations

from typing import Any

import torch

from mera.flow import Flow

__all__ = ["bits_per_dim"]


@torch.no_grad()
def bits_per_dim(flow: Flow, images: Any, n: int | None = None, batch_size: int = 100, seed: int = 0) -> float:
    """The mean over the first `n` images of a set, with the same dequantisation noise each time.

    The random state is left as it was.

    Args:
        flow: the flow.
        images: a set whose items are (C, L, L) uint8.
        n: how many; all if None or if there are fewer.
        batch_size: images at a time.
        seed: of the noise.
    """
    n = len(images) if n is None else min(n, len(images))
    devices = [flow.device] if flow.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        total = 0.0
        for start in range(0, n, batch_size):
            batch = torch.stack([images[i] for i in range(start, min(start + batch_size, n))])
            total += flow.bits_per_dim(batch.to(flow.device)).double().sum().item()
    return total / n
