"""Optimisers and schedules by name, and any of torch as an instance or a function that makes one."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from mera._utils.checks import check_choice
from mera._utils.errors import InputError
from mera.train.muon import Muon, layer_groups

OwnOptimizer = Optimizer | Callable[[Iterable[nn.Parameter]], Optimizer]
"""An optimiser of a flow's parameters, or a function from parameters to an optimiser, such as torch.optim.SGD."""

OwnSchedule = LRScheduler | Callable[[Optimizer], Any]
"""A schedule of torch for an optimiser, or a function that makes one."""
T = TypeVar("T")

OPTIMIZERS: dict[str, type[Optimizer]] = {"AdamW": AdamW, "Muon": Muon}


def check_options(name: str, options: object) -> None:
    """Refuse options, in addition to lr and weight_decay, of unknown names."""
    if not isinstance(options, Mapping):
        raise InputError(f"optimizer_options of {name} as a dict", repr(options))
    names = sorted(set(inspect.signature(OPTIMIZERS[name]).parameters) - {"params", "lr", "weight_decay"})
    for option in options:
        check_choice(option, names, f"optimizer_options of {name}")


def make_optimizer(
    flow: nn.Module,
    name: str,
    lr: float,
    weight_decay: float,
    options: Mapping[str, Any] | None,
    own: OwnOptimizer | None = None,
) -> tuple[Optimizer, str]:
    """The user's own optimiser, or one by name, fused where torch supports it; and its name, which checkpoints hold."""
    parameters, options = list(flow.parameters()), options or {}
    if own is None:
        excludes_fused = {"foreach", "differentiable"} & set(options)
        can_fuse = not excludes_fused and all(p.device.type in ("cpu", "cuda") for p in parameters)
        defaults: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay, **({"fused": True} if can_fuse else {})}
        groups: Any = layer_groups(flow) if name == "Muon" else parameters
        return OPTIMIZERS[name](groups, **{**defaults, **options}), name
    optimizer = _made(own, Optimizer, parameters, "an optimiser of torch, or a function from parameters to one")
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if foreign := held - set(map(id, parameters)):
        raise InputError("an optimiser of the flow's parameters", f"one with {len(foreign)} other parameters")
    learnable = [p for p in parameters if p.requires_grad]
    if missing := [p for p in learnable if id(p) not in held]:
        got = f"one that lacks {len(missing)} of {len(learnable)} tensors, which stay as they are"
        warnings.warn(f"Expected an optimiser of all parameters that require a gradient; got {got}", stacklevel=2)
    return optimizer, f"your own {type(optimizer).__name__}"


def _made(own: Any, kind: type[T], argument: object, expected: str) -> T:
    """The user's object of a kind: the instance itself, or the result of the user's function of the argument."""
    made = own(argument) if callable(own) and not isinstance(own, kind) else own
    if not isinstance(made, kind):
        raise InputError(expected, type(made).__name__)
    return made


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
"""By name, the factor of the highest learning rate; `Loop` sets it before each step, so that a run can be prolonged."""


def own_schedule(own: OwnSchedule, optimizer: Optimizer) -> LRScheduler:
    """The user's schedule of an optimiser; refuses one that belongs to another optimiser."""
    expected = "a schedule of torch, or a function from the optimiser to one"
    schedule = _made(own, LRScheduler, optimizer, expected)
    if getattr(schedule, "optimizer", optimizer) is not optimizer:
        raise InputError("a schedule of the optimiser that is used", f"a {type(schedule).__name__} of another one")
    return schedule
