"""Coupling layers, over any partition, with any elementwise transform and any conditioner."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

from torch import Tensor, nn

from mera._utils.torch_private import is_called_plainly
from mera.bijectors.base import Bijector, log_det_dtype
from mera.bijectors.compose import Chain
from mera.bijectors.conditioners.base import Conditioner, ConditionerFactory, Parametrize, prepared
from mera.bijectors.context import join, joined_shape
from mera.bijectors.partition import Partition
from mera.bijectors.univariate import Affine, Univariate

__all__ = ["Coupling", "Couplings"]


class Coupling(Bijector):
    r"""Each half of an event in turn transforms the other (Dinh et al. 2017; paper, Eq. 10 and Fig. 7).

    Both halves are updated once: x2 <- f(x2; c(x1)), then x1 <- f(x1; c'(x2)), where f is monotone in each variable,
    so that log \|det J\| is the sum of the logarithms of its derivatives.

    Args:
        partition: how an event is cut in halves; it knows the event's shape.
        conditioner: makes the networks c and c', or one that serves both; see `Conditioner`.
        transform: f, an affine map unless said otherwise.
        context_shape: the shape of a context that the networks read beside the half.

    Raises:
        ValueError: if a network cannot serve both halves.
    """

    def __init__(
        self,
        partition: Partition,
        conditioner: ConditionerFactory,
        transform: Univariate | None = None,
        context_shape: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__(partition.event_shape, context_shape)
        self.partition = partition
        self.transform = transform if transform is not None else Affine()
        first, second = partition.shapes

        def make(reads: tuple[int, ...], writes: tuple[int, ...]) -> nn.Module:
            return conditioner(joined_shape(reads, context_shape), writes, self.transform.n_params)

        networks = [make(first, second)]
        self.shared_between_halves = _says(networks[0]).shared_between_halves
        if not self.shared_between_halves:
            networks.append(make(second, first))
        self.networks = nn.ModuleList(networks)

    @property
    def receptive_kernel(self) -> tuple[int, ...] | None:
        """Two conditioners' reach to each side, if they are convolutions; else all of the event."""
        reads_first, reads_second = (_says(self.networks[end]).radius for end in (0, -1))
        if reads_first is None or reads_second is None:
            return None
        return (1 + 2 * (reads_first + reads_second),) * (len(self.partition.event_shape) - 1)

    @property
    def circular(self) -> bool:
        """Whether a conditioner's window does."""
        return any(_says(network).circular for network in self.networks)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Data to latents; see `Bijector`."""
        return _run([self], x, context, backwards=False)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Latents to data; see `Bijector`."""
        return _run([self], y, context, backwards=True)


class Couplings(Chain):
    """Couplings over one partition: an event is cut once for all of them, and their networks are prepared together.

    Members are called as modules, one after the other, where that makes a difference: if they are compiled or hooked,
    or were exchanged for others.

    Raises:
        ValueError: if there is none, or their partitions are not one.
    """

    def __init__(self, couplings: Iterable[Coupling]) -> None:
        members = list(couplings)
        super().__init__(members)
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
        """Whether to call each member would make no difference."""
        partition = getattr(self.members[0], "partition", None)
        return all(
            isinstance(member, Coupling) and member.partition is partition and is_called_plainly(member)
            for member in self.members
        )


def _says(network: nn.Module) -> Conditioner | type[Conditioner]:
    """What says whether a network serves both halves, and how far it reads."""
    return network if isinstance(network, Conditioner) else Conditioner


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
            # what the transform makes at positions that the half does not own is discarded
            halves[index] = partition.confine(value, index)
            log_slope = partition.confine(log_slope, index).to(log_det_dtype(half))
            log_slopes[index] = log_slope if log_slopes[index] is None else log_slopes[index] + log_slope
    first, second = (log_slope.flatten(1).sum(1) for log_slope in log_slopes)
    return partition.merge(*halves), first + second


def _prepared(couplings: Sequence[Coupling], rows: int) -> Iterator[tuple[Parametrize, Parametrize]]:
    """For each coupling, what says how to transform the first half and the second, for batches of `rows`."""
    ready = iter(prepared([network for coupling in couplings for network in coupling.networks], rows))
    for coupling in couplings:
        reads_first, reads_second = next(ready) if coupling.shared_between_halves else (next(ready), next(ready))
        yield reads_second, reads_first
