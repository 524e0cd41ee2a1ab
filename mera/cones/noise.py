"""Noise that is a function of seed and site, so that any part of a lattice can be drawn by itself.

Philox (Salmon et al. 2011) computes random bits from a counter; numpy guarantees the same stream in all versions. Each
counter belongs to a block of sites, not to one site: the quantile function is always evaluated on whole blocks, so that
the noise is the same to the last bit whichever sites of a block are needed.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from mera.bijectors.prior import Prior
from mera.graph import Lattice
from mera.graph.boxes import Box
from mera.graph.indexing import Tiling, indices_at

EDGE_OF_PIXELS = {1: 4096, 2: 64, 3: 16}
EDGE_OF_LATENTS = {1: 256, 2: 16, 3: 8}
"""The edges of the blocks of sites that are drawn together, by the number of dimensions."""


def noise_of_pixels(seed: int, channels: int, box: Box) -> Tensor:
    """Uniform numbers in [0, 1) in single precision for the sites of a box, (channels, *sites).

    Args:
        seed: an integer from 0 to 2^31 - 1.
        channels: the number of channels.
        box: the box, within the lattice.
    """
    edge = EDGE_OF_PIXELS[len(box.start)]
    cells = (edge,) * len(box.start)
    blocks = box.coarsened(cells)
    values = np.empty((channels, *blocks.refined(cells).shape), dtype=np.float32)
    for corner in np.ndindex(*blocks.shape):
        number = [a + c for a, c in zip(blocks.start, corner, strict=True)]
        generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *number])))
        where = tuple(slice(c * edge, (c + 1) * edge) for c in corner)
        values[(slice(None), *where)] = generator.random((channels, *cells), dtype=np.float32)
    return torch.from_numpy(values[(slice(None), *box.within(blocks.refined(cells)))].copy())


def noise_of_latents(
    prior: Prior, temperature: float, seed: int, level: int, lattice: Lattice, sites: Tensor
) -> Tensor:
    """Draw the latents at sites of a level from the prior: (C, n), in double precision on the CPU.

    Args:
        prior: the prior of the latents.
        temperature: T of :math:`p(z)^{1/T}`.
        seed: an integer from 0 to 2^64 - 1.
        level: the level of the latents, 0 for the finest.
        lattice: the lattice of the level.
        sites: the flat indices of the sites, (n,).

    Raises:
        ValueError: if the temperature is not positive, or the prior has no exact sampler at this temperature or no
            quantile function.
    """
    edge = EDGE_OF_LATENTS[lattice.dim]
    counts = tuple(-(-n // edge) for n in lattice.shape)
    tiling = Tiling(lattice, (edge,) * lattice.dim, (0,) * lattice.dim, counts)
    blocks, within, _ = tiling.locate(indices_at(sites, lattice).flatten())
    values = torch.empty(len(blocks), dtype=torch.float64)
    quantile = prior.quantile(temperature)
    order = blocks.argsort()
    numbers, sizes = blocks[order].unique_consecutive(return_counts=True)
    for block, members in zip(numbers.tolist(), order.split(sizes.tolist()), strict=True):
        values[members] = quantile(_uniform(seed, level, block, tiling.variables))[within[members]]
    return values.view(lattice.channels, -1)


def _uniform(seed: int, level: int, block: int, n: int) -> Tensor:
    """Draw n numbers strictly between 0 and 1: odd multiples of 2^-53, which doubles hold exactly."""
    key = np.array([seed, level], dtype=np.uint64)
    counter = np.array([0, block, 0, 0], dtype=np.uint64)  # the lowest word counts within the block
    bits = np.random.Philox(key=key, counter=counter).random_raw(n)
    return torch.from_numpy(((bits >> np.uint64(12)).astype(np.float64) + 0.5) * math.ldexp(1, -52))
