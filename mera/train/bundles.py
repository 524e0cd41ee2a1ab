"""Parameters side by side in memory: an optimiser takes a few operations for all of them, not a few for each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class Bundles:
    """The parameters of groups in a few tensors, of which each parameter becomes a view.

    Matrices of one shape are stacked, (n, *shape); the other parameters of a group form one vector. A flow has hundreds
    of small parameters, and most of the time of an optimiser and of clipping goes to the number of tensors. Both act
    element by element, or matrix by matrix, so that the result is the same.

    Args:
        groups: groups of parameters, as for an optimiser; those of a group with "matrices" true are stacked.

    Attributes:
        groups: the groups with bundles in place of parameters; a group of stacks has "stacked" true.
        wholes: all bundles.
    """

    def __init__(self, groups: Iterable[Mapping[str, Any]]) -> None:
        self.groups: list[dict[str, Any]] = []
        self._members: list[list[nn.Parameter]] = []
        for group in groups:
            is_stack = bool(group.get("matrices", False))
            by_kind: dict[Any, list[nn.Parameter]] = {}
            for parameter in group["params"]:
                by_kind.setdefault((parameter.dtype, parameter.shape if is_stack else None), []).append(parameter)
            wholes = [_bundle(members, is_stack) for members in by_kind.values()]
            self.groups.append({**group, "params": wholes, "stacked": is_stack})
            self._members += by_kind.values()
        self.wholes: list[nn.Parameter] = [whole for group in self.groups for whole in group["params"]]
        bundles = zip(self.wholes, self._members, strict=True)
        self._pairs = [pair for whole, members in bundles for pair in _parts(whole, members)]
        self.attach()

    @torch.no_grad()
    def attach(self) -> None:
        """Make each parameter a view of its bundle, also after its memory was replaced, with the value it has."""
        for parameter, part in self._pairs:
            if parameter.data_ptr() != part.data_ptr():
                part.copy_(parameter)
                parameter.data = part

    def gather(self) -> None:
        """Set the gradients of the bundles from those of the parameters; a parameter without one counts as 0."""
        for whole, members in zip(self.wholes, self._members, strict=True):
            gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in members]
            whole.grad = torch.stack(gradients) if whole.ndim > 1 else _joined(gradients)

    @torch.no_grad()
    def step(self, optimizer: Optimizer) -> None:
        """Take a step of an optimiser of the bundles; parameters without a gradient stay as they are."""
        self.attach()
        still = [(part, part.clone()) for parameter, part in self._pairs if parameter.grad is None]
        optimizer.step()
        for part, value in still:
            part.copy_(value)

    def release(self) -> None:
        """Give each parameter memory of its own."""
        for parameter, _ in self._pairs:
            parameter.data = parameter.data.clone()


def _bundle(members: Sequence[nn.Parameter], is_stack: bool) -> nn.Parameter:
    """A stack of parameters, or a vector of all their entries."""
    parameters = [p.detach() for p in members]
    return nn.Parameter(torch.stack(parameters) if is_stack else _joined(parameters))


def _parts(whole: nn.Parameter, members: Sequence[nn.Parameter]) -> list[tuple[nn.Parameter, Tensor]]:
    """Each parameter with its part of a bundle, in its shape."""
    parts = whole.detach().flatten().split([p.numel() for p in members])
    return [(p, part.view(p.shape)) for p, part in zip(members, parts, strict=True)]


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])
