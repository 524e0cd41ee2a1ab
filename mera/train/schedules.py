"""Schedules of the learning rate: by name, or any schedule of torch as an instance or a function that makes one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer, lr_scheduler

from mera._utils.errors import InputError

OwnSchedule = lr_scheduler.LRScheduler | Callable[[Optimizer], Any]
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


class Schedule:
    """A learning rate: its highest value times a factor that depends on step and progress.

    Args:
        name: a name in `SCHEDULES`.
        optimizer: the optimiser, with the highest learning rate.
    """

    def __init__(self, name: str, optimizer: Optimizer, warmup: int) -> None:
        self.name, self.factor, self.optimizer, self.warmup = name, SCHEDULES[name], optimizer, warmup
        self.highest = [group["lr"] for group in optimizer.param_groups]

    def before_step(self, step: int, progress: float) -> None:
        """Set the learning rate from the steps taken so far and the completed fraction of the run, 0 to 1."""
        for group, highest in zip(self.optimizer.param_groups, self.highest, strict=True):
            group["lr"] = highest * self.factor(step, self.warmup, progress)

    def after_step(self) -> None:
        """Called after each step."""

    def after_evaluation(self, loss: float) -> None:
        """Called after each evaluation, with the test loss."""

    def state_dict(self) -> dict[str, Any]:
        """The state for a checkpoint: empty, since the learning rate is a function of step and progress."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the state from a checkpoint."""


class TorchSchedule(Schedule):
    """A scheduler of torch.optim.lr_scheduler, which takes a step after each training step or each evaluation."""

    def __init__(self, scheduler: Any) -> None:
        self.scheduler, self.name = scheduler, f"your own {type(scheduler).__name__}"
        self.steps_on_evaluation = isinstance(scheduler, lr_scheduler.ReduceLROnPlateau)

    def before_step(self, step: int, progress: float) -> None:
        """Nothing to do: torch's schedules set the learning rate after a step."""

    def after_step(self) -> None:
        """Step torch's scheduler, unless it steps on evaluations."""
        if not self.steps_on_evaluation:
            self.scheduler.step()

    def after_evaluation(self, loss: float) -> None:
        """Step torch's scheduler, if it steps on evaluations."""
        if self.steps_on_evaluation:
            self.scheduler.step(loss)

    def state_dict(self) -> dict[str, Any]:
        """The state of torch's scheduler without its functions, which its constructor makes again."""
        return {key: value for key, value in self.scheduler.state_dict().items() if not callable(value)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the state of torch's scheduler."""
        self.scheduler.load_state_dict(state)


def own_schedule(own: OwnSchedule, optimizer: Optimizer) -> TorchSchedule:
    """The user's schedule: the instance, or the result of the user's function of the optimiser.

    Args:
        own: a schedule of torch, or a function from the optimiser to one, such as
            `functools.partial(torch.optim.lr_scheduler.StepLR, step_size=100)`.

    Raises:
        ValueError: if `own` neither is nor returns a schedule, or the schedule belongs to another optimiser.
    """
    schedule = own if isinstance(own, lr_scheduler.LRScheduler) or not callable(own) else own(optimizer)
    if not isinstance(schedule, lr_scheduler.LRScheduler):
        raise InputError("a schedule of torch, or a function from the optimiser to one", type(schedule).__name__)
    if getattr(schedule, "optimizer", optimizer) is not optimizer:
        raise InputError("a schedule of the optimiser that is used", f"a {type(schedule).__name__} of another one")
    return TorchSchedule(schedule)
