"""Finite groups of symmetries of a lattice field, as lists of functions that only move and negate variables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product

import torch
from torch import Tensor

from mera._utils.checks import check_choice
from mera._utils.errors import InputError
from mera.graph import Lattice

__all__ = ["SYMMETRIES", "Symmetry", "group_of"]

Symmetry = Callable[[Tensor], Tensor]
"""From fields (B, C, *shape) to fields of the same shape."""
MOST = 256
"""The most elements of a group, since a density evaluates the flow for each of them."""


def group_of(names: str | Sequence[str], lattice: Lattice) -> list[Symmetry]:
    """The elements of a group, the identity first; of several groups, all products of their elements.

    Args:
        names: a name of `SYMMETRIES`, or several.
        lattice: the lattice of the field.

    Raises:
        ValueError: if a name is unknown, the lattice lacks the symmetry, or there are more than 256 elements.
    """
    names = [names] if isinstance(names, str) else list(names)
    if not names:
        raise InputError("a symmetry", "none")
    factors = [SYMMETRIES[check_choice(name, SYMMETRIES, "a symmetry")](lattice) for name in names]
    elements: list[Symmetry] = [partial(_composed, chosen) for chosen in product(*factors)]
    if len(elements) > MOST:
        raise InputError(f"a group of at most {MOST} elements", f"{len(elements)} of {' x '.join(names)} on {lattice}")
    return elements


def _composed(elements: Sequence[Symmetry], x: Tensor) -> Tensor:
    """Apply elements one after the other."""
    for element in elements:
        x = element(x)
    return x


def _identity(x: Tensor) -> Tensor:
    return x


def _flip(lattice: Lattice) -> list[Symmetry]:
    """The global flip of the sign."""
    return [_identity, torch.neg]


def _signs(lattice: Lattice) -> list[Symmetry]:
    """The flips of the signs of single channels, as those of O(n)."""
    signs = product((1.0, -1.0), repeat=lattice.channels)
    return [partial(_times, torch.tensor(s).view(-1, *(1 for _ in lattice.shape))) for s in signs]


def _times(signs: Tensor, x: Tensor) -> Tensor:
    return x * signs.to(x)


def _reflections(lattice: Lattice) -> list[Symmetry]:
    """The reflections of each dimension."""
    axes = range(2, 2 + lattice.dim)
    chosen = product((False, True), repeat=lattice.dim)
    flipped = [tuple(axis for axis, is_flipped in zip(axes, some, strict=True) if is_flipped) for some in chosen]
    return [partial(torch.flip, dims=dims) for dims in flipped]


def _rotations(lattice: Lattice) -> list[Symmetry]:
    """The rotations of a square lattice by quarter turns."""
    if lattice.dim != 2 or len(set(lattice.shape)) != 1 or len(set(lattice.periodic)) != 1:
        raise InputError("a square lattice of two dimensions, for rotations", str(lattice))
    return [partial(torch.rot90, k=k, dims=(2, 3)) for k in range(4)]


def _translations(lattice: Lattice) -> list[Symmetry]:
    """The translations of a periodic lattice."""
    if not all(lattice.periodic):
        raise InputError("a periodic lattice, for translations", str(lattice))
    axes = tuple(range(2, 2 + lattice.dim))
    return [partial(torch.roll, shifts=shift, dims=axes) for shift in product(*map(range, lattice.shape))]


SYMMETRIES: dict[str, Callable[[Lattice], list[Symmetry]]] = {
    "flip": _flip,
    "signs": _signs,
    "reflections": _reflections,
    "rotations": _rotations,
    "translations": _translations,
}
"""From a name to the function that lists the elements of the group on a lattice, the identity first."""
