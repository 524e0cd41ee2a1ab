"""Noise that is a function of seed, level and site, so that any part of a lattice can be drawn by itself.

Philox (Salmon et al. 2011) computes random bits from a counter; numpy guarantees the same stream in all versions. Each
counter belongs to a block of sites, not to one site: the quantile function is always evaluated on whole blocks, so that
the noise is the same to the last bit whichever sites of a block are needed.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from mera.cones.indexing import Tiling, indices_at
from mera.graph import Lattice
from mera.priors import Prior

BLOCK = {1: 256, 2: 16, 3: 8}
"""The edge of a block of sites, by the number of dimensions."""


def noise(prior: Prior, temperature: float, seed: int, level: int, lattice: Lattice, sites: Tensor) -> Tensor:
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
    edge = BLOCK[lattice.dim]
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
