"""Coupling layers, over any partition, with any elementwise transform and any conditioner."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

from torch import Tensor, nn

from mera.bijectors.base import Bijector, log_det_dtype
from mera.bijectors.compose import Chain
from mera.bijectors.conditioners import Conditioner, ConditionerFactory
from mera.bijectors.context import join, joined_shape
from mera.bijectors.elementwise import Affine, Elementwise
from mera.bijectors.partition import Partition
from mera.bijectors.prepared import prepared

__all__ = ["Coupling", "Couplings"]


class Coupling(Bijector):
    r"""Each half of an event in turn transforms the other (Dinh et al. 2017; paper, Eq. 10 and Fig. 7).

    Both halves are updated once: x2 <- f(x2; c(x1)), then x1 <- f(x1; c'(x2)), where f is monotone in each variable,
    so that log \|det J\| is the sum of the logarithms of its derivatives.

    Args:
        partition: how an event is cut in halves; it knows the event's shape.
        conditioner: makes the networks c and c'; see `mera.bijectors.conditioners`.
        transform: f, an affine map unless said otherwise.
        same_networks: let c and c' be one network, whose class prepares both.
        context_shape: the shape of a context that the networks read beside the half.

    Raises:
        ValueError: if a network cannot serve both halves.
    """

    def __init__(
        self,
        partition: Partition,
        conditioner: ConditionerFactory,
        transform: Elementwise | None = None,
        same_networks: bool = False,
        context_shape: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__(partition.event_shape, context_shape)
        if same_networks and context_shape is not None:
            raise ValueError(
                f"Expected a network for each half, as there is a context {context_shape}; got one for both"
            )
        self.partition = partition
        self.transform = transform if transform is not None else Affine()
        first, second = partition.shapes
        self.same_networks = same_networks
        directions = ((first, second),) if same_networks else ((first, second), (second, first))
        self.networks = nn.ModuleList(
            conditioner(joined_shape(reads, context_shape), writes, self.transform.n_params)
            for reads, writes in directions
        )
        if same_networks and not getattr(self.networks[0], "prepares_both", False):
            raise ValueError(f"Expected a conditioner for both directions; got {type(self.networks[0]).__name__}")

    @property
    def receptive_kernel(self) -> tuple[int, ...] | None:
        """Two conditioners' reach to each side, if they are convolutions; else all of the event."""
        radii: list[Any] = [getattr(self.networks[end], "radius", None) for end in (0, -1)]
        if None in radii:
            return None
        return (1 + 2 * sum(radii),) * (len(self.partition.event_shape) - 1)

    @property
    def wraps(self) -> bool:
        """Whether a conditioner's window does."""
        return any(getattr(network, "wraps", False) for network in self.networks)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Data to latents; see `Bijector`."""
        return _run([self], x, context, backwards=False)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Latents to data; see `Bijector`."""
        return _run([self], y, context, backwards=True)


class Couplings(Chain):
    """Couplings over one partition: an event is cut once for all of them, and their networks are prepared together.

    Attributes:
        together: set it to False to have each member called as a module, for what is done to modules: compiling, hooks.

    Raises:
        ValueError: if there is none, or their partitions are not one.
    """

    def __init__(self, couplings: Iterable[Coupling]) -> None:
        members = list(couplings)
        super().__init__(members)
        self.together = True
        if any(member.partition is not members[0].partition for member in members):
            raise ValueError("Expected couplings over one partition; got several")

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """All members in order."""
        if not self._as_one:
            return super().forward(x, context)
        return _run(self.bijectors, x, context, backwards=False)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The members' inverses, from the last to the first."""
        if not self._as_one:
            return super().inverse(y, context)
        return _run(self.bijectors, y, context, backwards=True)

    @property
    def _as_one(self) -> bool:
        """Whether they can run together still: members may have been exchanged."""
        partition = getattr(self.members[0], "partition", None)
        return self.together and all(
            isinstance(member, Coupling) and member.partition is partition for member in self.members
        )


def _run(couplings: Sequence[Bijector], x: Tensor, context: Tensor | None, backwards: bool) -> tuple[Tensor, Tensor]:
    """Couplings over one partition, or their inverses from the last to the first; the value and the log-det (B,)."""
    members = [cast(Coupling, coupling) for coupling in (reversed(couplings) if backwards else couplings)]
    partition = members[0].partition
    halves = list(partition.split(x))
    log_slopes: list[Any] = [None, None]
    for coupling, networks in zip(members, _prepared(members, x.shape[0]), strict=True):
        transform = coupling.transform.inverse if backwards else coupling.transform
        for index in (0, 1) if backwards else (1, 0):
            half, other = halves[index], halves[1 - index]
            said = networks[index](join(other, context, coupling.context_shape))
            value, log_slope = transform(half, said.to(half.dtype))
            # where a half holds no variable of its own, what the transform makes there does not count
            halves[index] = partition.confine(value, index)
            log_slope = partition.confine(log_slope, index).to(log_det_dtype(half))
            log_slopes[index] = log_slope if log_slopes[index] is None else log_slopes[index] + log_slope
    first, second = (log_slope.flatten(1).sum(1) for log_slope in log_slopes)
    return partition.merge(*halves), first + second


def _prepared(couplings: Sequence[Coupling], rows: int) -> Iterator[tuple[Conditioner, Conditioner]]:
    """For each coupling, what says how to transform the first half and the second, for batches of `rows`."""
    ready = iter(prepared([network for coupling in couplings for network in coupling.networks], rows))
    for coupling in couplings:
        reads_first, reads_second = next(ready) if coupling.same_networks else (next(ready), next(ready))
        yield reads_second, reads_first
