"""Optimisers: Muon and AdamW by name, and any optimiser of torch as an instance or a function that makes one."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import nn
from torch.optim import AdamW, Optimizer

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
