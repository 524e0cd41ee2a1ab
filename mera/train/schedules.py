"""Schedules of the learning rate: by name, or any schedule of torch as an instance or a function that makes one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from mera._utils.errors import InputError

OwnSchedule = LRScheduler | Callable[[Optimizer], Any]
"""A schedule of torch for an optimiser, or a function that makes one."""


def cosine(step: int, warmup: int, progress: float) -> float:
    r"""A linear warm-up, then half a cosine that ends at 0 with the run (https://arxiv.org/abs/1608.03983).

    The factor of the learning rate is :math:`\min(1, (t + 1) / w) \cdot (1 + \cos \pi p) / 2`.

    Args:
        step: t, the steps taken so far.
        warmup: w, the steps of the warm-up.
        progress: p, the completed fraction of the run, 0 to 1, which also serves runs with a time limit.

    >>> [round(cosine(step, 10, step / 100), 3) for step in (0, 4, 50, 100)]
    [0.1, 0.498, 0.5, 0.0]
    """
    return min(1.0, (step + 1) / max(1, warmup)) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def constant(step: int, warmup: int, progress: float) -> float:
    """The factor 1: the highest learning rate at all steps."""
    return 1.0


SCHEDULES = {"cosine": cosine, "constant": constant}


def make_schedule(
    name: str, optimizer: Optimizer, warmup: int, progress: Callable[[], float], own: OwnSchedule | None = None
) -> tuple[LRScheduler, str]:
    """A schedule by name, whose rates follow the progress of a run, or the user's own; and its name in checkpoints.

    Args:
        name: a name in `SCHEDULES`.
        optimizer: the optimiser, with the highest learning rate.
        warmup: the steps of the warm-up.
        progress: returns the completed fraction of the run, 0 to 1.
        own: a schedule of torch, or a function from the optimiser to one, such as
            `functools.partial(torch.optim.lr_scheduler.StepLR, step_size=100)`.

    Raises:
        ValueError: if `own` neither is nor returns a schedule, or the schedule belongs to another optimiser.
    """
    if own is None:
        return LambdaLR(optimizer, lambda step: SCHEDULES[name](step, warmup, progress())), name
    schedule = own if isinstance(own, LRScheduler) or not callable(own) else own(optimizer)
    if not isinstance(schedule, LRScheduler):
        raise InputError("a schedule of torch, or a function from the optimiser to one", type(schedule).__name__)
    if getattr(schedule, "optimizer", optimizer) is not optimizer:
        raise InputError("a schedule of the optimiser that is used", f"a {type(schedule).__name__} of another one")
    return schedule, f"your own {type(schedule).__name__}"
