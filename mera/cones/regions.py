"""Regions of a lattice, as masks or as a span for each dimension: checks, and conversion to sites."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mera._utils.checks import as_plain, is_integer, is_list
from mera._utils.errors import InputError
from mera.bijectors.boxes import Box
from mera.graph import Lattice

MAX_SITES = 2**28
"""The largest number of sites of a region of spans; a longer list of sites would take gigabytes."""

Span = slice | range | Sequence[int] | int
"""A part of an edge: a slice or a pair (start, stop), the stop not included; or a single site."""

Region = Tensor | np.ndarray | int | slice | Sequence[Span]
"""A bool mask of the lattice's shape; or a span for each dimension, also for lattices that are too large for a mask. In
one dimension the span needs no sequence."""

Site = int | Sequence[int] | Tensor | np.ndarray
"""The coordinates of a site; or a bool mask of several sites."""


def sites_of(region: Region, lattice: Lattice) -> Tensor:
    """The sorted flat indices (n,) of the sites of a region, on the CPU.

    Raises:
        ValueError: if the region is empty, is not a mask of the lattice's shape, reaches outside of the lattice, or has
            more than `MAX_SITES` sites.
    """
    if isinstance(region, np.ndarray):
        region = torch.from_numpy(np.ascontiguousarray(region))
    if isinstance(region, Tensor) and region.ndim < 2 and region.dtype != torch.bool:
        region = as_plain(region)
    is_span = lattice.dim == 1 and is_list(region) and len(region) == 2 and all(map(is_integer, region))
    region = (region,) if is_integer(region) or is_span else region  # type: ignore[assignment]
    if isinstance(region, (slice, range)) or is_list(region):
        return rectangle(spans_of(region, lattice), lattice)
    if not isinstance(region, Tensor):
        raise InputError("a bool mask, or a span for each dimension", str(type(region).__name__))
    if region.dtype != torch.bool:
        raise InputError("a mask of dtype bool", str(region.dtype))
    if tuple(region.shape) != lattice.shape:
        raise InputError(f"a mask of shape {lattice.shape}, as the lattice", str(tuple(region.shape)))
    lines = region.reshape(-1, lattice.shape[-1])
    rows = lines.view(torch.uint8).amax(1).nonzero()[:, 0]  # on a huge mask, much faster than one nonzero()
    coordinates = lines[rows].nonzero()
    if not len(coordinates):
        raise InputError("a mask that is true somewhere", "an empty one")
    return (rows[coordinates[:, 0]] * lattice.shape[-1] + coordinates[:, 1]).cpu()


def rectangle(spans: Sequence[tuple[int, int]], lattice: Lattice) -> Tensor:
    """The sorted flat indices (n,) of the sites in spans (start, stop); a ValueError for more than `MAX_SITES`."""
    count = math.prod(stop - start for start, stop in spans)
    if count > MAX_SITES:
        raise InputError(f"a region of at most {MAX_SITES:,} sites", f"{count:,}")
    return Box.of(spans).sites(lattice).flatten()


def spans_of(parts: Sequence[Span] | slice, lattice: Lattice) -> tuple[tuple[int, int], ...]:
    """For each dimension a pair of integers (start, stop), the stop not included, from spans of any form."""
    parts = (parts,) if isinstance(parts, slice | range) else parts
    if len(parts) != lattice.dim:
        raise InputError(f"a span or a coordinate for each of {lattice.dim} dimensions", str(len(parts)))
    return tuple(_span(part, n, d) for d, (part, n) in enumerate(zip(parts, lattice.shape, strict=True)))


def _span(part: Any, n: int, d: int) -> tuple[int, int]:
    """The start and the stop of a span in dimension d, whose edge has n sites."""
    if is_integer(part):
        part = (part, part + 1)
    if isinstance(part, (slice, range)):
        step = 1 if part.step is None else part.step
        ends = (0 if part.start is None else part.start, n if part.stop is None else part.stop)
    else:
        step, ends = 1, tuple(part) if is_list(part) else (part,)
    if len(ends) != 2 or step != 1 or not all(map(is_integer, ends)):
        raise InputError(f"dimension {d} as a slice without a step, a pair (start, stop) or an integer", repr(part))
    start, stop = map(int, ends)
    if not 0 <= start < stop <= n:
        raise InputError(f"dimension {d} within 0 to {n}, and not empty", f"{start} to {stop}")
    return start, stop
