"""Coupling layers, over any partition, with any elementwise transform and any conditioner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from torch import Tensor, nn

from mera.bijectors.base import Bijector, log_det_dtype
from mera.bijectors.conditioners import Conditioner, ConditionerFactory, PatchMLPs, prepared
from mera.bijectors.context import join, joined_shape
from mera.bijectors.elementwise import Affine, Elementwise
from mera.bijectors.partition import Partition

__all__ = ["Coupling"]


class Coupling(Bijector):
    r"""Each half of an event in turn transforms the other (Dinh et al. 2017; paper, Eq. 10 and Fig. 7).

    Both halves are updated once: x2 <- f(x2; c(x1)), then x1 <- f(x1; c'(x2)), where f is monotone in each variable,
    so that log \|det J\| is the sum of the logarithms of its derivatives.

    Args:
        partition: how an event is cut in halves; it knows the event's shape.
        conditioner: makes the networks c and c'; see `mera.bijectors.conditioners`.
        transform: f, an affine map unless said otherwise.
        same_networks: let c and c' be one network, whose `prepare_both` makes both.
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
        if same_networks and not hasattr(self.networks[0], "prepare_both"):
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
        first, second = self.partition.split(x)
        there, back = self._prepared(x.shape[0])
        second, change = self._updated(self.transform, second, 1, there, first, context)
        first, last_change = self._updated(self.transform, first, 0, back, second, context)
        return self.partition.merge(first, second), change + last_change

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Latents to data; see `Bijector`."""
        first, second = self.partition.split(y)
        there, back = self._prepared(y.shape[0])
        first, change = self._updated(self.transform.inverse, first, 0, back, second, context)
        second, last_change = self._updated(self.transform.inverse, second, 1, there, first, context)
        return self.partition.merge(first, second), change + last_change

    def _prepared(self, rows: int) -> tuple[Conditioner, Conditioner]:
        """The network that reads the first half and the one that reads the second, ready for batches of `rows`."""
        if self.same_networks:
            return cast(PatchMLPs, self.networks[0]).prepare_both(rows)
        there, back = self.networks
        return prepared(there, rows), prepared(back, rows)

    def _updated(
        self,
        transform: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
        half: Tensor,
        index: int,
        network: Conditioner,
        other: Tensor,
        context: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Half `index`, transformed as the other half and the context say, and the log-det (B,) of that.

        Where half `index` holds no variable of its own, whatever the transform makes there does not count.
        """
        said = network(join(other, context, self.context_shape))
        value, log_slope = transform(half, said.to(half.dtype))
        log_slope = self.partition.confine(log_slope, index)
        return self.partition.confine(value, index), log_slope.flatten(1).sum(1, dtype=log_det_dtype(half))
