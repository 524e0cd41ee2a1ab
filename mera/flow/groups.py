"""Finite symmetry groups of a lattice field, whose elements permute variables and flip their signs."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import islice, product
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mera._utils.checks import check_count
from mera._utils.errors import InputError
from mera._utils.registry import Registry
from mera.graph import Lattice

MAX_LISTED = 2**20
"""The largest size of a group, whose elements are put into a random order."""
MAX_WHOLE = 256
"""The largest size of a group that is used whole, since a density evaluates the flow for each element."""


@dataclass(frozen=True, eq=False)
class Symmetry:
    """A group element: a permutation of the sites, and a sign of each channel.

    Args:
        sites: for each site, the site whose value it gets, (n,).
        signs: the signs of the channels, (C,).
    """

    sites: Tensor
    signs: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Apply the map to fields (B, C, *shape)."""
        moved = x.flatten(2).index_select(2, self.sites.to(x.device)).view(x.shape)
        return moved * self.signs.to(x).view(-1, *(1 for _ in x.shape[2:]))

    def inverse(self) -> Symmetry:
        """The inverse map."""
        return Symmetry(self.sites.argsort(), self.signs)

    def then(self, other: Symmetry) -> Symmetry:
        """This map, followed by another."""
        return Symmetry(self.sites[other.sites], self.signs * other.signs)


class Group(NamedTuple):
    """The elements of a group on a lattice by number, the identity first: a large group is never listed."""

    size: int
    element: Callable[[int], Symmetry]


SYMMETRIES: Registry[Callable[[Lattice], Group]] = Registry("a symmetry", given=1)
"""By name, a function that makes a group on a lattice."""
register = SYMMETRIES.register


def symmetries(names: str | Sequence[str], lattice: Lattice, elements: int | None = None) -> list[Symmetry]:
    """The elements of a symmetry group, the identity first; for several groups, all products of their elements.

    Args:
        names: one or more names of groups, see `SYMMETRIES`.
        lattice: the lattice of the field.
        elements: number of elements, of a group of at most 2^20: the identity and a fixed random selection, equal in
            each call; None for all of a group of at most 256.
    """
    names = [names] if isinstance(names, str) else list(names)
    if not names:
        raise InputError("the name of a symmetry, or several", "none")
    factors = [SYMMETRIES.get(name)(lattice) for name in names]
    size = math.prod(factor.size for factor in factors)
    group = f"{' x '.join(names)} on {lattice}"
    if elements is None and max(factor.size for factor in factors) > MAX_WHOLE:
        raise InputError(f"a number of elements for a group of more than {MAX_WHOLE}", f"None for {size} of {group}")
    n = None if elements is None else check_count(elements, "a number of elements")
    if size > MAX_LISTED:
        raise InputError(f"a group of at most {MAX_LISTED:,} elements", f"{size:,} of {group}")
    draw = random.Random(0).random  # Python guarantees the same numbers in all versions, unlike for `sample`
    numbers = range(size) if n is None else [0, *sorted(range(1, size), key=lambda _: draw())]
    members = list(islice(_distinct(numbers, factors), MAX_WHOLE + 1 if n is None else n))
    if n is None and len(members) > MAX_WHOLE:
        raise InputError(f"a number of elements for a group of more than {MAX_WHOLE}", f"None for {group}")
    if n is not None and len(members) < n:
        raise InputError(f"at most {len(members)} elements of {group}, all that are found", str(n))
    return members


def _distinct(numbers: Iterable[int], factors: Sequence[Group]) -> Iterator[Symmetry]:
    """The products of elements by number, the last group varying fastest; where several are one map, only the first."""
    sizes, seen = tuple(factor.size for factor in factors), set()
    for number in numbers:
        places = np.unravel_index(number, sizes)
        parts = [factor.element(int(place)) for factor, place in zip(factors, places, strict=True)]
        element = reduce(Symmetry.then, parts)
        key = element.sites.numpy().tobytes(), tuple(element.signs.tolist())
        if key not in seen:
            seen.add(key)
            yield element


def _sites(lattice: Lattice) -> Tensor:
    """The flat indices of the sites, of the shape of the lattice."""
    return torch.arange(lattice.sites).view(lattice.shape)


def _permutations(lattice: Lattice, sites: Sequence[Tensor]) -> Group:
    """A group of few permutations of the sites, each a tensor of the shape of the lattice."""
    signs = torch.ones(lattice.channels, dtype=torch.int8)
    return Group(len(sites), lambda number: Symmetry(sites[number].flatten(), signs))


@register("flip")
def _flip(lattice: Lattice) -> Group:
    """The global flip of the sign."""
    sites = _sites(lattice).flatten()
    return Group(2, lambda number: Symmetry(sites, torch.full((lattice.channels,), 1 - 2 * number, dtype=torch.int8)))


@register("signs")
def _signs(lattice: Lattice) -> Group:
    """The sign flips of single channels, a subgroup of O(n) for n channels."""
    sites = _sites(lattice).flatten()

    def element(number: int) -> Symmetry:
        signs = [1 - 2 * (number >> channel & 1) for channel in reversed(range(lattice.channels))]
        return Symmetry(sites, torch.tensor(signs, dtype=torch.int8))

    return Group(2**lattice.channels, element)


@register("reflections")
def _reflections(lattice: Lattice) -> Group:
    """The reflections of each dimension."""
    flags = product((False, True), repeat=lattice.dim)
    axes = [tuple(axis for axis, is_flipped in enumerate(row) if is_flipped) for row in flags]
    return _permutations(lattice, [_sites(lattice).flip(dims) for dims in axes])


@register("rotations")
def _rotations(lattice: Lattice) -> Group:
    """The rotations of a square lattice by quarter turns."""
    if lattice.dim != 2 or len(set(lattice.shape)) != 1 or len(set(lattice.periodic)) != 1:
        raise InputError("a square lattice of two dimensions, for rotations", str(lattice))
    return _permutations(lattice, [_sites(lattice).rot90(k) for k in range(4)])


@register("translations")
def _translations(lattice: Lattice) -> Group:
    """The translations of a periodic lattice."""
    if not all(lattice.periodic):
        raise InputError("a periodic lattice, for translations", str(lattice))
    axes, signs = tuple(range(lattice.dim)), torch.ones(lattice.channels, dtype=torch.int8)

    def element(number: int) -> Symmetry:
        shift = [int(n) for n in np.unravel_index(number, lattice.shape)]
        return Symmetry(_sites(lattice).roll(shift, axes).flatten(), signs)

    return Group(lattice.sites, element)
