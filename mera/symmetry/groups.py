"""Finite groups of symmetries of a lattice field, whose elements only move and negate variables."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice, product
from typing import NamedTuple

import torch
from torch import Tensor

from mera._utils.checks import check_choice, check_count
from mera._utils.errors import InputError
from mera.graph import Lattice

Map = Callable[[Tensor], Tensor]
"""From fields (B, C, *shape) to fields of the same shape."""
MOST = 256
"""The most elements, since a density evaluates the flow for each of them."""


class Symmetry(NamedTuple):
    """An element of a group.

    Attributes:
        apply: the map of fields.
        undo: its inverse.
    """

    apply: Map
    undo: Map

    def __call__(self, x: Tensor) -> Tensor:
        """Apply the map to fields (B, C, *shape)."""
        return self.apply(x)


def symmetries(names: str | Sequence[str], lattice: Lattice, elements: int | None = None) -> list[Symmetry]:
    """The elements of a group, the identity first; of several groups, all products of their elements.

    Args:
        names: a name of `SYMMETRIES`, or several.
        lattice: the lattice of the field.
        elements: how many elements of the group to take, which are the same in each call; all of them if None.

    Raises:
        ValueError: if a name is unknown, the lattice lacks the symmetry, or the group has fewer elements than asked
            for, or more than 256 without being asked for some.
    """
    names = [names] if isinstance(names, str) else list(names)
    if not names:
        raise InputError("a symmetry", "none")
    factors = [SYMMETRIES[check_choice(name, SYMMETRIES, "a symmetry")](lattice) for name in names]
    size = math.prod(map(len, factors))
    group = f"{' x '.join(names)} on {lattice}"
    if elements is None and size > MOST * MOST:
        raise InputError(f"a number of elements for a group of more than {MOST}", f"None for {size} of {group}")
    wanted = None if elements is None else check_count(elements, "a number of elements")
    found = list(islice(_distinct(_order(size, wanted), factors, lattice), wanted))
    if wanted is None and len(found) > MOST:
        raise InputError(f"a number of elements for a group of more than {MOST}", f"None for {len(found)} of {group}")
    if wanted is not None and len(found) < wanted:
        raise InputError(f"at most {len(found)} elements of {group}", str(wanted))
    return found


def _order(size: int, wanted: int | None) -> Iterable[int]:
    """The numbers of the products of elements, the identity first; in a random order if not all of them are wanted."""
    if wanted is None:
        return range(size)
    draw = random.Random(0).random  # promised to stay the same in all versions of Python, as `sample` is not
    return [0, *sorted(range(1, size), key=lambda _: draw())]


def _distinct(numbers: Iterable[int], factors: Sequence[Sequence[Symmetry]], lattice: Lattice) -> Iterator[Symmetry]:
    """The elements of these numbers; of products that are the same map, the first one alone."""
    variables = torch.arange(1, lattice.variables + 1).view(1, *lattice.event_shape)
    seen = set()
    for number in numbers:
        element = _composed(_factors(number, factors))
        image = element(variables).numpy().tobytes()
        if image not in seen:
            seen.add(image)
            yield element


def _factors(number: int, factors: Sequence[Sequence[Symmetry]]) -> list[Symmetry]:
    """The elements of groups whose product is the element of that number; the last group varies fastest."""
    chosen: list[Symmetry] = []
    for factor in reversed(factors):
        number, digit = divmod(number, len(factor))
        chosen.insert(0, factor[digit])
    return chosen


def _composed(parts: Sequence[Symmetry]) -> Symmetry:
    """The symmetry that applies others, the first one first."""
    if len(parts) == 1:
        return parts[0]
    return Symmetry(partial(_each, [p.apply for p in parts]), partial(_each, [p.undo for p in reversed(parts)]))


def _each(maps: Sequence[Map], x: Tensor) -> Tensor:
    """Apply maps one after the other."""
    for one in maps:
        x = one(x)
    return x


def _involution(one: Map) -> Symmetry:
    """A symmetry that is its own inverse."""
    return Symmetry(one, one)


def _identity(x: Tensor) -> Tensor:
    return x


def _flip(lattice: Lattice) -> list[Symmetry]:
    """The global flip of the sign."""
    return [_involution(_identity), _involution(torch.neg)]


def _signs(lattice: Lattice) -> list[Symmetry]:
    """The flips of the signs of single channels, as those of O(n)."""
    signs = product((1.0, -1.0), repeat=lattice.channels)
    return [_involution(partial(_times, torch.tensor(s).view(-1, *(1 for _ in lattice.shape)))) for s in signs]


def _times(signs: Tensor, x: Tensor) -> Tensor:
    return x * signs.to(x)


def _reflections(lattice: Lattice) -> list[Symmetry]:
    """The reflections of each dimension."""
    axes = range(2, 2 + lattice.dim)
    chosen = product((False, True), repeat=lattice.dim)
    flipped = [tuple(axis for axis, is_flipped in zip(axes, some, strict=True) if is_flipped) for some in chosen]
    return [_involution(partial(torch.flip, dims=dims)) for dims in flipped]


def _rotations(lattice: Lattice) -> list[Symmetry]:
    """The rotations of a square lattice by quarter turns."""
    if lattice.dim != 2 or len(set(lattice.shape)) != 1 or len(set(lattice.periodic)) != 1:
        raise InputError("a square lattice of two dimensions, for rotations", str(lattice))
    return [Symmetry(partial(torch.rot90, k=k, dims=(2, 3)), partial(torch.rot90, k=-k, dims=(2, 3))) for k in range(4)]


def _translations(lattice: Lattice) -> list[Symmetry]:
    """The translations of a periodic lattice."""
    if not all(lattice.periodic):
        raise InputError("a periodic lattice, for translations", str(lattice))
    shifts = product(*map(range, lattice.shape))
    axes = tuple(range(2, 2 + lattice.dim))

    def roll(shift: Sequence[int]) -> Map:
        return partial(torch.roll, shifts=tuple(shift), dims=axes)

    return [Symmetry(roll(shift), roll([-n for n in shift])) for shift in shifts]


SYMMETRIES: dict[str, Callable[[Lattice], list[Symmetry]]] = {
    "flip": _flip,
    "signs": _signs,
    "reflections": _reflections,
    "rotations": _rotations,
    "translations": _translations,
}
"""From a name to the function that lists the elements of the group on a lattice, the identity first."""
