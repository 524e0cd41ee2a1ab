"""Noise of dequantisation that is a function of seed and site, so that it does not depend on tiles."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mera.graph.boxes import Box

EDGE = {1: 4096, 2: 64, 3: 16}
"""The edge of the blocks of sites that are drawn together, by the number of dimensions."""


def noise_of_sites(seed: int, channels: int, box: Box) -> Tensor:
    """Uniform numbers in [0, 1) in single precision for the sites of a box, (channels, *sites).

    Args:
        seed: an integer from 0 to 2^31 - 1.
        channels: the number of channels.
        box: the box, within the lattice.
    """
    edge = EDGE[len(box.start)]
    cells = (edge,) * len(box.start)
    blocks = box.coarsened(cells)
    values = np.empty((channels, *blocks.refined(cells).shape), dtype=np.float32)
    for corner in np.ndindex(*blocks.shape):
        number = [a + c for a, c in zip(blocks.start, corner, strict=True)]
        generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *number])))
        where = tuple(slice(c * edge, (c + 1) * edge) for c in corner)
        values[(slice(None), *where)] = generator.random((channels, *cells), dtype=np.float32)
    return torch.from_numpy(values[(slice(None), *box.within(blocks.refined(cells)))].copy())
