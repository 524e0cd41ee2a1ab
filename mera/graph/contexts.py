"""From what a user passes as context to the context of each event."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from mera._utils.checks import is_integer
from mera.graph.actions import Apply
from mera.graph.executor import event_context
from mera.graph.plan import Plan, Step

__all__ = ["Conditions"]


class Conditions(nn.Module):
    """What a flow is conditional on: nothing, numbers, or a class, for each of which numbers are learnt.

    Args:
        plan: of the flow.
        classes: how many; None if the context is numbers, or if there is none.

    Raises:
        ValueError: if there are classes but no context for them.
    """

    def __init__(self, plan: Plan, classes: int | None = None) -> None:
        super().__init__()
        self.plan, self.classes = plan, classes
        if classes is None:
            self.embedding = None
            return
        if not is_integer(classes) or classes < 1:
            raise ValueError(f"Expected a positive number of classes; got {classes!r}")
        if plan.context is None or len(plan.context) != 1:
            raise ValueError(f"Expected a context of shape (K,) to learn for each class; got {plan.context}")
        self.embedding = nn.Embedding(classes, plan.context[0])

    def forward(
        self, context: Tensor | None, like: Tensor, takes: Callable[[Step], bool]
    ) -> Callable[[Step], Tensor | None]:
        """The function from a step to the context of its events, for a batch such as `like`.

        Args:
            context: what the user passed.
            like: data or latents; the context gets their dtype.
            takes: whether the bijector of a step takes a context.

        Raises:
            ValueError: if a context is missing, not of its shape, elsewhere, or given where there is none.
        """
        values = self.values(context, like.shape[0], like.device)
        if values is None:
            return lambda step: None
        values = values.to(like.dtype).expand(like.shape[0], *values.shape[1:])
        known: dict[Apply, Tensor] = {}

        def given(step: Step) -> Tensor | None:
            action = step.action
            if not isinstance(action, Apply) or not takes(step):
                return None
            if action not in known:
                known[action] = event_context(self.plan, action, values)
            return known[action]

        return given

    def values(self, context: Tensor | None, n: int, device: torch.device | None = None) -> Tensor | None:
        """The numbers (B, *plan.context) or (1, *plan.context) behind a context for `n` samples; None if there is none.

        Raises:
            ValueError: as for `forward`.
        """
        shape = self.plan.context
        if shape is None:
            if context is not None:
                raise ValueError("Expected no context, as the flow was built without; got one")
            return None
        wanted = "B class numbers" if self.embedding is not None else f"(B, {', '.join(map(str, shape))})"
        if not isinstance(context, Tensor):
            got = "none" if context is None else type(context).__name__
            raise ValueError(f"Expected a context, {wanted}, as the flow is conditional; got {got}")
        if device is not None and context.device != device:
            raise ValueError(f"Expected a context on {device}, where the flow is; got {context.device}")
        event = () if self.embedding is not None else shape
        if tuple(context.shape[1:]) != event or context.ndim != 1 + len(event) or len(context) not in (1, n):
            raise ValueError(f"Expected a context, {wanted}, for B = {n} or 1; got {tuple(context.shape)}")
        if self.embedding is None:
            if not context.is_floating_point():
                raise ValueError(f"Expected a context of floats; got {context.dtype}")
            return context
        if context.is_floating_point() or context.dtype == torch.bool:
            raise ValueError(f"Expected class numbers, integers; got {context.dtype}")
        eager = (
            context.device.type == "cpu" and not torch.compiler.is_compiling()
        )  # a look at a GPU's numbers takes long
        if eager and len(context) and not 0 <= context.min() <= context.max() < cast(int, self.classes):
            got = f"{context.min().item()} to {context.max().item()}"
            raise ValueError(f"Expected class numbers from 0 to {cast(int, self.classes) - 1}; got {got}")
        return self.embedding(context)
