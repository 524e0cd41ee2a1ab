"""Large holes in blocks, and what it costs to draw fillings of a hole."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from mera.inpaint.search_options import SearchOptions

TOGETHER = 3072
"""The most masked variables that are drawn together: memory grows with their square, and time beyond it."""
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
    place = (at - first) * counts // size
    centres = (place + 0.5) / counts - 0.5
    number = torch.zeros(len(at), dtype=torch.long, device=at.device)
    for axis, count in enumerate(counts.tolist()):
        number = number * count + place[:, axis]
    distance = {int(block): centres[number == block][0].abs().amax().item() for block in number.unique()}
    parts = []
    for block in sorted(distance, key=lambda block: -distance[block]):
        part = torch.zeros_like(hidden)
        part[tuple(at[number == block].mT)] = True
        parts.append(part)
    return parts


def cost(evaluate: Callable[[int], object], variables: int, search: SearchOptions) -> tuple[float, float]:
    """The seconds and the gigabytes that draws of so many masked variables are going to take, roughly.

    Args:
        evaluate: evaluates log p and its gradient for a number of fillings; it is timed.
        variables: the number of masked variables.
        search: the options.
    """
    rows = max(search.particles, search.samples)
    for _ in range(3):  # the pass is recorded meanwhile
        evaluate(rows)
    begin = time.perf_counter()
    evaluate(rows)
    each = (time.perf_counter() - begin) / rows
    annealed = rows * (4 + STAGES * variables ** (1 / 3) * search.moves * (search.leapfrog + 1) / 2)
    sampled = search.samples * (search.warmup + search.iterations) * (search.leapfrog + 1) / 2
    metrics = 3 * variables / 3  # columns of three metrics, each of which takes a third of a gradient
    seconds = each * (annealed + sampled + metrics) + SECONDS_OF_METRIC * variables**3
    return seconds, STARTED + BYTES * variables**2 / 1e9
