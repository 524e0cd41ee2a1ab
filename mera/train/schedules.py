"""Schedules of the learning rate: those of torch by name, and a cosine that ends with the run."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.optim import Optimizer, lr_scheduler

from mera._utils.checks import check_choice
from mera._utils.errors import InputError
from mera.train.optimizers import trial_optimizer
from mera.train.torch_options import accepted_options, check_names, check_values

__all__ = ["OwnSchedule", "Schedule", "check_schedule", "make_schedule", "own_schedule"]

OwnSchedule = lr_scheduler.LRScheduler | Callable[[Optimizer], Any]
"""A schedule of torch for an optimiser, or a function that makes one."""

COSINE = "cosine"
LENGTHS = ("T_max", "total_steps", "total_iters")
"""Parameters by which torch's schedules are told how many steps a run has."""
COMPOSED = ("LRScheduler", "LambdaLR", "MultiplicativeLR", "SequentialLR", "ChainedScheduler")
"""The base class, and schedules that are made of functions or of other schedules."""


class Schedule(ABC):
    """The learning rate over a run."""

    @abstractmethod
    def before_step(self, step: int, progress: float) -> None:
        """Called before each step.

        Args:
            step: how many steps were taken.
            progress: the part of the run that is over, 0 to 1.
        """

    @abstractmethod
    def after_step(self) -> None:
        """Called after each step."""

    @abstractmethod
    def after_evaluation(self, test_bits: float) -> None:
        """Called after each evaluation.

        Args:
            test_bits: bits per dimension on the test images.
        """

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint has to hold."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from the state in a checkpoint.

        Args:
            state: what `state_dict` returned.
        """


class Cosine(Schedule):
    """Linear warm-up, then half a cosine that ends at 0 with the run (Loshchilov & Hutter, SGDR).

    The caller says how much of the run is over, so that the schedule fits a run limited by time too. See
    https://arxiv.org/abs/1608.03983.

    Args:
        optimizer: the optimiser, with the highest learning rate.
        warmup: steps until the highest learning rate is reached.
    """

    def __init__(self, optimizer: Optimizer, warmup: int) -> None:
        self.optimizer, self.warmup = optimizer, warmup
        self.highest = [group["lr"] for group in optimizer.param_groups]

    def before_step(self, step: int, progress: float) -> None:
        """Set the learning rate."""
        for group, highest in zip(self.optimizer.param_groups, self.highest, strict=True):
            group["lr"] = highest * learning_rate_factor(step, self.warmup, progress)

    def after_step(self) -> None:
        """Nothing to do."""

    def after_evaluation(self, test_bits: float) -> None:
        """Nothing to do."""

    def state_dict(self) -> dict[str, Any]:
        """An empty state: the learning rate is a function of step and progress."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to do."""


class TorchSchedule(Schedule):
    """A schedule of torch, which takes one step with each step of the optimiser.

    Args:
        scheduler: an object of torch.optim.lr_scheduler.
    """

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler
        self.steps_on_evaluation = isinstance(scheduler, lr_scheduler.ReduceLROnPlateau)

    def before_step(self, step: int, progress: float) -> None:
        """Nothing to do: torch's schedules set the learning rate after a step."""

    def after_step(self) -> None:
        """Step torch's schedule, unless it steps on evaluations."""
        if not self.steps_on_evaluation:
            self.scheduler.step()

    def after_evaluation(self, test_bits: float) -> None:
        """Step torch's schedule, if it steps on evaluations."""
        if self.steps_on_evaluation:
            self.scheduler.step(test_bits)

    def state_dict(self) -> dict[str, Any]:
        """The state of torch's schedule without functions, which no file can hold and its constructor makes again."""
        return {key: value for key, value in self.scheduler.state_dict().items() if not callable(value)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the state of torch's schedule."""
        self.scheduler.load_state_dict(state)


def make_schedule(
    name: str,
    optimizer: Optimizer,
    steps: int,
    lr: float,
    warmup: int,
    options: Mapping[str, Any] | None = None,
) -> Schedule:
    """A schedule for an optimiser.

    Args:
        name: "cosine", or the name of a class in torch.optim.lr_scheduler.
        optimizer: the optimiser whose learning rate is set.
        steps: steps of the run, for schedules that need their number.
        lr: the highest learning rate, for schedules that need it.
        warmup: steps until the cosine reaches the highest learning rate.
        options: options of a schedule of torch.

    Raises:
        ValueError: if name or options are refused by `check_schedule`.
    """
    options = options or {}
    kind = check_schedule(name, options)
    return Cosine(optimizer, warmup) if kind is None else _torch_schedule(kind, optimizer, options, steps, lr)


def own_schedule(own: OwnSchedule, optimizer: Optimizer) -> Schedule:
    """The user's schedule: the instance, or what the user's function makes of the optimiser.

    Args:
        own: a schedule of torch, or a function from the optimiser to one, such as
            `functools.partial(torch.optim.lr_scheduler.StepLR, step_size=100)`.
        optimizer: the optimiser that is used.

    Raises:
        ValueError: if there is no such schedule, or it is that of another optimiser.
    """
    is_schedule = isinstance(own, lr_scheduler.LRScheduler)
    schedule = own if is_schedule or not callable(own) else own(optimizer)
    if not isinstance(schedule, lr_scheduler.LRScheduler):
        raise InputError(
            "a schedule of torch, its name, or a function from the optimiser to one", type(schedule).__name__
        )
    if getattr(schedule, "optimizer", optimizer) is not optimizer:
        raise InputError("a schedule of the optimiser that is used", f"a {type(schedule).__name__} of another one")
    return TorchSchedule(schedule)


def check_schedule(name: str, options: Mapping[str, Any]) -> type[lr_scheduler.LRScheduler] | None:
    """The class of a schedule of torch by name, after a trial step with its options; None for the cosine.

    Args:
        name: "cosine", or the name of a class in torch.optim.lr_scheduler.
        options: options of a schedule of torch.

    Raises:
        ValueError: if torch has no schedule of that name that plain options can make, or an option is unknown or
            refused by torch.
    """
    names = [schedule for schedule in lr_scheduler.__all__ if schedule not in COMPOSED]
    if check_choice(name, [COSINE, *names], "a schedule") == COSINE:
        check_names("schedule_options of cosine", options, lambda: None, excluded=())
        return None
    kind = getattr(lr_scheduler, name)
    label = f"schedule_options of {name}"
    check_names(label, options, kind, excluded={"optimizer"}, supplied={*LENGTHS, "max_lr"})

    def trial() -> None:
        optimizer = trial_optimizer(torch.optim.SGD, {"momentum": 0.9})  # some schedules change the momentum
        schedule = _torch_schedule(kind, optimizer, options, steps=10, lr=1e-3)
        optimizer.step()
        schedule.after_step()

    check_values(label, options, trial)
    return kind


def _torch_schedule(
    kind: Any, optimizer: Optimizer, options: Mapping[str, Any], steps: int, lr: float
) -> TorchSchedule:
    """A schedule of torch, with the length and the highest rate of the run unless the options say otherwise."""
    defaults = {**dict.fromkeys(LENGTHS, steps), "max_lr": lr}
    return TorchSchedule(kind(optimizer, **accepted_options(kind, defaults) | dict(options)))


def learning_rate_factor(step: int, warmup: int, progress: float) -> float:
    r"""The factor of the cosine schedule, :math:`\min(1, (t + 1) / w) \cdot (1 + \cos \pi p) / 2`.

    Args:
        step: t, how many steps were taken.
        warmup: w, the steps of the warm-up.
        progress: p, the part of the run that is over, 0 to 1.

    >>> [round(learning_rate_factor(step, 10, step / 100), 3) for step in (0, 4, 50, 100)]
    [0.1, 0.498, 0.5, 0.0]
    """
    return min(1.0, (step + 1) / max(1, warmup)) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
