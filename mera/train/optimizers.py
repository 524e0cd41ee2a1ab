"""Optimisers: those of torch by name, and those that a user passes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from mera._utils.checks import check_choice
from mera._utils.errors import InputError
from mera.train.muon import Muon, layer_groups
from mera.train.torch_options import accepted_options, check_names, check_values

__all__ = ["OwnOptimizer", "check_optimizer", "make_optimizer", "own_optimizer", "trial_optimizer"]

OwnOptimizer = Optimizer | Callable[[Iterable[nn.Parameter]], Optimizer]
"""An optimiser of a flow's parameters, or a function that makes one of them."""

UNSUITED = {"Optimizer", "LBFGS", "SparseAdam"}
"""The base class, and optimisers that need several losses in a step, or sparse gradients."""


def make_optimizer(
    name: str,
    module: nn.Module,
    lr: float,
    weight_decay: float,
    options: Mapping[str, Any] | None = None,
) -> Optimizer:
    """An optimiser, fused where torch can: stepping many small tensors one by one takes long.

    Args:
        name: the name of a class in torch.optim, or "Muon".
        module: the module whose parameters are trained.
        lr: the learning rate.
        weight_decay: the weight decay, for optimisers that have one.
        options: further options of the class.

    Raises:
        ValueError: if name or options are refused by `check_optimizer`.
    """
    options = options or {}
    kind = check_optimizer(name, options)
    defaults: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay}
    excludes_fused = {"foreach", "differentiable"} & set(options)
    if not excludes_fused and all(parameter.device.type in ("cpu", "cuda") for parameter in module.parameters()):
        defaults["fused"] = True
    parameters = layer_groups(module) if kind is Muon else list(module.parameters())
    return kind(parameters, **accepted_options(kind, defaults) | dict(options))


def own_optimizer(own: OwnOptimizer, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """The user's optimiser: the instance, or what the user's function makes of the parameters.

    Args:
        own: an optimiser of the parameters, or a function from the parameters to one, such as
            `functools.partial(torch.optim.SGD, lr=0.1)`.
        parameters: the parameters to train.

    Raises:
        ValueError: if there is no such optimiser, it has other parameters, or it needs a closure for each step.
    """
    parameters = list(parameters)
    optimizer = own if isinstance(own, Optimizer) or not callable(own) else own(parameters)
    if not isinstance(optimizer, Optimizer):
        raise InputError("an optimiser of torch, its name, or a function from parameters to one", _type_name(optimizer))
    own_ids = set(map(id, parameters))
    foreign = [p for group in optimizer.param_groups for p in group["params"] if id(p) not in own_ids]
    if foreign:
        raise InputError("an optimiser of the flow's parameters", f"one with {len(foreign)} other parameters")
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise InputError("an optimiser whose steps need no closure", _type_name(optimizer))
    return optimizer


def _type_name(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


def check_optimizer(name: str, options: Mapping[str, Any]) -> type[Optimizer]:
    """The class of an optimiser by name, after a trial step with its options.

    Args:
        name: "Muon" for `mera.train.Muon`, or the name of a class in torch.optim.
        options: options of the class beside lr and weight_decay.

    Raises:
        ValueError: if torch has no optimiser of that name, the optimiser needs more than one gradient of each
            parameter, or an option is unknown or refused by torch.
    """
    kinds = {key: k for key, k in vars(torch.optim).items() if isinstance(k, type) and issubclass(k, Optimizer)}
    kinds["Muon"] = Muon  # in place of torch's, which takes nothing but matrices
    kind = kinds[check_choice(name, sorted(kinds.keys() - UNSUITED), "an optimizer")]
    label = f"optimizer_options of {name}"
    check_names(label, options, kind, excluded={"params", "lr", "weight_decay"})
    check_values(label, options, lambda: trial_optimizer(kind, options).step())
    return kind


def trial_optimizer(kind: type[Optimizer], options: Mapping[str, Any]) -> Optimizer:
    """An optimiser of one small parameter that has a gradient.

    Args:
        kind: the class of the optimiser.
        options: options of the class beside lr.
    """
    parameter = nn.Parameter(torch.zeros(2, 2))
    parameter.grad = torch.ones(2, 2)
    return kind([parameter], **accepted_options(kind, {"lr": 1e-3}) | dict(options))
