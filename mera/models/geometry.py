"""Shapes, numbers of levels, and values for each RG step, from the options of models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mera._utils.checks import DEEPEST, check_count, is_integer
from mera._utils.errors import InputError
from mera._utils.flow_options import Edges, Hidden, PerStep


def lattice_shape(L: Edges, dim: int) -> tuple[int, ...]:
    """The shape of a lattice: (L, ..., L) in `dim` dimensions if `L` is one number, else the edges `L`."""
    if not is_integer(dim) or dim not in (1, 2, 3):
        raise InputError("dim 1, 2 or 3", repr(dim))
    edges = tuple(L) if isinstance(L, Sequence) else (L,) * dim
    if not edges or not all(is_integer(n) and n > 0 for n in edges):
        raise InputError("L as a positive integer or all edges of the lattice", repr(L))
    return edges


def levels(shape: Sequence[int], m: int, stride: int = 2, wanted: int | None = None) -> int:
    """The number of levels of a lattice whose edges are divided by the stride until the smallest edge is m.

    Args:
        shape: the edges of the lattice.
        m: the smallest edge of the topmost lattice.
        stride: the edge of a cell.
        wanted: the number of levels, if it does not depend on the lattice.
    """
    if wanted is not None:
        width = m * stride ** (check_count(wanted, "levels", most=DEEPEST) - 1)
        if any(n % width for n in shape):
            got = "x".join(map(str, shape))
            raise InputError(f"edges that {width} = {m} * {stride}^{wanted - 1} divides", got)
        return wanted
    smallest, width, count = min(shape), m, 1
    while width < smallest:
        width, count = width * stride, count + 1
    if width != smallest or any(n % width for n in shape):
        how = "halve" if stride == 2 else f"divide by {stride}"
        expected = f"edges that {how} to the kernel m={m}, so that L = {m} * {stride}^h"
        raise InputError(expected, "x".join(map(str, shape)))
    return count


def integers_per_step(value: PerStep, steps: int, what: str, least: int = 1) -> tuple[int, ...]:
    """One integer for each RG step, finest first, from one for all steps or one for each."""
    values = tuple(value) if isinstance(value, Sequence) else (value,) * steps
    if len(values) != steps or not all(is_integer(v) and v >= least for v in values):
        kind = "positive integer" if least == 1 else f"integer >= {least}"
        raise InputError(f"{what} as one {kind} or one for each of {steps} RG steps", repr(value))
    if max(values) > DEEPEST:
        raise InputError(f"{what} up to {DEEPEST:,}", repr(value))
    return values


def hidden_per_step(value: Hidden, steps: int) -> tuple[tuple[int, ...], ...]:
    """Widths of the hidden layers for each RG step, finest first, from widths for all steps or for each step."""
    if not isinstance(value, Sequence):
        raise InputError("hidden as a tuple of widths", repr(value))
    nested = len(value) > 0 and all(isinstance(widths, Sequence) for widths in value)
    rows: Sequence[Any] = value if nested else (value,) * steps
    values = tuple(tuple(widths) for widths in rows)
    if len(values) != steps or not all(ws and all(is_integer(w) and w > 0 for w in ws) for ws in values):
        raise InputError(f"hidden as a tuple of positive widths, or a list of {steps} such tuples", repr(value))
    return values


def options_per_step(steps: int, layers: PerStep, residual_blocks: PerStep, hidden: Hidden) -> list[dict[str, Any]]:
    """The options `layers`, `residual_blocks` and `hidden` of each RG step, finest first, by name."""
    counts = integers_per_step(layers, steps, "layers"), integers_per_step(residual_blocks, steps, "residual_blocks")
    rows = zip(*counts, hidden_per_step(hidden, steps), strict=True)
    return [{"layers": n, "residual_blocks": blocks, "hidden": widths} for n, blocks, widths in rows]
