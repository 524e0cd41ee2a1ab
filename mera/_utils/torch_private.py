"""Every private or deprecated name of torch that this package uses, what it is for, and what happens without it.

A new version of torch that drops one of them breaks this file and no other.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import ExpTransform

__all__ = [
    "INVERSE_TRANSFORM",
    "TracerWarning",
    "compile_kinds",
    "has_recorder",
    "is_called_plainly",
    "is_recording",
    "is_wrapped_by_functorch",
    "record",
    "without_fusion",
]

# The recorder, torch.jit.trace: deprecated as a way to deploy models since torch 2.9. `mera.cones.recording` replays
# recordings of short functions, for which torch.compile takes a hundred times longer to prepare. Without the recorder
# functions run eagerly: the same values, slower.

_jit = getattr(torch, "jit", None)

TracerWarning: type[Warning] = getattr(_jit, "TracerWarning", UserWarning)
"""What the recorder warns with when a function looks at its data."""


def has_recorder() -> bool:
    """Whether this torch can record functions."""
    return hasattr(_jit, "trace")


def record(function: Callable[..., Any], examples: tuple[Tensor, ...]) -> Callable[..., Any]:
    """A recording of the operations of a function.

    Raises:
        RuntimeError: if this torch has no recorder.
    """
    if not has_recorder():
        raise RuntimeError("Expected a torch with a recorder, torch.jit.trace; got one without")
    return torch.jit.trace(function, examples, check_trace=False)


def is_recording() -> bool:
    """Whether a function is being recorded, which then may not look at shapes."""
    return has_recorder() and torch.jit.is_tracing()


def without_fusion() -> AbstractContextManager[Any]:
    """A context in which recordings run as they are: the passes that fuse operations cost more than they save."""
    return torch.jit.optimized_execution(False)


def is_wrapped_by_functorch(tensor: Tensor) -> bool:
    """Whether torch.func.vmap, grad or jvp wrap a tensor; there is no public way to ask.

    Without this name, wrapped tensors would be recorded; `record` fails on them, and the function runs eagerly.
    """
    functorch = getattr(torch._C, "_functorch", None)
    return functorch is not None and functorch.is_functorch_wrapped_tensor(tensor)


def is_called_plainly(module: nn.Module) -> bool:
    """Whether calling a module runs its forward and nothing else: no hooks, no compiled code.

    Fused code runs the forward of several modules at once, and must not where a user watches one of them. Without
    these names a module counts as watched: it is called by itself, which is slower.
    """
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    unset: dict[str, Any] = {"unknown": True}
    return (
        not any(getattr(module, name, unset) for name in hooks) and getattr(module, "_compiled_call_impl", True) is None
    )


def compile_kinds(limit: int) -> AbstractContextManager[Any]:
    """A context in which torch.compile makes up to `limit` versions of one function, for modules of many shapes."""
    return torch._dynamo.config.patch(cache_size_limit=limit)


INVERSE_TRANSFORM = type(ExpTransform().inv)
"""The class of the inverses of `torch.distributions` transforms, which has no public name."""
