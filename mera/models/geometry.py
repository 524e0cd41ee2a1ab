"""Functions that turn options of models into shapes, numbers of levels, and values for each RG step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mera._utils.checks import is_integer
from mera._utils.errors import InputError
from mera.names.flow_options import Edges, Hidden, PerStep

MOST = 10_000
"""The most layers or residual blocks of an RG step; a file that asks for a million of them would load for minutes."""


def lattice_shape(L: Edges, dim: int) -> tuple[int, ...]:
    """The shape of the lattice of a model.

    Args:
        L: the length of all edges, or of each edge.
        dim: the number of dimensions if L is one number.

    Raises:
        ValueError: if an edge is not a positive integer, there is none, or `dim` is not 1, 2 or 3.
    """
    if not is_integer(dim) or dim not in (1, 2, 3):
        raise InputError("dim 1, 2 or 3", repr(dim))
    edges = tuple(L) if isinstance(L, Sequence) else (L,) * dim
    if not edges or not all(is_integer(n) and n > 0 for n in edges):
        raise InputError("L as a positive integer or all edges of the lattice", repr(L))
    return edges


def levels(shape: Sequence[int], m: int, stride: int = 2) -> int:
    """The number of levels of a lattice whose edges are divided at each level, until the smallest edge is m.

    Args:
        shape: the edges of the lattice.
        m: the smallest edge of the topmost lattice.
        stride: the divisor.

    Raises:
        ValueError: if the smallest edge is not m times a power of the stride, or it does not divide the other edges.
    """
    smallest, width, count = min(shape), m, 1
    while width < smallest:
        width, count = width * stride, count + 1
    if width != smallest or any(n % width for n in shape):
        how = "halve" if stride == 2 else f"divide by {stride}"
        edges = "x".join(map(str, shape))
        raise InputError(f"edges that {how} to the kernel m={m}, so that L = {m} * {stride}^h", str(edges))
    return count


def context_shape(context: Edges | None, classes: int | None, shape: Sequence[int]) -> tuple[int, ...] | None:
    """The shape of the context of a model; None if the model is not conditional.

    Args:
        context: the option of that name: K, (K,) or (K, *shape); None if it was not set.
        classes: the option of that name; with classes and without `context`, the shape is (16,).
        shape: the shape of the lattice.

    Raises:
        ValueError: if `context` is of another form.
    """
    if context is None:
        return None if classes is None else (16,)
    sizes = tuple(context) if isinstance(context, Sequence) else (context,)
    if not sizes or not all(is_integer(n) and n > 0 for n in sizes) or sizes[1:] not in ((), tuple(shape)):
        raise InputError(f"a context K, or (K, {', '.join(map(str, shape))}) for each pixel", repr(context))
    return sizes


def integers_per_step(value: PerStep, steps: int, what: str) -> tuple[int, ...]:
    """One positive integer for each RG step, finest first.

    Args:
        value: one integer for all RG steps, or one for each.
        steps: the number of RG steps.
        what: what messages call the value.

    Raises:
        ValueError: if there is not one for each RG step, or one is not from 1 to 10,000.
    """
    values = tuple(value) if isinstance(value, Sequence) else (value,) * steps
    if len(values) != steps or not all(is_integer(v) and v > 0 for v in values):
        raise InputError(f"{what} as one positive integer or one for each of {steps} RG steps", repr(value))
    if max(values) > MOST:
        raise InputError(f"{what} up to {MOST:,}", repr(value))
    return values


def hidden_per_step(value: Hidden, steps: int) -> tuple[tuple[int, ...], ...]:
    """The widths of the hidden layers in a residual block, for each RG step, finest first.

    Args:
        value: the widths for all RG steps, or a sequence of widths for each.
        steps: the number of RG steps.

    Raises:
        ValueError: if there are not widths for each RG step, or a width is not a positive integer.
    """
    if not isinstance(value, Sequence):
        raise InputError("hidden as a tuple of widths", repr(value))
    nested = len(value) > 0 and all(isinstance(widths, Sequence) for widths in value)
    rows: Sequence[Any] = value if nested else (value,) * steps
    values = tuple(tuple(widths) for widths in rows)
    if len(values) != steps or not all(ws and all(is_integer(w) and w > 0 for w in ws) for ws in values):
        raise InputError(f"hidden as a tuple of positive widths, or a list of {steps} such tuples", repr(value))
    return values


def options_per_step(steps: int, layers: PerStep, residual_blocks: PerStep, hidden: Hidden) -> list[dict[str, Any]]:
    """The options `layers`, `residual_blocks` and `hidden` of each RG step, finest first, by name.

    Args:
        steps: the number of RG steps.
        layers: one number for all RG steps, or one for each.
        residual_blocks: one number for all RG steps, or one for each.
        hidden: widths for all RG steps, or a sequence of widths for each.

    Raises:
        ValueError: if the value of an option is invalid.
    """
    rows = zip(
        integers_per_step(layers, steps, "layers"),
        integers_per_step(residual_blocks, steps, "residual_blocks"),
        hidden_per_step(hidden, steps),
        strict=True,
    )
    return [{"layers": n, "residual_blocks": blocks, "hidden": widths} for n, blocks, widths in rows]
