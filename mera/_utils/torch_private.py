"""Private or deprecated names of torch, the purpose of each, and the behaviour without it.

If a new version of torch drops one of these names, only this file and `torch_graphs.py` have to change.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.distributions import ExpTransform

from mera._utils.files import write_atomically
from mera._utils.torch_graphs import simplify

# The recorder is torch.jit.trace, deprecated as a way to deploy models since torch 2.9. `mera.cones.recording` replays
# recordings of short functions; torch.compile would take a hundred times longer to prepare them. Without the recorder
# these functions run eagerly, with the same values, but slower.

_jit = getattr(torch, "jit", None)

# torch.jit.trace keeps each recording, with all tensors that the function reads, until the process ends. Its two halves
# make a recording that is freed with its last reference. Without them, memory grows with each recording.

_create_graph: Callable[..., Any] | None = getattr(torch._C, "_create_graph_by_tracing", None)
_create_function: Callable[..., Any] | None = getattr(torch._C, "_create_function_from_graph", None)

_is_tracing: Callable[[], bool] = getattr(_jit, "is_tracing", lambda: False)

TracerWarning: type[Warning] = getattr(_jit, "TracerWarning", UserWarning)
"""The warning of the recorder about a function whose operations depend on the values of its tensors."""


def record(function: Callable[..., Any], examples: tuple[Tensor, ...]) -> Callable[..., Any]:
    """Record the operations of a function of tensors, which is called once with the examples.

    Returns:
        The recording, a function of tensors of the same shapes.
    """
    if not hasattr(_jit, "trace"):
        raise RuntimeError("Expected a torch with a recorder, torch.jit.trace; got one without")
    if _create_graph is None or _create_function is None:
        return torch.jit.trace(function, examples, check_trace=False)
    graph, _ = _create_graph(function, examples, lambda tensor: "", True, False, None, [])
    simplify(graph)
    return _create_function("recording", graph)


def compile_ahead(
    function: Callable[[Tensor], Tensor], example: Tensor, path: Path | None = None, key: str = ""
) -> Callable[[Tensor], Tensor]:
    """Compile a function of one tensor to machine code that runs without Python, by torch's AOTInductor.

    All later arguments must have the shape of the example; the compiled function has no gradients.

    Args:
        function: the function.
        example: its argument.
        path: a file for the compiled function, for `load_ahead`; None to keep it in memory alone.
        key: text in the file, which `load_ahead` compares: the shape of the argument, which compiled code cannot check.
            The instruction set of the processor is compared too.
    """

    class AsModule(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return function(x)

    with torch.no_grad(), tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of torch about its own parts
        program = torch.export.export(AsModule(), (example,))
        options = {"aot_inductor.metadata": {"key": _with_processor(key)}}
        package = torch._inductor.aoti_compile_and_package(
            program, package_path=f"{folder}/function.pt2", inductor_configs=options
        )
        compiled = _load(Path(package), example.device)
        if path is not None:
            write_atomically(path, Path(package).read_bytes())
        return compiled


def load_ahead(path: Path, key: str, device: torch.device) -> Callable[[Tensor], Tensor] | None:
    """Load a function that `compile_ahead` wrote with a key; None for a file with another key, or of another kind.

    torch's own `aoti_load_package` imports the compiler and tries it out first, which takes two seconds or more.
    """
    read = torch._C._aoti.AOTIModelPackageLoader.load_metadata_from_package  # type: ignore[attr-defined]
    try:
        same = read(str(path), "model").get("key") == _with_processor(key)
        return _load(path, device) if same else None  # not before: a library runs code when it is loaded
    except RuntimeError:
        return None


def _load(path: Path, device: torch.device) -> Callable[[Tensor], Tensor]:
    index = -1 if device.index is None else device.index
    loader = torch._C._aoti.AOTIModelPackageLoader(str(path), "model", False, 1, index)
    return lambda tensor: loader.boxed_run([tensor])[0]


def _with_processor(key: str) -> str:
    """A key with the instructions of the processor, as far as torch reports them."""
    instructions: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return f"{key}, {sorted(name for name, has in instructions.items() if has is True)}"


def is_recording() -> bool:
    """Whether a function is being recorded; code must not branch on the shapes of tensors then."""
    return _is_tracing()


def without_fusion() -> AbstractContextManager[Any]:
    """A context in which recordings run unoptimised: fusing their operations costs more time than it saves."""
    return torch.jit.optimized_execution(False)


@contextmanager
def recording_paused() -> Iterator[None]:
    """A context whose operations are not recorded; its results are constants of the recording."""
    state = torch._C._get_tracing_state()
    torch._C._set_tracing_state(None)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch._C._set_tracing_state(state)  # type: ignore[attr-defined]


def is_wrapped_by_functorch(tensor: Tensor) -> bool:
    """Whether a tensor is wrapped by torch.func.vmap, grad or jvp, for which torch has no public function.

    Without this name the answer is False; recording a function of wrapped tensors then fails, and it runs eagerly.
    """
    functorch = getattr(torch._C, "_functorch", None)
    return functorch is not None and functorch.is_functorch_wrapped_tensor(tensor)


def is_transformed(tensor: Tensor) -> bool:
    """Whether operations on a tensor are compiled, mapped by torch.func, or differentiated in forward mode.

    Only plain operations work for such tensors.
    """
    return (
        torch.compiler.is_compiling()
        or is_wrapped_by_functorch(tensor)
        or forward_ad.unpack_dual(tensor).tangent is not None
    )


def is_called_plainly(module: nn.Module) -> bool:
    """Whether calling a module runs its `forward` and nothing else: it has no hooks and is not compiled.

    Fused code runs the forward passes of several modules at once, and would skip their hooks and compiled code.
    Without these names the answer is False: modules are then called one by one, which is slower.
    """
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    unset: dict[str, Any] = {"unknown": True}
    has_hooks = any(getattr(module, name, unset) for name in hooks)
    return not has_hooks and getattr(module, "_compiled_call_impl", True) is None


INVERSE_TRANSFORM = type(ExpTransform().inv)
"""The class of the inverses of `torch.distributions` transforms, which has no public name."""
