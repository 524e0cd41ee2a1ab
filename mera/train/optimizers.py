"""Optimisers: Muon, AdamW, and any of torch; and schedules of the learning rate."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from mera._utils.checks import check_choice, check_count, check_positive
from mera._utils.errors import InputError

MIN_MATRIX_EDGE = 8
"""The smallest edge of a parameter that is treated as a matrix."""
COEFFICIENTS = 3.4445, -4.775, 2.0315
"""Coefficients of the Newton-Schulz iteration of Jordan et al. (2024)."""


def orthogonal(matrices: Tensor, iterations: int = 3) -> Tensor:
    r"""Approximate the orthogonal factors U V^T of matrices U S V^T by a Newton-Schulz iteration.

    .. math:: X \leftarrow a X + (b A + c A^2) X, \qquad A = X X^T

    The coefficients of Jordan et al. (2024) bring singular values close to 1 fast, but not to exactly 1. No singular
    value may be above 1 at the start, so X is divided by the fourth root of the sum of the fourth powers of its
    singular values, which is the square root of the Frobenius norm of A. With the Frobenius norm of X instead, as is
    usual, small singular values need about one more iteration.

    Args:
        matrices: the matrices, (n, rows, columns).

    >>> x = orthogonal(torch.diag(torch.tensor([3.0, 2.0]))[None], iterations=5)
    >>> bool(((x[0].diagonal() > 0.6) & (x[0].diagonal() < 1.3)).all())
    True
    """
    a, b, c = COEFFICIENTS
    is_tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if is_tall else matrices
    x = x / _norm(x)  # so that the fourth powers are within the range of the dtype
    for i in range(iterations):
        gram = x @ x.mT
        if i == 0:
            square = _norm(gram)
            x, gram = x / square.sqrt(), gram / square
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if is_tall else x


def _norm(matrices: Tensor) -> Tensor:
    """The Frobenius norms of matrices, (n, 1, 1), at least the smallest positive number of the dtype."""
    return matrices.flatten(1).norm(dim=1).clamp(min=torch.finfo(matrices.dtype).tiny)[:, None, None]


class Muon(Optimizer):
    r"""Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/) for matrices, AdamW for the rest.

    A matrix W, (m, n), takes the step :math:`-s \sqrt{\max(m, n)} \, \mathrm{lr} \, O` along the orthogonal factor O of
    its momentum. With the default scale s the step is about as large as a step of AdamW (Liu et al. 2025,
    https://arxiv.org/abs/2502.16982). Matrices of one shape are stacked, and multiplied in bfloat16 on hardware where
    bfloat16 is fast. `torch.optim.Muon` refuses kernels of convolutions, multiplies one matrix after another, and
    always in bfloat16, which most CPUs emulate.

    Args:
        params: parameters, of which those with two dimensions and edges of at least 8 are the matrices; or groups such
            as `layer_groups` makes. A group with "matrices" true has matrices and kernels of convolutions, whose axes
            from the second on are flattened.
        lr: the learning rate of Muon and of AdamW.
        weight_decay: the weight decay of AdamW.
        momentum: the momentum of the gradients of the matrices.
        iterations: the number of iterations of `orthogonal`.
        scale: the scale s.
        decay: the weight decay of the matrices, which would grow without it: a step does not shrink with the gradient.
        betas: the betas of AdamW.
        fused: whether AdamW runs fused.

    Raises:
        ValueError: if the momentum is not from 0 to below 1, the scale not above 0 or the decay below 0, or AdamW
            refuses an option.

    >>> layer = nn.Linear(16, 8)
    >>> optimizer = Muon(layer.parameters(), lr=0.01)
    >>> layer(torch.ones(1, 16)).sum().backward()
    >>> optimizer.step()
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: float = 8e-3,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        iterations: int = 3,
        scale: float = 0.3,
        decay: float = 0.1,
        betas: tuple[float, float] = (0.9, 0.999),
        fused: bool | None = None,
    ) -> None:
        if not 0 <= momentum < 1:
            raise InputError("a momentum from 0 to below 1", repr(momentum))
        check_count(iterations, "iterations")
        check_positive(scale, "scale")
        check_positive(decay, "decay", or_zero=True)
        defaults = {"momentum": momentum, "iterations": iterations, "scale": scale, "decay": decay, "matrices": False}
        # AdamW for the groups without matrices; `step` hands it these groups and the state
        self._adamw = AdamW([torch.zeros(1)], lr=lr, weight_decay=weight_decay, betas=betas, fused=fused)
        entries: list[Any] = list(params)
        groups = entries if any(isinstance(e, dict) for e in entries) else _split(entries, lambda p: p.ndim == 2)
        super().__init__(groups, self._adamw.defaults | defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore after copying or unpickling, which keep only the groups and their state."""
        super().__setstate__(state)
        self._adamw = AdamW([torch.zeros(1)])

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step of Muon and of AdamW.

        Args:
            closure: a function that recomputes the loss; see `torch.optim.Optimizer`.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._adamw.param_groups = [group for group in self.param_groups if not group["matrices"]]
        self._adamw.state = self.state
        self._adamw.step()
        for group in self.param_groups:
            if group["matrices"]:
                self._step_of_matrices(group)
        return loss

    def _step_of_matrices(self, group: dict[str, Any]) -> None:
        """Update the matrices of a group; matrices of one shape are stacked."""
        by_shape: dict[Any, list[Tensor]] = {}
        for parameter in group["params"]:
            if parameter.grad is not None:
                by_shape.setdefault((parameter.shape, parameter.dtype, parameter.device), []).append(parameter)
        for parameters in by_shape.values():
            for parameter in parameters:
                if "momentum_buffer" not in self.state[parameter]:
                    self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
            means = [self.state[parameter]["momentum_buffer"] for parameter in parameters]
            gradients = [cast(Tensor, parameter.grad) for parameter in parameters]
            torch._foreach_lerp_(means, gradients, 1 - group["momentum"])
            nesterov = torch._foreach_lerp(gradients, means, group["momentum"])
            matrices = torch.stack(list(nesterov)).flatten(2)
            is_fast = matrices.dtype == torch.float32 and has_fast_bfloat16(matrices.device)
            dtype = torch.bfloat16 if is_fast else torch.promote_types(matrices.dtype, torch.float32)
            rotations = orthogonal(matrices.to(dtype), group["iterations"]).to(matrices.dtype)
            steps = [step.view_as(parameter) for step, parameter in zip(rotations, parameters, strict=True)]
            length = group["lr"] * group["scale"] * max(matrices.shape[1:]) ** 0.5
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["decay"])
            torch._foreach_add_(parameters, steps, alpha=-length)


@cache
def has_fast_bfloat16(device: torch.device) -> bool:
    """Return whether a device multiplies matrices in bfloat16 faster than in float32, as far as torch reports it."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)() if device.type == "cpu" else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def layer_groups(module: nn.Module) -> list[dict[str, Any]]:
    """The parameters of a module as groups for `Muon`: weights of linear layers and convolutions, and all others.

    The weight-normed layers of the conditioners "paper" and "authors" belong to the second group, for AdamW.
    """
    layers = (layer for layer in module.modules() if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d))
    weights = {id(layer.weight) for layer in layers}
    return _split(module.parameters(), lambda parameter: id(parameter) in weights)


def _split(parameters: Iterable[nn.Parameter], is_weight: Callable[[nn.Parameter], bool]) -> list[dict[str, Any]]:
    """Groups of weights whose edges are at least `MIN_MATRIX_EDGE`, and of all other parameters; no empty group."""
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for parameter in parameters:
        is_large = parameter.ndim > 1 and min(len(parameter), parameter[0].numel()) >= MIN_MATRIX_EDGE
        groups[is_large and is_weight(parameter)].append(parameter)
    return [{"params": members, "matrices": is_matrix} for is_matrix, members in groups.items() if members]


UserOptimizer = Optimizer | Callable[[Iterable[nn.Parameter]], Optimizer]
"""An optimiser of a flow's parameters, or a function from parameters to an optimiser, such as torch.optim.SGD."""

UserSchedule = Callable[[Optimizer], LRScheduler]
"""A function from an optimiser to a schedule of torch, which steps after each step of the optimiser."""

OPTIMIZERS: dict[str, type[Optimizer]] = {"AdamW": AdamW, "Muon": Muon}


def check_options(name: str, options: Iterable[str]) -> None:
    """Refuse options, in addition to lr and weight_decay, of unknown names."""
    names = sorted(set(inspect.signature(OPTIMIZERS[name]).parameters) - {"params", "lr", "weight_decay"})
    for option in options:
        check_choice(option, names, f"optimizer_options of {name}")


def make_optimizer(
    flow: nn.Module,
    name: str,
    lr: float,
    weight_decay: float,
    options: Mapping[str, Any] | None,
    user_optimizer: UserOptimizer | None = None,
) -> tuple[Optimizer, str]:
    """The user's own optimiser, or one by name, fused where torch supports it; and its name, which checkpoints hold."""
    parameters, options = list(flow.parameters()), options or {}
    if user_optimizer is None:
        excludes_fused = {"foreach", "differentiable"} & set(options)
        can_fuse = not excludes_fused and all(p.device.type in ("cpu", "cuda") for p in parameters)
        defaults: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay, **({"fused": True} if can_fuse else {})}
        groups: Any = layer_groups(flow) if name == "Muon" else parameters
        return OPTIMIZERS[name](groups, **{**defaults, **options}), name
    optimizer = user_optimizer if isinstance(user_optimizer, Optimizer) else user_optimizer(parameters)
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if foreign := held - set(map(id, parameters)):
        raise InputError("an optimiser of the flow's parameters", f"one with {len(foreign)} other parameters")
    learnable = [p for p in parameters if p.requires_grad]
    if missing := [p for p in learnable if id(p) not in held]:
        got = f"one that lacks {len(missing)} of {len(learnable)} tensors, which stay as they are"
        warnings.warn(f"Expected an optimiser of all parameters that require a gradient; got {got}", stacklevel=2)
    return optimizer, f"your own {type(optimizer).__name__}"


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


def make_schedule(user_schedule: UserSchedule, optimizer: Optimizer) -> LRScheduler:
    """The user's schedule of an optimiser; refuses one that does not change its rates, or that needs losses to step."""
    schedule = user_schedule(optimizer)
    if getattr(schedule, "optimizer", None) is not optimizer:
        raise InputError("a schedule of the optimiser that is used", f"{type(schedule).__name__} without it")
    if isinstance(schedule, ReduceLROnPlateau):
        raise InputError("a schedule that steps without a loss", type(schedule).__name__)
    return schedule


SCHEDULES: dict[str, Callable[[int, int, float], float]] = {"cosine": cosine, "constant": lambda *_: 1.0}
"""By name, the factor of the highest learning rate; `Loop` sets it before each step, so that a run can be prolonged."""
