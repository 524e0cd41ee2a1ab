"""A monotone map of each variable whose parameters a network computes from the context alone."""

from __future__ import annotations

from torch import Tensor

from mera.bijectors.base import Bijector, log_det_dtype
from mera.bijectors.conditioners.base import ConditionerFactory, contract, make_network
from mera.bijectors.context import join, joined_shape
from mera.bijectors.univariate import Affine, Univariate, transform


class Conditional(Bijector):
    r"""Transform each variable with parameters that depend on the context, and on no other variable of the event.

    .. math:: y_i = f(x_i; c_i(\mathrm{context})), \qquad \ln |\det J| = \sum_i \ln \partial f / \partial x_i

    Given the context, the variables are independent of each other. With `Conditioned` the context is the other channels
    of an event.

    Args:
        event_shape: shape (C, *sites) of one event.
        conditioner: makes the network :math:`c`; see `Conditioner`.
        context_shape: shape of the context, which the network reads.
        transform: :math:`f`; an affine map if None.

    Raises:
        ValueError: if the conditioner cannot make a network for these shapes.
    """

    of_angles = None

    def __init__(
        self, event_shape: tuple[int, ...], conditioner: ConditionerFactory, context_shape: tuple[int, ...],
        transform: Univariate | None = None,
    ) -> None:  # fmt: skip
        super().__init__(event_shape, context_shape)
        self.transform = transform if transform is not None else Affine()
        in_shape = joined_shape((0, *event_shape[1:]), context_shape)
        self.network = make_network(conditioner, in_shape, event_shape, self.transform.n_params)
        self.circular = contract(self.network).circular

    @property
    def receptive_kernel(self) -> tuple[int, ...] | None:
        """The window of the network if it is a convolution, else None."""
        radius = contract(self.network).radius
        return None if radius is None else (1 + 2 * radius,) * (len(self.event_shape or ()) - 1)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Transform each variable."""
        return self._map(x, context, inverse=False)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Transform each variable back."""
        return self._map(y, context, inverse=True)

    def _map(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor]:
        """Apply the map, or its inverse, with the parameters that the network computes."""
        params = self.network(join(x[:, :0], context, self.context_shape))
        values, log_slope = transform(self.transform, x, params, inverse)
        return values, log_slope.flatten(1).sum(1, dtype=log_det_dtype(x))
