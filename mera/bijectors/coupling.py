"""Coupling layers, over any partition, with any elementwise transform and any conditioner."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from torch import Tensor, nn

from mera.bijectors.base import Bijector, log_det_dtype, zero_log_det
from mera.bijectors.conditioners import ConditionerFactory
from mera.bijectors.elementwise import Affine, Elementwise
from mera.bijectors.partition import Partition

__all__ = ["Coupling"]


class Coupling(Bijector):
    r"""Each half of an event in turn transforms the other (Dinh et al. 2017; paper, Eq. 10 and Fig. 7).

    One layer updates both halves once: x2 <- f(x2; c(x1)), then x1 <- f(x1; c'(x2)), where f is monotone in each
    variable, so that log \|det J\| is the sum of the logarithms of its derivatives.

    Args:
        partition: how an event is cut in halves; it knows the event's shape.
        conditioner: makes the networks c and c'; see `mera.bijectors.conditioners`.
        transform: f, an affine map unless said otherwise.
        layers: how many layers follow each other.
        same_networks: let c and c' be one network in each layer, for halves of one shape.

    Raises:
        ValueError: if a network cannot serve both halves, or `layers` is below 1.
    """

    def __init__(
        self,
        partition: Partition,
        conditioner: ConditionerFactory,
        transform: Elementwise | None = None,
        layers: int = 1,
        same_networks: bool = False,
    ) -> None:
        super().__init__(partition.event_shape)
        if layers < 1:
            raise ValueError(f"Expected at least one coupling layer; got {layers}")
        self.partition = partition
        self.transform = transform if transform is not None else Affine()
        first, second = partition.shapes
        if same_networks and first != second:
            raise ValueError(f"Expected halves of one shape for one network; got {first} and {second}")
        directions = ((first, second),) if same_networks else ((first, second), (second, first))
        self.layers = nn.ModuleList(
            nn.ModuleList(conditioner(*shapes, self.transform.n_params) for shapes in directions) for _ in range(layers)
        )

    @property
    def receptive_kernel(self) -> tuple[int, ...] | None:
        """Two conditioners' reach to each side for each layer, if they are convolutions; else all of the event."""
        radii: list[Any] = [getattr(network, "radius", None) for pair in self._networks() for network in pair]
        if None in radii:
            return None
        return (1 + 2 * sum(radii),) * (len(self.partition.event_shape) - 1)

    @property
    def wraps(self) -> bool:
        """Whether a conditioner's window does."""
        return any(getattr(network, "wraps", False) for pair in self._networks() for network in pair)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Data to latents; see `Bijector`."""
        first, second = self.partition.split(x)
        log_det = zero_log_det(x)
        for there, back in self._networks():
            second, change = self._update(second, self.transform(second, there(first)), 1)
            log_det = log_det + change
            first, change = self._update(first, self.transform(first, back(second)), 0)
            log_det = log_det + change
        return self.partition.merge(first, second), log_det

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Latents to data; see `Bijector`."""
        first, second = self.partition.split(y)
        log_det = zero_log_det(y)
        for there, back in reversed(self._networks()):
            first, change = self._update(first, self.transform.inverse(first, back(second)), 0)
            log_det = log_det + change
            second, change = self._update(second, self.transform.inverse(second, there(first)), 1)
            log_det = log_det + change
        return self.partition.merge(first, second), log_det

    def _networks(self) -> list[tuple[nn.Module, nn.Module]]:
        """For each layer, the network that reads the first half and the one that reads the second."""
        layers = cast(Iterable[nn.ModuleList], self.layers)
        return [(layer[0], layer[-1]) for layer in layers]

    def _update(self, half: Tensor, result: tuple[Tensor, Tensor], index: int) -> tuple[Tensor, Tensor]:
        """The new half and the log-det (B,) of its update, both of the half's own variables only."""
        value, log_derivative = result
        confine = self.partition.confine
        log_det = confine(log_derivative, index).flatten(1).sum(1, dtype=log_det_dtype(half))
        return confine(value, index), log_det
