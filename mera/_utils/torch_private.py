"""Private or deprecated names of torch, the purpose of each, and the behaviour without it.

If a new version of torch drops one of these names, only this file has to change.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

# The recorder is torch.jit.trace, deprecated as a way to deploy models since torch 2.9. `mera.cones.recording` replays
# recordings of short functions; torch.compile would take a hundred times longer to prepare them. Without the recorder
# these functions run eagerly, with the same values, but slower.

_jit = getattr(torch, "jit", None)

# torch.jit.trace keeps each recording, with all tensors that the function reads, until the process ends. Its two halves
# make a recording that is freed with its last reference.

_create_graph: Callable[..., Any] | None = getattr(torch._C, "_create_graph_by_tracing", None)
_create_function: Callable[..., Any] | None = getattr(torch._C, "_create_function_from_graph", None)

TracerWarning: type[Warning] = getattr(_jit, "TracerWarning", UserWarning)
"""The warning of the recorder about a function whose operations depend on the values of its tensors."""


def record(function: Callable[..., Any], examples: tuple[Tensor, ...]) -> Callable[..., Any]:
    """Record the operations of a function of tensors, which is called once with the examples."""
    if _create_graph is None or _create_function is None:
        raise RuntimeError("Expected a torch with a recorder; got one without")
    with _PlainShapes():
        graph, _ = _create_graph(function, examples, lambda tensor: "", True, False, None, [])
    for name in ("peephole", "constant_propagation", "cse", "dce"):  # what depends on shapes alone becomes a constant
        getattr(torch._C, f"_jit_pass_{name}", lambda graph: None)(graph)
    return _create_function("recording", graph)


class _PlainShapes(TorchFunctionMode):
    """A mode in which shapes are Python's integers, constants of a recording; otherwise torch records them as tensors.

    A recording is of one set of shapes, so that the recorded code may look at shapes as it does elsewhere.
    """

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of torch, unrecorded if it returns a shape."""
        if function not in _OF_SHAPE:
            return function(*args, **(kwargs or {}))
        state = torch._C._get_tracing_state()
        torch._C._set_tracing_state(None)  # type: ignore[attr-defined]
        try:
            return function(*args, **(kwargs or {}))
        finally:
            torch._C._set_tracing_state(state)  # type: ignore[attr-defined]


class WithoutData(TorchDispatchMode):
    """A mode that refuses operations whose shapes, or results in Python, depend on data: a recording freezes them."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call an operation of torch, unless it looks at data."""
        shape_of_data = torch.Tag.dynamic_output_shape in function.tags
        if shape_of_data and function is torch.ops.aten.index.Tensor:  # only if an index is a mask
            shape_of_data = any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])
        if shape_of_data or torch.Tag.data_dependent_output in function.tags:
            raise RuntimeError(f"Expected operations that do not look at data; got {function}")
        return function(*args, **(kwargs or {}))


_OF_SHAPE: Any = {Tensor.shape.__get__, Tensor.size, Tensor.numel, Tensor.__len__}  # type: ignore[attr-defined]


def without_fusion() -> AbstractContextManager[Any]:
    """A context in which recordings run unoptimised: fusing their operations costs more time than it saves."""
    return torch.jit.optimized_execution(False)


def is_wrapped_by_functorch(tensor: Tensor) -> bool:
    """Return whether a tensor is wrapped by torch.func.vmap, grad or jvp, for which torch has no public function.

    Without this name the answer is False; recording a function of wrapped tensors then fails, and it runs eagerly.
    """
    functorch = getattr(torch._C, "_functorch", None)
    return functorch is not None and functorch.is_functorch_wrapped_tensor(tensor)


def is_transformed(tensor: Tensor) -> bool:
    """Return whether operations on a tensor are compiled, mapped by torch.func, or differentiated in forward mode.

    Only plain operations work for such tensors.
    """
    return (
        torch.compiler.is_compiling()
        or is_wrapped_by_functorch(tensor)
        or forward_ad.unpack_dual(tensor).tangent is not None
    )


def is_called_plainly(module: nn.Module) -> bool:
    """Return whether calling a module runs its `forward` and nothing else: it has no hooks and is not compiled.

    Fused code runs the forward passes of several modules at once, and would skip their hooks and compiled code.
    Without these names the answer is False: modules are then called one by one, which is slower.
    """
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    unset: dict[str, Any] = {"unknown": True}
    has_hooks = any(getattr(module, name, unset) for name in hooks)
    return not has_hooks and getattr(module, "_compiled_call_impl", True) is None
