"""Optimisers and schedules of torch by name, and the schedule that follows a clock."""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch.optim import lr_scheduler

from mera._utils.checks import check_choice

if TYPE_CHECKING:
    from mera.train.settings import Settings

__all__ = ["Schedule", "check_optimizer", "check_schedule", "make_optimizer", "make_schedule"]

COSINE = "cosine"
OTHER_OPTIMIZERS = {"Optimizer", "LBFGS", "SparseAdam", "Muon"}
"""Those that need the loss more than once a step, sparse gradients, or matrices."""
LENGTHS = ("T_max", "total_steps", "total_iters")
"""What torch's schedules call the number of their steps."""


def make_optimizer(settings: Settings, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser that is asked for, fused where torch can: stepping many small tensors one by one takes long."""
    options = settings.optimizer_options or {}
    kind = check_optimizer(settings.optimizer, options)
    parameters = list(parameters)
    known: dict[str, Any] = {"lr": settings.lr, "weight_decay": settings.weight_decay}
    other_ways = {"foreach", "differentiable"} & set(options)
    if not other_ways and all(p.device.type in ("cpu", "cuda") for p in parameters):
        known["fused"] = True
    return kind(parameters, **_accepted(kind, known) | dict(options))


def check_optimizer(name: str, options: Mapping[str, Any]) -> type[torch.optim.Optimizer]:
    """The class of an optimiser.

    Raises:
        ValueError: if torch has none of that name, it needs more than the gradients of tensors of any shape, or an
            option is unknown or of no use to torch.
    """
    kinds = {n: k for n, k in vars(torch.optim).items() if isinstance(k, type) and issubclass(k, torch.optim.Optimizer)}
    kind = kinds[check_choice(name, sorted(kinds.keys() - OTHER_OPTIMIZERS), "an optimizer")]
    what = f"optimizer_options of {name}"
    _check_options(what, options, kind, {"params", "lr", "weight_decay"})
    _try(what, options, lambda: _tried(kind, options).step())
    return kind


def _tried(kind: type[torch.optim.Optimizer], options: Mapping[str, Any]) -> torch.optim.Optimizer:
    """An optimiser of one parameter, after backward."""
    parameter = torch.nn.Parameter(torch.zeros(2, 2))
    parameter.grad = torch.ones(2, 2)
    return kind([parameter], **_accepted(kind, {"lr": 1e-3}) | dict(options))


def _try(what: str, options: Mapping[str, Any], call: Callable[[], object]) -> None:
    """Refuse options with which torch fails: most of its checks come late, and as any kind of error."""
    try:
        call()
    except Exception as error:
        raise ValueError(f"Expected {what} that torch can use; got {dict(options)}: {error}") from error


def check_schedule(name: str, options: Mapping[str, Any]) -> type[lr_scheduler.LRScheduler] | None:
    """The class of a schedule of torch; None for the one of ours.

    Raises:
        ValueError: if torch has none of that name that plain options can make, or an option is
            unknown or of no use to torch.
    """
    made_of_others = ("LRScheduler", "LambdaLR", "MultiplicativeLR", "SequentialLR", "ChainedScheduler")
    names = [n for n in lr_scheduler.__all__ if n not in made_of_others]
    if check_choice(name, [COSINE, *names], "a schedule") == COSINE:
        _check_options("schedule_options of cosine", options, lambda: None, set())
        return None
    kind = getattr(lr_scheduler, name)
    what = f"schedule_options of {name}"
    _check_options(what, options, kind, {"optimizer"})

    def step() -> None:
        optimizer = _tried(torch.optim.SGD, {"momentum": 0.9})  # some schedules change the momentum
        schedule = _torch_schedule(kind, optimizer, options, 10, 1e-3)
        optimizer.step()
        schedule.after_step()

    _try(what, options, step)
    return kind


def _check_options(what: str, options: Mapping[str, Any], kind: Any, without: set[str]) -> None:
    if not isinstance(options, Mapping):
        raise ValueError(f"Expected {what} as a dict; got {options!r}")
    parameters = inspect.signature(kind).parameters
    known = sorted(set(parameters) - without)
    given = without | set(LENGTHS) | {"max_lr"} | set(options)
    if missing := [name for name in known if parameters[name].default is inspect.Parameter.empty and name not in given]:
        raise ValueError(f"Expected {what} with {', '.join(missing)}; got none")
    if unknown := sorted(set(options) - set(known)):
        raise ValueError(f"Expected {what} among {', '.join(known) or 'none'}; got {', '.join(map(str, unknown))}")


class Schedule(ABC):
    """The learning rate over a run."""

    @abstractmethod
    def before_step(self, step: int, progress: float) -> None:
        """Called before the step that follows `step` steps, when `progress` of the run is over, 0 to 1."""

    @abstractmethod
    def after_step(self) -> None:
        """Called after each step."""

    @abstractmethod
    def after_evaluation(self, test_bits: float) -> None:
        """Called after each evaluation."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint has to hold."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what a checkpoint held."""


class Cosine(Schedule):
    """Linear warm-up, then half a cosine that ends at 0 with the run.

    How much of a run is over is the caller's to say, so that a run limited by time has its schedule too.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, warmup: int) -> None:
        self.optimizer, self.warmup = optimizer, warmup
        self.highest = [group["lr"] for group in optimizer.param_groups]

    def before_step(self, step: int, progress: float) -> None:
        """Set the rate."""
        for group, highest in zip(self.optimizer.param_groups, self.highest, strict=True):
            group["lr"] = highest * learning_rate_factor(step, self.warmup, progress)

    def after_step(self) -> None:
        """Nothing to do."""

    def after_evaluation(self, test_bits: float) -> None:
        """Nothing to do."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the rate is a function of step and progress."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to do."""


class TorchSchedule(Schedule):
    """A schedule of torch, one step of it for each step of the optimiser."""

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler
        self.waits = isinstance(scheduler, lr_scheduler.ReduceLROnPlateau)

    def before_step(self, step: int, progress: float) -> None:
        """Torch's schedules set the rate afterwards."""

    def after_step(self) -> None:
        """Torch's own step, unless the schedule waits for evaluations."""
        if not self.waits:
            self.scheduler.step()

    def after_evaluation(self, test_bits: float) -> None:
        """Torch's own step, if the schedule waits for evaluations."""
        if self.waits:
            self.scheduler.step(test_bits)

    def state_dict(self) -> dict[str, Any]:
        """Torch's own, but for functions, which no file can hold and its constructor makes again."""
        return {key: value for key, value in self.scheduler.state_dict().items() if not callable(value)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Torch's own."""
        self.scheduler.load_state_dict(state)


def make_schedule(settings: Settings, optimizer: torch.optim.Optimizer) -> Schedule:
    """The schedule that is asked for; those of torch that need it are told how long the run is and how high to go."""
    options = settings.schedule_options or {}
    kind = check_schedule(settings.schedule, options)
    if kind is None:
        return Cosine(optimizer, settings.warmup)
    return _torch_schedule(kind, optimizer, options, settings.steps, settings.lr)


def _torch_schedule(
    kind: Any, optimizer: torch.optim.Optimizer, options: Mapping[str, Any], steps: int, lr: float
) -> TorchSchedule:
    known = {**dict.fromkeys(LENGTHS, steps), "max_lr": lr}
    return TorchSchedule(kind(optimizer, **_accepted(kind, known) | dict(options)))


def _accepted(kind: Any, known: Mapping[str, Any]) -> dict[str, Any]:
    """What a class takes of what is known."""
    return {key: value for key, value in known.items() if key in inspect.signature(kind).parameters}


def learning_rate_factor(step: int, warmup: int, progress: float) -> float:
    """Linear from 0 over the first `warmup` steps, times half a cosine that ends at 0 when `progress` is 1.

    >>> [round(learning_rate_factor(step, 10, step / 100), 3) for step in (0, 4, 50, 100)]
    [0.1, 0.498, 0.5, 0.0]
    """
    return min(1.0, (step + 1) / max(1, warmup)) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
