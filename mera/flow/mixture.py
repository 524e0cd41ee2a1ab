"""Finite symmetry groups of a lattice field, which permute sites and flip signs; and mixtures of a flow over them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mera._utils.checks import check_choice, check_count, check_type, is_list
from mera._utils.errors import InputError
from mera.executor.contexts import Context
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
    """A group element: a permutation of the sites, and a sign.

    Args:
        sites: for each site, the site whose value it gets, (n,).
        sign: 1 or -1.
    """

    sites: Tensor
    sign: int

    def __call__(self, x: Tensor) -> Tensor:
        """Apply the map to fields (B, C, *shape)."""
        return self.sign * x.flatten(2).index_select(2, self.sites.to(x.device)).view(x.shape)

    def inverse(self) -> Symmetry:
        """The inverse map."""
        return Symmetry(self.sites.argsort(), self.sign)


GROUPS = ("flip", "reflections", "rotations", "translations")
"""The names of groups."""


class _Group(NamedTuple):
    """The size of a group on a lattice, and the move of signed sites by the element of a number, 0 for the identity."""

    size: int
    move: Callable[[Tensor, int], Tensor]


def _group(name: str, lattice: Lattice) -> _Group:
    """A group by its name; see `Symmetrized`."""
    check_choice(name, GROUPS, "a symmetry")
    axes = range(lattice.dim)
    if name == "flip":
        return _Group(2, lambda x, n: (-1) ** n * x)
    if name == "reflections":  # the first axis is the highest binary digit
        return _Group(2**lattice.dim, lambda x, n: x.flip([axis for axis in axes if n >> axes[-1] - axis & 1]))
    if name == "rotations":
        if lattice.dim != 2 or len(set(lattice.shape)) != 1 or len(set(lattice.periodic)) != 1:
            raise InputError("a square lattice of two dimensions, for rotations", str(lattice))
        return _Group(4, torch.rot90)
    if not all(lattice.periodic):
        raise InputError("a periodic lattice, for translations", str(lattice))
    return _Group(lattice.sites, lambda x, n: x.roll([int(k) for k in np.unravel_index(n, lattice.shape)], tuple(axes)))


def symmetries(names: str | Sequence[str], lattice: Lattice, elements: int | None = None) -> list[Symmetry]:
    """The elements of a symmetry group, the identity first; for several groups, all products of their elements.

    `elements` is as in `Symmetrized`, of a group of at most 2^20 elements.
    """
    names, lattice = _names(names), check_type(lattice, Lattice, "a Lattice, such as flow.plan.input")
    groups = [_group(name, lattice) for name in names]
    size, group = math.prod(factor.size for factor in groups), f"{' x '.join(names)} on {lattice}"
    if elements is None and size > MAX_WHOLE:
        raise InputError(f"a number of elements for a group of more than {MAX_WHOLE}", f"None for {size} of {group}")
    if size > MAX_LISTED:
        raise InputError(f"a group of at most {MAX_LISTED:,} elements", f"{size:,} of {group}")
    if elements is None:
        return list(_distinct(range(size), groups, lattice))
    n, draw = check_count(elements, "a number of elements"), random.Random(0).random  # the same in all versions
    numbers = [0, *sorted(range(1, size), key=lambda _: draw())]
    members = list(islice(_distinct(numbers, groups, lattice), n))
    if len(members) < n:
        raise InputError(f"at most {len(members)} elements of {group}, all that are found", str(n))
    return members


def _names(group: str | Sequence[str]) -> tuple[str, ...]:
    """The names of groups, of one or several."""
    names = (group,) if isinstance(group, str) else group
    if not is_list(names):
        raise InputError(f"one or more names of groups, of {', '.join(GROUPS)}", repr(group))
    return tuple(names)


def _distinct(numbers: Iterable[int], groups: Sequence[_Group], lattice: Lattice) -> Iterator[Symmetry]:
    """The products of elements by number, the last group varying fastest; where several are one map, only the first."""
    start, sizes, seen = torch.arange(1, lattice.sites + 1).view(lattice.shape), [group.size for group in groups], set()
    for number in numbers:
        signed = start  # sites count from 1; a negative number is a flipped sign
        for group, place in zip(groups, np.unravel_index(number, sizes), strict=True):
            signed = group.move(signed, int(place))
        key = signed.numpy().tobytes()
        if key not in seen:
            seen.add(key)
            yield Symmetry(signed.flatten().abs() - 1, int(signed.flatten()[0].sign()))


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

    A mixture over only a part of a large group is still a density; more elements approximate the symmetry better, and
    are worth their passes in measurements with a trained flow, as the error of the mean of their terms is smaller.

    Args:
        flow: the flow with density :math:`q`; the mixture shares its parameters.
        group: the symmetries: "flip" of the global sign, "reflections" of each dimension, "rotations" by quarter turns,
            "translations"; or several names, for all products of their elements.
        elements: number of group elements: the identity and a fixed random selection, equal for each flow; None for
            all elements of a group of at most 256.

    >>> import mera, torch
    >>> p = mera.Symmetrized(mera.build("neuralrg", L=4, hidden=(8,)))
    >>> x, _ = p.rsample_and_log_prob(3)
    >>> torch.allclose(p.log_prob(x), p.log_prob(-x))
    True
    """

    def __init__(self, flow: Flow, group: str | Sequence[str] = "flip", elements: int | None = None) -> None:
        super().__init__()
        self.flow = check_type(flow, Flow, "a Flow")
        self.group = group if isinstance(group, str) else _names(group)
        if len(flow.plan.context or ()) > 1 and {*_names(group)} != {"flip"}:
            raise InputError(
                "one context for all sites, for symmetries that move sites", f"one for each {flow.plan.context}"
            )
        with torch.device("cpu"):
            self.elements = symmetries(group, flow.plan.input, elements)
            self._inverses = [element.inverse() for element in self.elements]
        self.options: dict[str, Any] = {"group": self.group, "elements": elements}

    def forward(self, x: Tensor, context: Context | None = None) -> Tensor:
        """Call `log_prob`, so that the module can be wrapped for training in several processes."""
        return self.log_prob(x, context)

    def log_prob(self, x: Tensor, context: Context | None = None) -> Tensor:
        """The log-density, (B,) in nats, of data (B, C, *shape) in the flow's own space."""
        log_q = self.flow.log_prob(*self.orbit(x, context)).view(len(self.elements), len(x))
        return log_q.logsumexp(0) - math.log(len(self.elements))

    def draw_noise(
        self, n: int | Sequence[int], temperature: Temperature = 1.0, device: torch.device | str | None = None
    ) -> tuple[Tensor, ...]:
        """Draw the latents of the flow, and numbers in [0, 1), (n,), that select elements of the group."""
        z = self.flow.draw_noise(n, temperature, device)
        return *z, torch.rand_like(z[0].flatten(1)[:, 0])

    def generate(self, noise: Sequence[Tensor], context: Context | None = None) -> Tensor:
        """Generate data (n, C, *shape) with the flow, transformed by the inverses of the selected elements."""
        *z, uniform = noise
        return self._moved_back(self.flow.generate(z, context), self._choice(uniform))

    def generate_with_log_prob(self, noise: Sequence[Tensor], context: Context | None = None) -> tuple[Tensor, Tensor]:
        """Generate data with the log-density of each, (n,)."""
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

    def _log_prob_given(self, x: Tensor, log_q: Tensor, context: Context | None, choice: Tensor) -> Tensor:
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

    def orbit(self, x: Tensor, context: Context | None = None) -> tuple[Tensor, Tensor | None]:
        """Apply every element of the group to data: (n_elements * B, C, *shape), by element, with contexts."""
        self.flow.check_data("data", x)
        contexts = self.context_encoder.as_tensor(context)
        if contexts is not None and len(contexts) == len(x):
            contexts = contexts.repeat(len(self.elements), *(1 for _ in contexts.shape[1:]))
        return torch.cat([element(x) for element in self.elements]), contexts

    def with_flow(self, flow: Flow) -> Symmetrized:
        """A mixture with the same group for another flow."""
        return Symmetrized(flow, **self.options)

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Context | None = None) -> None:
        """Initialise the flow from data (B, C, *shape), transformed by all elements of the group."""
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
