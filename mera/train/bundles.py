"""Parameters side by side in memory: an optimiser takes a few operations for all of them, not a few for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class _Bundle(NamedTuple):
    """A tensor, the parameters that are views of it, and its parts in their shapes, with their addresses."""

    whole: nn.Parameter
    members: list[nn.Parameter]
    parts: list[tuple[Tensor, int]]


class Bundles:
    """Let an optimiser step on a few tensors, of which the parameters with gradients become views.

    Matrices of one shape are stacked, (n, *shape); the other parameters of a group form a vector. A flow has hundreds
    of small parameters, and most of the time of an optimiser and of clipping goes to the number of tensors. Muon, AdamW
    and clipping act on single entries or on single matrices, so that weights are the same to rounding. Bundles are made
    anew when parameters get or lose their gradients, and of parameters with as many steps.

    Args:
        optimizer: Muon or AdamW, whose groups with "matrices" true are stacked.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self._groups: list[list[nn.Parameter]] = [list(group["params"]) for group in optimizer.param_groups]
        self._parameters = [parameter for group in self._groups for parameter in group]
        self._bundles: list[_Bundle] = []
        self._have_gradients: list[bool] = []

    @property
    def wholes(self) -> list[nn.Parameter]:
        """All bundles."""
        return [bundle.whole for bundle in self._bundles]

    @torch.no_grad()
    def gather(self) -> None:
        """Set the gradients of the bundles from those of the parameters, which become views if they are not yet."""
        have_gradients = [parameter.grad is not None for parameter in self._parameters]
        if have_gradients != self._have_gradients:
            self.unbundle()
            self._bundle()
            self._have_gradients = have_gradients
        for whole, members, parts in self._bundles:
            for parameter, (part, address) in zip(members, parts, strict=True):
                if parameter.data_ptr() != address:  # somebody replaced its memory
                    part.copy_(parameter)
                    parameter.data = part
            whole.grad = _joined([parameter.grad for parameter in members], whole.ndim > 1)

    def step(self) -> None:
        """Take a step of the optimiser, and forget the gradients of the bundles."""
        self.optimizer.step()
        for bundle in self._bundles:
            bundle.whole.grad = None

    def unbundle(self) -> None:
        """Give groups and state of the optimiser the form that they have for single parameters."""
        state = self.optimizer.state
        for whole, members, _ in self._bundles:
            joined = state.pop(whole, {})
            for i, part in enumerate(zip(*(_split(joined, key, members) for key in joined), strict=True)):
                state[members[i]] = dict(zip(joined, part, strict=True))
        for group, parameters in zip(self.optimizer.param_groups, self._groups, strict=True):
            group["params"] = list(parameters)
            if "matrices" in group:
                group["stacked"] = False
        self._bundles, self._have_gradients = [], []

    def release(self) -> None:
        """Undo the bundles, and give each parameter memory of its own."""
        self.unbundle()
        for parameter in self._parameters:
            if parameter.untyped_storage().nbytes() > parameter.numel() * parameter.element_size():
                parameter.data = parameter.data.clone()

    def _bundle(self) -> None:
        """Put bundles of the parameters with gradients, and their joined state, into the optimiser."""
        state = self.optimizer.state
        for group, parameters in zip(self.optimizer.param_groups, self._groups, strict=True):
            is_stack = bool(group.get("matrices", False))
            by_kind: dict[Any, list[nn.Parameter]] = {}
            for parameter in parameters:
                if parameter.grad is not None:
                    steps = float(state.get(parameter, {}).get("step", 0))
                    kind = parameter.dtype, parameter.shape if is_stack else None, steps
                    by_kind.setdefault(kind, []).append(parameter)
            bundles = [_made(members, is_stack) for members in by_kind.values()]
            for whole, members, _ in bundles:
                states = [state.pop(parameter, {}) for parameter in members]
                keys = dict.fromkeys(key for own in states for key in own)
                state[whole] = {key: _join(key, states, members, is_stack) for key in keys}
            group["params"] = [bundle.whole for bundle in bundles]
            if "matrices" in group:
                group["stacked"] = is_stack
            self._bundles += bundles


def _made(members: list[nn.Parameter], is_stack: bool) -> _Bundle:
    """The bundle of parameters, which become views of it."""
    whole = nn.Parameter(_joined([p.detach() for p in members], is_stack))
    parts = [part.view(p.shape) for part, p in zip(_flat_parts(whole.detach(), members), members, strict=True)]
    for parameter, part in zip(members, parts, strict=True):
        parameter.data = part
    return _Bundle(whole, members, [(part, part.data_ptr()) for part in parts])


def _joined(tensors: Sequence[Any], is_stack: bool) -> Tensor:
    """A stack of tensors, or a vector of all their entries."""
    return torch.stack(tuple(tensors)) if is_stack else torch.cat([tensor.reshape(-1) for tensor in tensors])


def _flat_parts(whole: Tensor, members: Sequence[nn.Parameter]) -> tuple[Tensor, ...]:
    return whole.flatten().split([parameter.numel() for parameter in members])


def _join(key: str, states: Sequence[dict[str, Tensor]], members: Sequence[nn.Parameter], is_stack: bool) -> Tensor:
    """An entry of the state of a bundle: one number of steps for all members, and means, which begin at 0."""
    if key == "step":
        return states[0][key]
    pairs = zip(states, members, strict=True)
    return _joined([own[key] if key in own else torch.zeros_like(parameter) for own, parameter in pairs], is_stack)


def _split(joined: dict[str, Tensor], key: str, members: Sequence[nn.Parameter]) -> list[Tensor]:
    """An entry of the state of each member."""
    if key == "step":
        return [joined[key].clone() for _ in members]
    pairs = zip(_flat_parts(joined[key], members), members, strict=True)
    return [part.view(parameter.shape).clone() for part, parameter in pairs]
