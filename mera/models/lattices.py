"""The lattices of a hierarchy: how often the edges of a lattice halve, and the patches that fit each level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from mera._utils.checks import MAX_LAYERS, check_count, is_integer, is_list
from mera._utils.errors import InputError
from mera._utils.flow_options import Edges
from mera.graph import Lattice

Kernel = tuple[int, ...]
ONE_PATCH, WIDEST, MOST = 64, 8, 256
"""The sites of a coarsest lattice that is preferably one patch, the widest patch that is tried on a larger one, and the
most sites of a lattice that is one patch if no other patch fits."""


def lattice_shape(L: Edges, dim: int | None) -> tuple[int, ...]:
    """The shape of a lattice: (L, ..., L) in `dim` dimensions, 2 if None, if `L` is one number, else the edges `L`."""
    if dim is not None and (not is_integer(dim) or dim not in (1, 2, 3)):
        raise InputError("dim 1, 2 or 3", repr(dim))
    edges: tuple[Any, ...] = tuple(L) if is_list(L) else (L,) * (2 if dim is None else dim)
    if not edges or not all(is_integer(n) and n > 0 for n in edges):
        raise InputError("L as a positive integer or all edges of the lattice", repr(L))
    if dim not in (None, len(edges)):
        raise InputError(f"dim={len(edges)}, or none, as L has so many edges", f"dim={dim}, L={L!r}")
    return edges


def levels(shape: Sequence[int], width: int, stride: int = 2, n_levels: int | None = None) -> int:
    """The number of levels of a lattice whose edges are divided by the stride as often as they can be.

    Edges stay integers, and the smallest one not below the width, unless the lattice is too large for a patch. If
    `n_levels` is a number, it is checked and returned.

    Raises:
        ValueError: if the edges cannot be divided so often; or not once, although the lattice is large.

    >>> levels((32, 32), 4), levels((28, 28), 4), levels((24, 40), 4)
    (4, 3, 3)
    """
    count, edges = 1, list(shape)
    while _divides(stride, edges):
        is_large = math.prod(edges) > MOST and not _divides(width, edges)
        if not (is_large or min(edges) // stride >= width):
            break
        count, edges = count + 1, [n // stride for n in edges]
    if n_levels is None and count == 1 and math.prod(shape) > ONE_PATCH and not _divides(stride, shape):
        raise InputError(f"edges that can be divided by {stride}", f"{_by(shape)}; {_remedy(shape, stride)}")
    if n_levels is None:
        return count
    unit = stride ** (check_count(n_levels, "levels", most=MAX_LAYERS) - 1)
    if not _divides(unit, shape):
        got = f"{_by(shape)}, which {stride} divides {_depth(shape, 1, stride) - 1} times; or {_remedy(shape, unit)}"
        raise InputError(f"edges that {unit} divides, for so many levels", got)
    return n_levels


def kernels(
    shape: Sequence[int],
    m: Edges | None,
    width: int,
    stride: int = 2,
    n_levels: int | None = None,
    shared: bool = False,
) -> list[Kernel]:
    """The patch of each level, finest first, on a lattice whose edges are divided by the stride.

    If m is None, patches are `width` wide where the width divides the edges of a level, and else as wide as the stride.
    A coarsest lattice that the width does not divide is one patch up to 64 sites; a larger one has the widest patches
    up to 8 that fit; if there are none, it is one patch up to 256 sites.

    Args:
        shape: the edges of the lattice.
        m: the width of the patches, one for all levels or one for each, finest first; None for the rule above.
        width: the preferred width.
        stride: the edge of a cell.
        n_levels: the number of levels; None for as many as the edges allow.
        shared: whether all levels have the same patches.

    Raises:
        ValueError: if the patches do not fit the lattice; the message names settings that do.

    >>> kernels((28, 28), None, 4)
    [(4, 4), (2, 2), (7, 7)]
    >>> kernels((24, 40), None, 4), kernels((32, 32), 4, 4)
    ([(4, 4), (4, 4), (6, 10)], [(4, 4), (4, 4), (4, 4), (4, 4)])
    """
    dim = len(shape)
    if is_list(m) and (shared or not m):
        raise InputError("one width m, as levels share their bijectors" if shared else "m for each level", repr(m))
    if is_list(m):
        patches = [tuple(k) if is_list(k) else (k,) * dim for k in m]
        if any(len(k) != dim or not all(is_integer(n) and n > 0 for n in k) for k in patches):
            raise InputError(f"m as one width, or one for each level, or {dim} for each", repr(m))
    elif m is not None or shared:
        widths = [width, stride] if m is None else [check_count(m, "m", 2)]
        fitting = [k for k in widths if _divides(k, shape)]
        if not fitting:
            raise InputError(f"edges that m={m or width} divides", f"{_by(shape)}; {_settings(shape, width, stride)}")
        edge = next((k for k in fitting if _depth(shape, k, stride) > 1), fitting[0])
        depth = _depth(shape, edge, stride) if n_levels is None else levels(shape, 1, stride, n_levels)
        patches = [(edge,) * dim] * depth
        if n_levels is None and len(patches) == 1 and min(shape) > 2 * patches[0][0]:
            got = f"{_by(shape)}; {_settings(shape, width, stride)}"
            raise InputError(f"edges that halve to multiples of m={patches[0][0]}", got)
    else:
        number = levels(shape, width, stride, n_levels)
        lattices = [[n // stride**level for n in shape] for level in range(number)]
        patches = [((width if _divides(width, edges) else stride),) * dim for edges in lattices[:-1]]
        patches.append(_coarsest(lattices[-1], width, shape))
    number = levels(shape, 1, stride, len(patches) if n_levels is None else n_levels)
    if number != len(patches):
        raise InputError(f"m for each of {number} levels", repr(m))
    for level, kernel in enumerate(patches):
        edges = [n // stride**level for n in shape]
        if any(n % k for n, k in zip(edges, kernel, strict=True)):
            got = f"edges {_by(edges)} of level {level}; {_settings(shape, width, stride)}"
            raise InputError(f"patches {_by(kernel)} that fit each level", got)
        if level + 1 < number and any(k % stride for k in kernel):
            raise InputError(f"widths of patches that {stride} divides, below the coarsest level", f"m={m!r}")
    return patches


def offset_of(lattice: Lattice, kernel: Kernel, part: float) -> Kernel | None:
    """The offset of a row of patches, from its fraction of their width; None if no patch fits at this offset.

    In a dimension in which one patch reaches from one open border to the other, the offset is 0.
    """
    has_room = [n != k or periodic for n, k, periodic in zip(lattice.shape, kernel, lattice.periodic, strict=True)]
    offset = tuple(int(k * part) * fits for k, fits in zip(kernel, has_room, strict=True))
    return None if part and not any(offset) and not all(has_room) else offset


def plain_widths(patches: Sequence[Kernel]) -> Edges:
    """The option m of patches: one number if all are the same cube, except for a single patch of one site."""
    rows = [kernel[0] if len(set(kernel)) == 1 else list(kernel) for kernel in patches]
    return rows[0] if isinstance(rows[0], int) and rows == [rows[0]] * len(rows) and rows != [1] else rows  # type: ignore


def _depth(shape: Sequence[int], m: int, stride: int) -> int:
    """The number of levels on whose lattices patches of one width fit."""
    count = 1
    while _divides(m * stride**count, shape):
        count += 1
    return count


def _divides(width: int, edges: Sequence[int]) -> bool:
    """Return whether a width divides all edges."""
    return all(n % width == 0 for n in edges)


def _coarsest(edges: Sequence[int], width: int, shape: Sequence[int]) -> Kernel:
    """The patch of the coarsest lattice; see `kernels`."""
    if _divides(width, edges):
        return (width,) * len(edges)
    widest = max((k for k in range(2, WIDEST + 1) if _divides(k, edges)), default=None)
    if math.prod(edges) <= (MOST if widest is None else ONE_PATCH):
        return tuple(edges)
    if widest is None:
        got = f"{_by(edges)} of {_by(shape)}; {_remedy(shape, 4)}"
        raise InputError(f"a coarsest lattice that is one patch of at most {MOST} sites", got)
    return (widest,) * len(edges)


def _settings(shape: Sequence[int], width: int, stride: int) -> str:
    """Two settings that fit a lattice, in words."""
    try:
        patches = kernels(shape, None, width, stride)
    except ValueError:
        return _remedy(shape, stride)
    text = f"without m and levels, m is {plain_widths(patches)!r} in {len(patches)} levels"
    common = [k for k in (width, stride) if _divides(k, shape)]
    return text + "".join(f"; m={k}, levels={_depth(shape, k, stride)} fit, too" for k in common[-1:])


def _remedy(shape: Sequence[int], unit: int) -> str:
    """Advice for pictures whose edges have no hierarchy."""
    unit = unit**2 if unit in (2, 3) else unit
    larger = [-(-n // unit) * unit for n in shape]
    return f"reflect pictures to {_by(larger)} (mera.data.reflected), or crop them"


def _by(edges: Sequence[int]) -> str:
    """Edges as text, 28x28."""
    return "x".join(map(str, edges))
