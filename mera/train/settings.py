"""The settings of a training run."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mera.checks import is_integer

__all__ = ["Settings"]

LEAST = {"steps": 1, "batch_size": 1, "eval_every": 1, "eval_images": 1, "warmup": 0, "seed": 0}


@dataclass(frozen=True)
class Settings:
    """How to train; the names are those of the command line.

    Args:
        steps: optimiser steps.
        minutes: stop after so long, whichever comes first; the schedule follows. None: no limit.
        batch_size: images in a step.
        lr: the highest learning rate of AdamW.
        warmup: steps until it is reached; then half a cosine down to 0.
        weight_decay: of AdamW.
        clip: the global norm to which gradients are clipped.
        eval_every: steps between evaluations, saves and sample grids.
        eval_images: test images in an evaluation.
        seed: of weights, order and noise.

    Raises:
        ValueError: if a number is out of its range.
    """

    steps: int = 2000
    minutes: float | None = None
    batch_size: int = 32
    lr: float = 8e-3
    warmup: int = 50
    weight_decay: float = 5e-5
    clip: float = 1.0
    eval_every: int = 200
    eval_images: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in LEAST.items():
            value = getattr(self, name)
            if not is_integer(value) or not least <= value < 2**31:
                raise ValueError(f"Expected {name} as an integer >= {least}; got {value!r}")
        for name in ("lr", "clip", "weight_decay", "minutes"):
            value = getattr(self, name)
            if name == "minutes" and value is None:
                continue
            positive = isinstance(value, (int, float)) and 0 < value < math.inf
            if not positive and not (name == "weight_decay" and value == 0):
                raise ValueError(f"Expected {name} as a positive number; got {value!r}")
