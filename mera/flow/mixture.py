"""Finite symmetry groups of a lattice field, which permute sites and flip signs; and mixtures of a flow over them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import islice, product
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mera._utils.checks import check_count
from mera._utils.errors import InputError
from mera._utils.registry import Registry
from mera.flow.density import Density, Temperature
from mera.flow.flow import Flow
from mera.graph import Lattice
from mera.graph.summary import Summary

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

    Raises:
        ValueError: if a name is unknown, the lattice lacks the symmetry, the group has fewer than `elements` elements
            or more than 2^20, or it has more than 256 elements and `elements` is None.
    """
    names = [names] if isinstance(names, str) else list(names)
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


def _of_flow(name: str, doc: str) -> Any:
    """A property that returns an attribute of the flow."""
    return property(attrgetter(f"flow.{name}"), doc=doc)


class Symmetrized(Density):
    r"""A density that is symmetric under a finite group G, such as the global spin flip of NeuralRG.

    .. math:: p(x) = \frac{1}{|G|} \sum_{g \in G} q(g x)

    for the density :math:`q` of a flow (for the flip: https://arxiv.org/abs/1802.02840). This mixture is exactly
    symmetric for all weights; log p takes one pass of the flow for each element. The mixture can be evaluated and
    sampled, which is all that `mera.train.fit` needs for examples and for actions, but has no latents. `mera.save`
    saves it.

    A mixture over only a part of a large group is still a density, in general the closer to a symmetric density the
    more elements it has. For measurements with a trained flow, many elements are worth their passes: where the errors
    of the terms are independent, the error of their mean is smaller.

    Args:
        flow: the flow with density :math:`q`; the mixture shares its parameters.
        group: the symmetries: "flip" of the global sign, "signs" of each channel, "reflections" of each dimension,
            "rotations" by quarter turns, "translations"; or several names, for all products of their elements.
        elements: number of group elements: the identity and a fixed random selection, equal for each flow; None for
            all elements of a group of at most 256.

    Raises:
        ValueError: if `flow` is not a flow, its lattice lacks a symmetry, or the group has fewer than `elements`
            elements.

    >>> import mera, torch
    >>> p = mera.Symmetrized(mera.build("neuralrg", L=4, hidden=(8,)))
    >>> x = p.rsample(3)
    >>> torch.allclose(p.log_prob(x), p.log_prob(-x))
    True
    """

    def __init__(self, flow: Flow, group: str | Sequence[str] = "flip", elements: int | None = None) -> None:
        super().__init__()
        if not isinstance(flow, Flow):
            raise InputError("a Flow", type(flow).__name__)
        self.flow, self.group = flow, group if isinstance(group, str) else tuple(group)
        names = {group} if isinstance(group, str) else set(group)
        if len(flow.plan.context or ()) > 1 and not names <= {"flip", "signs"}:
            raise InputError(
                "one context for all sites beside symmetries that move sites", f"one for each {flow.plan.context}"
            )
        with torch.device("cpu"):
            self.elements = symmetries(group, flow.plan.input, elements)
            self._inverses = [element.inverse() for element in self.elements]
        self.options: dict[str, Any] = {"group": self.group, "elements": elements}

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Call `log_prob`, so that the module can be wrapped for training in several processes."""
        return self.log_prob(x, context)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The log-density of data (B,) in nats; see `Density.log_prob`."""
        log_q = self.flow.log_prob(*self.orbit(x, context)).view(len(self.elements), len(x))
        return log_q.logsumexp(0) - math.log(len(self.elements))

    def draw_noise(
        self, n: int | Sequence[int], temperature: Temperature = 1.0, device: torch.device | str | None = None
    ) -> tuple[Tensor, ...]:
        """Draw the latents of the flow, and numbers in [0, 1) (B,) that select elements; see `Density.draw_noise`."""
        z = self.flow.draw_noise(n, temperature, device)
        return *z, torch.rand_like(z[0].flatten(1)[:, 0])

    def generate(self, noise: Sequence[Tensor], context: Tensor | None = None) -> Tensor:
        """Samples of the flow, transformed by random elements of the group; see `Density.generate`."""
        *z, uniform = noise
        return self._moved_back(self.flow.generate(z, context), self._choice(uniform))

    def generate_with_log_prob(self, noise: Sequence[Tensor], context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Samples with their log-densities; see `Density.generate_with_log_prob`."""
        *z, uniform = noise
        x, log_q = self.flow.generate_with_log_prob(z, context)
        choice = self._choice(uniform)
        x = self._moved_back(x, choice)
        return x, self._log_prob_given(x, log_q, context, choice)

    def _moved_back(self, x: Tensor, choice: Tensor) -> Tensor:
        """Apply to each datum the inverse of the element with its index in `choice`; element 0 is the identity."""
        moved = x
        for index, inverse in enumerate(self._inverses[1:], start=1):
            moved = torch.where((choice == index).view(-1, *(1 for _ in x.shape[1:])), inverse(x), moved)
        return moved

    def _choice(self, uniform: Tensor) -> Tensor:
        """Turn uniform numbers in [0, 1) into indices of elements, all with the same probability."""
        n = len(self.elements)
        return (uniform * n).long().clamp(max=n - 1)

    def _log_prob_given(self, x: Tensor, log_q: Tensor, context: Tensor | None, choice: Tensor) -> Tensor:
        """The log-density of data (B,) if one term of each mixture is known, which saves one pass.

        The known term of a datum is `log_q`, (B,), the log-density under the flow after the element `choice`, (B,).
        """
        data, contexts = self.orbit(x, context)
        n = len(self.elements)
        remaining = (choice + torch.arange(1, n, device=x.device)[:, None]) % n  # (n - 1, B)
        rows = (remaining * len(x) + torch.arange(len(x), device=x.device)).flatten()
        if contexts is not None and len(contexts) == len(data):
            contexts = contexts[rows]
        log_densities = self.flow.log_prob(data[rows], contexts).view(n - 1, len(x))
        return torch.cat([log_q[None], log_densities]).logsumexp(0) - math.log(n)

    def orbit(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Apply every element of the group: (n_elements * B, C, *shape), with contexts; see `Density.orbit`."""
        self.flow.check_data("data", x)
        if context is not None and len(context) == len(x):
            context = context.repeat(len(self.elements), *(1 for _ in context.shape[1:]))
        return torch.cat([element(x) for element in self.elements]), context

    def with_flow(self, flow: Flow) -> Symmetrized:
        """A mixture with the same group for another flow."""
        return Symmetrized(flow, **self.options)

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        """Initialise the flow with the data, transformed by all elements; see `Density.initialize`."""
        self.flow.initialize(*self.orbit(x, context))

    layout = _of_flow("layout", "The layout of the flow.")
    plan = _of_flow("plan", "The compiled layout of the flow.")
    context_encoder = _of_flow("context_encoder", "The module that checks contexts.")
    preprocess = _of_flow("preprocess", "The bijector from uint8 images to the flow's own space.")
    prior = _of_flow("prior", "The density of the flow's latents.")
    recipe = _of_flow("recipe", "The model and the options of the flow; None for a flow that was made by hand.")

    @property
    def summary(self) -> Summary:
        """The summary of the flow, titled "Symmetrized ..."."""
        summary = self.flow.summary
        return replace(summary, title=f"Symmetrized {summary.title}")
