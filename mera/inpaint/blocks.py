"""Large holes in blocks, and what it costs to draw fillings of a hole."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mera.cones import Restriction
from mera.inpaint.posterior import LogProbInThreads
from mera.inpaint.search_options import SearchOptions

if TYPE_CHECKING:
    from rich.console import Console

TOGETHER = 3072
"""The most masked variables that are drawn together: memory grows with their square, and time even faster."""
BLOCK = 1728
"""The most masked variables of a block of a larger hole: 24 x 24 pixels in colour."""
MAX_HIDDEN = 4096
"""The most masked pixels of a hole with samples."""
BYTES, STARTED = 80.0, 0.6
"""Memory by pair of masked variables in bytes, for matrices of double precision, and that of all else in GB."""
STAGES = 2.1
"""The stages of an annealing by the cube root of the number of variables."""
SECONDS_OF_METRIC = 4e-10
"""The seconds of the products and factors of all metrics, by the cube of the number of variables."""


def blocks_of(hidden: Tensor, channels: int, variables: int = BLOCK) -> list[Tensor]:
    """Divide masked pixels into blocks of about one size, from the border of the hole inwards, as masks (*shape)."""
    edge = max(int((variables / channels + 0.5) ** (1 / hidden.ndim)), 1)
    at = hidden.nonzero()
    first, size = at.amin(0), at.amax(0) - at.amin(0) + 1
    counts = -(-size // edge)
    blocks, number = ((at - first) * counts // size).unique(dim=0, return_inverse=True)
    distance = ((blocks + 0.5) / counts - 0.5).abs().amax(1)
    parts = []
    for block in distance.argsort(descending=True, stable=True).tolist():
        part = torch.zeros_like(hidden)
        part[tuple(at[number == block].mT)] = True
        parts.append(part)
    return parts


def tell_cost(local: Restriction, search: SearchOptions, console: Console, blocks: int = 1) -> None:
    """Print roughly how long draws will take, and how much memory, before the first step.

    Nothing is timed or printed if the console is quiet.
    """
    if console.quiet:
        return
    rows, variables = max(search.particles, search.samples), local.pixels[0].numel()
    fillings = local.pixels.detach().flatten(1).expand(search.samples, -1).clone().requires_grad_()
    for _ in range(3):  # the pass is recorded at first, for the chains too
        begin = time.perf_counter()
        LogProbInThreads.apply(fillings, lambda part: local.log_prob(part.unflatten(1, local.pixels.shape[1:])))
    each = (time.perf_counter() - begin) / search.samples
    annealed = rows * (4 + STAGES * variables ** (1 / 3) * (search.leapfrog + 1) / 2)
    sampled = search.samples * (search.warmup + search.iterations) * (search.leapfrog + 1) / 2
    # each column of a metric takes a third of a gradient
    seconds = blocks * (each * (annealed + sampled + variables / 3) + SECONDS_OF_METRIC * variables**3)
    memory = STARTED + BYTES * variables**2 / 1e9
    what = f"{variables:,} variables" if blocks == 1 else f"{blocks} blocks of about {variables:,} variables, in turn"
    console.print(
        f"filling {what}: about {max(10 * round(seconds / 10), 10)} s and {memory:.1f} GB; fewer particles "
        "or iterations take less, and samples=0 looks for the likeliest filling alone"
    )
