"""The learning rate over a run."""

from __future__ import annotations

import math

__all__ = ["learning_rate_factor"]


def learning_rate_factor(step: int, warmup: int, progress: float) -> float:
    """Linear from 0 over the first `warmup` steps, times half a cosine that ends at 0 when `progress` is 1.

    Args:
        step: steps taken.
        warmup: steps of warm-up.
        progress: the part of the run that is over, 0 to 1.

    >>> [round(learning_rate_factor(step, 10, step / 100), 3) for step in (0, 4, 50, 100)]
    [0.1, 0.498, 0.5, 0.0]
    """
    return min(1.0, (step + 1) / max(1, warmup)) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
