"""Recordings: a function's operations are recorded once by torch, and then replayed without Python."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from mera._utils.torch_private import TracerWarning, WithoutData, is_transformed, record, without_fusion

RECORDED_AT_CALL = 2
"""The number of the call with the same shapes at which the function is recorded, which takes a fraction of a second."""
MAX_RECORDINGS = 8
"""The number of recordings that are kept, one for each set of shapes."""


class Recorded:
    """Record a function of tensors that is called often on little data, where Python takes longer than arithmetic.

    The function is recorded at the second call with arguments of the same shapes, dtypes and devices, and later calls
    replay the recording; gradients flow through the recording as through the function. A function that looks at its
    data, or that torch cannot record, is never replayed, since a recording would not look again.

    torch deprecates its recorder (`torch.jit.trace`) as a way to deploy models. It is used here because it takes a
    quarter of a second where `torch.compile` takes half a minute. Without the recorder, all values would be the same
    but evaluation would be slower.

    Args:
        function: from tensors to a tensor or a tuple of tensors. Other objects that the function reads must not change.
        enabled: whether to record; a recording would save all values that `torch.utils.checkpoint` does not save.
    """

    def __init__(self, function: Callable[..., Any], enabled: bool = True) -> None:
        self.function, self.enabled = function, enabled
        self._calls: Counter[Any] = Counter()
        self._recordings: dict[Any, Callable[..., Any] | None] = {}
        self._lock = Lock()  # threads may call, and one of them records

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle the function alone, as torch cannot pickle recordings."""
        return Recorded, (self.function, self.enabled)

    def __call__(self, *tensors: Tensor) -> Any:
        """Evaluate the function, from a recording if there is one for the shapes, dtypes and devices of `tensors`."""
        if not self.enabled or any(is_transformed(t) or torch.is_autocast_enabled(t.device.type) for t in tensors):
            return self.function(*tensors)  # where a recording is not valid
        key = tuple((tuple(t.shape), t.dtype, t.device) for t in tensors)
        with self._lock:
            if key not in self._recordings:
                self._count(key, tensors)
            recording = self._recordings.get(key)
        if recording is None:
            return self.function(*tensors)
        with without_fusion():
            if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
                return recording(*tensors)
            with torch.inference_mode():  # each of its hundreds of operations is faster
                found = recording(*tensors)
            return found.clone() if isinstance(found, Tensor) else tuple(value.clone() for value in found)

    def _count(self, key: Any, tensors: tuple[Tensor, ...]) -> None:
        """Count a call without a recording; at call number `RECORDED_AT_CALL`, record the function."""
        self._calls[key] += 1
        if self._calls[key] < RECORDED_AT_CALL:
            return
        self._recordings[key] = _record(self.function, tensors)
        if len(self._recordings) > MAX_RECORDINGS:  # the oldest recording; made again after RECORDED_AT_CALL calls
            oldest = next(iter(self._recordings))
            del self._recordings[oldest], self._calls[oldest]


def _record(function: Callable[..., Any], tensors: tuple[Tensor, ...]) -> Callable[..., Any] | None:
    """A recording of the function, or None if a recording would not reproduce its values and gradients."""
    with warnings.catch_warnings(), torch.inference_mode(False), torch.enable_grad():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", TracerWarning)  # the function looked at its data
        examples = tuple(t.detach().clone().requires_grad_() for t in tensors)
        try:
            recording = record(function, examples)
            with without_fusion():
                replayed = _value_and_gradients(recording, examples)
            with WithoutData():
                expected = _value_and_gradients(function, examples)
            pairs = zip(replayed, expected, strict=True)
            faithful = all(a.shape == b.shape and _close(a, b) for a, b in pairs)
        except Exception:  # whatever the reason, the function itself still works
            return None
    return recording if faithful else None


def _value_and_gradients(function: Callable[..., Any], tensors: tuple[Tensor, ...]) -> list[Tensor]:
    """The values of a function and the gradients of their sum, all of which a recording must reproduce.

    A recording does not know, for example, where gradients were switched off within the function.
    """
    values = function(*tensors)
    values = [values] if isinstance(values, Tensor) else list(values)
    total = torch.stack([value.double().sum() for value in values]).sum()
    return values + list(torch.autograd.grad(total, tensors, materialize_grads=True))


def _close(a: Tensor, b: Tensor) -> bool:
    """Return whether two results differ by rounding at most, with NaN and infinite values at the same places."""
    if not a.numel():
        return a.shape == b.shape
    rounding = 1000 * torch.finfo(b.dtype).eps
    size = b.detach().nan_to_num(0, 0, 0).abs().max().item()
    return torch.allclose(a, b, rtol=rounding, atol=rounding * size, equal_nan=True)
