"""Contexts of conditional flows: the context of each event of a step, computed from the context of an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from einops import reduce
from torch import Tensor, nn

from mera._utils.checks import check_count, is_integer, is_list
from mera._utils.errors import InputError
from mera._utils.torch_private import is_wrapped_by_functorch
from mera.graph.operations import Apply, blocked
from mera.graph.plan import Plan

Context = Tensor | int | Sequence[int] | np.ndarray
"""The contexts of a batch, a tensor; or class numbers, one for all samples, a list or an array of them."""


class ContextEncoder(nn.Module):
    """Check the context of a conditional flow, and replace class numbers by a learnt vector for each class.

    Args:
        shape: the shape of a context; None for a flow without contexts.
        classes: the number of classes, or the module that has their vectors; None if a context is passed as floats, or
            if the flow does not have contexts.
        fixed: a context of one image, (1, *shape), or a class number, for which None stands; None for a flow whose
            context is not fixed.
    """

    fixed: Tensor | None

    def __init__(
        self, shape: tuple[int, ...] | None, classes: int | nn.Embedding | None = None, fixed: Context | None = None
    ) -> None:
        super().__init__()
        self.shape = shape
        if classes is not None and not isinstance(classes, nn.Embedding):
            check_count(classes, "a number of classes")
            if shape is None or len(shape) != 1:
                raise InputError("a context of shape (K,) to learn for each class", str(shape))
            classes = nn.Embedding(classes, shape[0])
        self.embedding = classes
        self.register_buffer("fixed", None, persistent=False)
        if fixed is not None:
            with torch.inference_mode(False), torch.no_grad():  # passes with gradients may follow
                self(fixed, 1)
                self.fixed = cast(Tensor, self.as_tensor(fixed)).clone()

    @property
    def classes(self) -> int | None:
        """The number of classes to choose from; None for a flow without classes, or with a fixed one."""
        return None if self.embedding is None or not self.needs_context else self.embedding.num_embeddings

    @property
    def needs_context(self) -> bool:
        """Return whether a context must be passed: the flow is conditional, and its context is not fixed."""
        return self.shape is not None and self.fixed is None

    def as_tensor(self, context: Context | None) -> Any:
        """The class numbers of a flow with classes as a tensor, (1,) for one number; any other context as it is."""
        if isinstance(context, Tensor):
            return context[None] if self.embedding is not None and context.ndim == 0 else context
        numbers = context.tolist() if isinstance(context, np.ndarray) else context
        numbers = [numbers] if is_integer(numbers) else numbers
        if self.embedding is None or not is_list(numbers) or not all(map(is_integer, numbers)):
            return context
        return torch.tensor(numbers, dtype=torch.int64, device=self.embedding.weight.device)

    def forward(self, context: Context | None, n: int, device: torch.device | None = None) -> Tensor | None:
        """Check a context, and return it as floats.

        Args:
            context: floats (B, *shape), or class numbers for a flow with classes, see `as_tensor`, with B = n or 1;
                None for a flow without context, or with a fixed one.
            n: the number of samples.
            device: the device on which the context must be; None to accept any device.

        Returns:
            Floats (B, *shape); None for a flow without context.

        Raises:
            ValueError: if the context is missing, of another shape, dtype or device, or passed to a flow without
                context or with a fixed one; or if a class number is out of range, which is only checked on the CPU,
                since the check would synchronize with any other device.
        """
        if context is not None and not self.needs_context:
            reason = "was built without" if self.shape is None else "has a fixed one, by flow.given"
            raise InputError(f"no context, as the flow {reason}", "one")
        if self.shape is None:
            return None
        context = self.fixed if context is None else self.as_tensor(context)
        event_shape = self.shape if self.embedding is None else ()
        expected = f"(B, {', '.join(map(str, self.shape))})" if self.embedding is None else "B class numbers"
        if not isinstance(context, Tensor):
            got = "none" if context is None else type(context).__name__
            raise InputError(f"a context, {expected}, as the flow is conditional", got)
        if device is not None and context.device != device:
            raise InputError(f"a context on {device}, where the flow is", str(context.device))
        is_batch = context.ndim == 1 + len(event_shape) and len(context) in (1, n)
        if not is_batch or tuple(context.shape[1:]) != event_shape:
            is_one_hot = self.classes is not None and context.ndim == 2 and context.shape[1] == self.classes
            mend = "; of one-hot rows they are context.argmax(1)" if is_one_hot else ""
            raise InputError(f"a context, {expected}, for B = {n} or 1", f"{tuple(context.shape)}{mend}")
        if self.embedding is None:
            if not context.is_floating_point():
                raise InputError("a context of floats", str(context.dtype))
            return context
        if context.is_floating_point() or context.is_complex() or context.dtype == torch.bool:
            raise InputError("class numbers, integers", str(context.dtype))
        context = context.long()  # an embedding does not accept integers of 8 or 16 bits
        classes = self.embedding.num_embeddings
        is_cheap_to_read = (
            not torch.compiler.is_compiling()
            and not is_wrapped_by_functorch(context)  # torch.func.vmap does not allow reading values
            and context.device.type == "cpu"
        )
        if is_cheap_to_read and len(context) and not 0 <= context.min() <= context.max() < classes:
            got = f"{context.min().item()} to {context.max().item()}"
            raise InputError(f"class numbers from 0 to {classes - 1}", got)
        return self.embedding(context)


def event_context(plan: Plan, operation: Apply, context: Tensor) -> Tensor:
    """The context of each event, (B * events, *shape), from contexts (B, *plan.context).

    A context of a whole image is repeated for all events of the image. A context at each pixel is cut into events like
    the image; on a coarser lattice, the context of a site is the mean over the pixels of its cell.
    """
    if plan.context is None or len(plan.context) == 1:
        return context.repeat_interleave(operation.events, dim=0)
    cell = tuple(n // coarse for n, coarse in zip(plan.input.shape, operation.lattice.shape, strict=True))
    if max(cell) > 1:
        blocks, outer, inner = blocked(operation.lattice.dim, "s")
        sizes = dict(zip(inner.split(), cell, strict=True))
        context = reduce(context, f"b k {blocks} -> b k {outer}", "mean", **sizes)
    return operation.gather(context)[0]
