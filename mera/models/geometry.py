"""From options of models to shapes, numbers of levels, and values for each RG step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mera._utils.checks import is_integer
from mera._utils.errors import InputError
from mera.models.options import Edges, Hidden, PerStep

__all__ = [
    "context_shape",
    "hidden_per_step",
    "integers_per_step",
    "lattice_shape",
    "levels",
    "options_per_step",
]
MOST = 10_000
"""The most layers or residual blocks of an RG step: a file that asks for a million of them would run for minutes."""


def lattice_shape(L: Edges, dim: int) -> tuple[int, ...]:
    """All edges of a lattice, from one edge and a number of dimensions, or from all edges.

    Raises:
        ValueError: if there are no positive edges, or `dim` is not 1, 2 or 3.
    """
    if not is_integer(dim) or dim not in (1, 2, 3):
        raise InputError("dim 1, 2 or 3", repr(dim))
    edges = tuple(L) if isinstance(L, Sequence) else (L,) * dim
    if not edges or not all(is_integer(n) and n > 0 for n in edges):
        raise ValueError(f"Expected L as a positive integer or all edges of the lattice; got {L!r}")
    return edges


def levels(shape: Sequence[int], m: int, stride: int = 2) -> int:
    """How many levels there are until the lattice, divided by `stride` at each level, is `m` wide.

    Args:
        shape: the edges of the lattice.
        m: the width of the topmost lattice.
        stride: what the edges are divided by.

    Raises:
        ValueError: if the smallest edge is not m times a power of the stride, or that power does not divide the others.
    """
    smallest, width, count = min(shape), m, 1
    while width < smallest:
        width, count = width * stride, count + 1
    if width != smallest or any(n % width for n in shape):
        how = "halve" if stride == 2 else f"divide by {stride}"
        edges = "x".join(map(str, shape))
        raise ValueError(f"Expected edges that {how} to the kernel m={m}, so that L = {m} * {stride}^h; got {edges}")
    return count


def context_shape(context: Edges | None, classes: int | None, shape: Sequence[int]) -> tuple[int, ...] | None:
    """The shape of a context; (16,) for a flow that is conditional on classes and has no `context`.

    Raises:
        ValueError: if it is no such shape.
    """
    if context is None:
        return None if classes is None else (16,)
    sizes = tuple(context) if isinstance(context, Sequence) else (context,)
    if not sizes or not all(is_integer(n) and n > 0 for n in sizes) or sizes[1:] not in ((), tuple(shape)):
        raise ValueError(f"Expected a context K, or (K, {', '.join(map(str, shape))}) for each pixel; got {context!r}")
    return sizes


def integers_per_step(value: PerStep, steps: int, what: str) -> tuple[int, ...]:
    """One positive integer for each RG step, finest first.

    Raises:
        ValueError: if there are not so many, or one is not from 1 to 10,000.
    """
    values = tuple(value) if isinstance(value, Sequence) else (value,) * steps
    if len(values) != steps or not all(is_integer(v) and v > 0 for v in values):
        raise InputError(f"{what} as one positive integer or one for each of {steps} RG steps", repr(value))
    if max(values) > MOST:
        raise InputError(f"{what} up to {MOST:,}", repr(value))
    return values


def hidden_per_step(value: Hidden, steps: int) -> tuple[tuple[int, ...], ...]:
    """The widths of the hidden layers in a residual block, for each RG step, finest first.

    Raises:
        ValueError: if there are not so many rows of widths, or a width is not positive.
    """
    if not isinstance(value, Sequence):
        raise ValueError(f"Expected hidden as a tuple of widths; got {value!r}")
    nested = len(value) > 0 and all(isinstance(widths, Sequence) for widths in value)
    rows: Sequence[Any] = value if nested else (value,) * steps
    values = tuple(tuple(widths) for widths in rows)
    if len(values) != steps or not all(ws and all(is_integer(w) and w > 0 for w in ws) for ws in values):
        raise ValueError(
            f"Expected hidden as a tuple of positive widths, or a list of {steps} such tuples; got {value!r}"
        )
    return values


def options_per_step(steps: int, layers: PerStep, residual_blocks: PerStep, hidden: Hidden) -> list[dict[str, Any]]:
    """The options `layers`, `residual_blocks` and `hidden` for each RG step, finest first, by name.

    Raises:
        ValueError: if one has a value that makes no sense.
    """
    rows = zip(
        integers_per_step(layers, steps, "layers"),
        integers_per_step(residual_blocks, steps, "residual_blocks"),
        hidden_per_step(hidden, steps),
        strict=True,
    )
    return [{"layers": n, "residual_blocks": blocks, "hidden": widths} for n, blocks, widths in rows]
