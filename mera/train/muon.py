"""Muon: steps along orthogonal matrices for the weights of layers, and AdamW for all other parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from mera._utils.checks import check_count, check_positive
from mera._utils.errors import InputError

__all__ = ["Muon", "layer_groups", "orthogonal"]

SMALLEST = 8
"""The least edge of a parameter that is treated as a matrix."""
COEFFICIENTS = 3.4445, -4.775, 2.0315
"""Of the iteration, from Jordan et al. (2024)."""


def orthogonal(matrices: Tensor, iterations: int = 4) -> Tensor:
    r"""About the orthogonal factors U V^T of matrices U S V^T, by a Newton-Schulz iteration.

    .. math:: X \leftarrow a X + (b A + c A^2) X, \qquad A = X X^T

    with the coefficients of Jordan et al. (2024), which bring singular values near 1 fast and not to 1 exactly.

    Args:
        matrices: the matrices, (n, rows, columns).
        iterations: the number of iterations.

    >>> x = orthogonal(torch.diag(torch.tensor([3.0, 2.0]))[None], iterations=5)
    >>> bool(((x[0].diagonal() > 0.6) & (x[0].diagonal() < 1.3)).all())
    True
    """
    a, b, c = COEFFICIENTS
    is_tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if is_tall else matrices
    x = x / x.flatten(1).norm(dim=1).clamp(min=torch.finfo(x.dtype).tiny)[:, None, None]
    for _ in range(iterations):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if is_tall else x


class Muon(AdamW):
    r"""Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/) for matrices, AdamW for the rest.

    A matrix W, (m, n), takes the step :math:`-s \sqrt{\max(m, n)} \, \mathrm{lr} \, O` along the orthogonal factor O of
    its momentum; with a scale s of 0.2 it has about the size of a step of AdamW (Liu et al. 2025,
    https://arxiv.org/abs/2502.16982). Matrices of one shape are treated together: on a CPU, torch's class of this name,
    which treats them one by one in half precision, takes 16 times as long.

    Args:
        params: parameters, of which those of two dimensions with edges of 8 and more are the matrices; or groups such
            as `layer_groups` makes, where a group with "matrices" true has matrices, and kernels of convolutions, whose
            axes from the second on count as one.
        lr: the learning rate of both.
        weight_decay: the weight decay of both.
        momentum: of the matrices' gradients.
        iterations: see `orthogonal`.
        scale: s.
        betas: of AdamW.
        fused: whether AdamW runs fused.

    Raises:
        ValueError: if the momentum is not from 0 to below 1, or AdamW refuses an option.

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
        iterations: int = 4,
        scale: float = 0.5,
        betas: tuple[float, float] = (0.9, 0.999),
        fused: bool | None = None,
    ) -> None:
        if not 0 <= momentum < 1:
            raise InputError("a momentum from 0 to below 1", repr(momentum))
        check_count(iterations, "iterations")
        check_positive(scale, "scale")
        entries: list[Any] = list(params)
        groups = entries if entries and isinstance(entries[0], dict) else _split(entries, lambda p: p.ndim == 2)
        super().__init__(groups, lr=lr, weight_decay=weight_decay, betas=betas, fused=fused)
        own = {"matrices": False, "momentum": momentum, "iterations": iterations, "scale": scale}
        self.defaults |= own  # of groups that are added later
        for group in self.param_groups:
            group.update(own | group)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step of both optimisers.

        Args:
            closure: computes the loss again, for optimisers that need it; see `torch.optim.Optimizer`.
        """
        groups = self.param_groups
        self.param_groups = [group for group in groups if not group["matrices"]]
        try:
            loss = super().step(closure)
        finally:
            self.param_groups = groups
        for group in groups:
            if group["matrices"]:
                self._step_of_matrices(group)
        return loss

    @torch.no_grad()
    def _step_of_matrices(self, group: dict[str, Any]) -> None:
        """Move the matrices of a group, those of one shape together."""
        by_shape: dict[Any, list[Tensor]] = {}
        for parameter in group["params"]:
            if parameter.grad is not None:
                by_shape.setdefault((parameter.shape, parameter.dtype, parameter.device), []).append(parameter)
        for parameters in by_shape.values():
            gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
            buffers = [self._buffer(parameter) for parameter in parameters]
            torch._foreach_lerp_(buffers, gradients, 1 - group["momentum"])
            ahead = torch.stack(torch._foreach_lerp(gradients, buffers, group["momentum"]))  # Nesterov's
            matrices = ahead.flatten(2).to(torch.promote_types(ahead.dtype, torch.float32))
            factor = group["scale"] * max(matrices.shape[1:]) ** 0.5
            steps = (factor * orthogonal(matrices, group["iterations"])).to(ahead.dtype).view_as(ahead)
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(parameters, list(steps.unbind(0)), alpha=-group["lr"])

    def _buffer(self, parameter: Tensor) -> Tensor:
        """The mean gradient of a matrix."""
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
            state["step"] = torch.zeros(())  # AdamW looks for it in each saved state
        buffer: Tensor = state["momentum_buffer"]
        return buffer


def layer_groups(module: nn.Module) -> list[dict[str, Any]]:
    """The parameters of a module as groups for `Muon`: weights of linear layers and convolutions, and all others.

    Args:
        module: the module.
    """
    layers = (layer for layer in module.modules() if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d))
    weights = {id(layer.weight) for layer in layers}
    return _split(module.parameters(), lambda parameter: id(parameter) in weights)


def _split(parameters: Iterable[nn.Parameter], is_weight: Callable[[nn.Parameter], bool]) -> list[dict[str, Any]]:
    """Groups of the parameters that are weights with edges of `SMALLEST` and more, and of the others."""
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for parameter in parameters:
        is_large = parameter.ndim > 1 and min(len(parameter), parameter[0].numel()) >= SMALLEST
        groups[is_large and is_weight(parameter)].append(parameter)
    return [{"params": chosen, "matrices": matrices} for matrices, chosen in groups.items() if chosen]
