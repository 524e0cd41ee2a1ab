"""Optimisers and schedules by name, and any of torch as an instance or a function that makes one."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from mera._utils.errors import InputError
from mera.train.muon import Muon, layer_groups

OwnOptimizer = Optimizer | Callable[[Iterable[nn.Parameter]], Optimizer]
"""An optimiser of a flow's parameters, or a function from parameters to an optimiser, such as torch.optim.SGD."""

OPTIMIZERS: dict[str, type[Optimizer]] = {"AdamW": AdamW, "Muon": Muon}


def make_optimizer(
    flow: nn.Module,
    name: str,
    lr: float,
    weight_decay: float,
    options: Mapping[str, Any] | None,
    own: OwnOptimizer | None = None,
) -> tuple[Optimizer, str]:
    """The user's own optimiser of a flow, or an optimiser by name; and its name, which checkpoints hold."""
    if own is None:
        return named_optimizer(name, flow, lr, weight_decay, options or {}), name
    optimizer = own_optimizer(own, flow.parameters())
    return optimizer, f"your own {type(optimizer).__name__}"


def named_optimizer(
    name: str, module: nn.Module, lr: float, weight_decay: float, options: Mapping[str, Any]
) -> Optimizer:
    """Make an optimiser by name, fused where torch supports it."""
    excludes_fused = {"foreach", "differentiable"} & set(options)
    can_fuse = not excludes_fused and all(p.device.type in ("cpu", "cuda") for p in module.parameters())
    defaults: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay, **({"fused": True} if can_fuse else {})}
    parameters = layer_groups(module) if name == "Muon" else list(module.parameters())
    return OPTIMIZERS[name](parameters, **{**defaults, **options})


def check_options(name: str, options: object) -> None:
    """Refuse options, beside lr and weight_decay, of unknown names."""
    label, kind = f"optimizer_options of {name}", OPTIMIZERS[name]
    if not isinstance(options, Mapping):
        raise InputError(f"{label} as a dict", repr(options))
    names = sorted(set(inspect.signature(kind).parameters) - {"params", "lr", "weight_decay"})
    if unknown := sorted(set(map(str, options)) - set(names)):
        raise InputError(f"{label} among {', '.join(names)}", ", ".join(unknown))


def own_optimizer(own: OwnOptimizer, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """The user's optimiser: the instance, or the result of the user's function of the parameters.

    Args:
        own: an optimiser of the parameters, or a function from the parameters to one, such as
            `functools.partial(torch.optim.SGD, lr=0.1)`.

    Raises:
        ValueError: if `own` neither is nor returns an optimiser, or if the optimiser has other parameters or needs a
            closure for each step.

    Warns:
        UserWarning: if the optimiser lacks parameters that require a gradient, which then stay as they are.
    """
    parameters = list(parameters)
    optimizer = own if isinstance(own, Optimizer) or not callable(own) else own(parameters)
    if not isinstance(optimizer, Optimizer):
        raise InputError("an optimiser of torch, or a function from parameters to one", type(optimizer).__name__)
    own_ids = set(map(id, parameters))
    foreign = [p for group in optimizer.param_groups for p in group["params"] if id(p) not in own_ids]
    if foreign:
        raise InputError("an optimiser of the flow's parameters", f"one with {len(foreign)} other parameters")
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    learnable = [p for p in parameters if p.requires_grad]
    if missing := [p for p in learnable if id(p) not in held]:
        got = f"one that lacks {len(missing)} of {len(learnable)} tensors, which stay as they are"
        warnings.warn(f"Expected an optimiser of all parameters that require a gradient; got {got}", stacklevel=2)
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise InputError("an optimiser whose steps need no closure", type(optimizer).__name__)
    return optimizer


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
"""By name, the factor of the highest learning rate; `Loop` sets it before each step, so that a run can be prolonged."""


def own_schedule(own: OwnSchedule, optimizer: Optimizer) -> LRScheduler:
    """The user's schedule: the instance, or the result of the user's function of the optimiser.

    Args:
        own: a schedule of torch, or a function from the optimiser to one, such as
            `functools.partial(torch.optim.lr_scheduler.StepLR, step_size=100)`.
        optimizer: the optimiser.

    Raises:
        ValueError: if `own` neither is nor returns a schedule, or the schedule belongs to another optimiser.
    """
    schedule = own if isinstance(own, LRScheduler) or not callable(own) else own(optimizer)
    if not isinstance(schedule, LRScheduler):
        raise InputError("a schedule of torch, or a function from the optimiser to one", type(schedule).__name__)
    if getattr(schedule, "optimizer", optimizer) is not optimizer:
        raise InputError("a schedule of the optimiser that is used", f"a {type(schedule).__name__} of another one")
    return schedule
