"""Bijectors that transform each variable independently of all others, with learnt parameters or those of a context."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mera.bijectors.base import log_det_dtype
from mera.bijectors.conditioners.base import ConditionerFactory, contract, parameters_at
from mera.bijectors.joined_context import join, joined_shape
from mera.bijectors.local import LocalBijector
from mera.bijectors.sites import Sites
from mera.bijectors.univariate import Affine, Univariate, transform


class Elementwise(LocalBijector):
    """A `Univariate` map with learnt parameters for each variable, which depend on no variables.

    Args:
        event_shape: shape (C, *sites) of one event.
        transform: the map, for example `RationalQuadratic()`.
    """

    of_angles = None
    per_site = True

    def __init__(self, event_shape: tuple[int, ...], transform: Univariate) -> None:
        super().__init__(event_shape)
        self.transform = transform
        self.params = nn.Parameter(torch.zeros(transform.n_params, *event_shape))

    @property
    def fits_any_lattice(self) -> bool:
        """False: each variable has parameters."""
        return False

    def on_sites(self, x: Tensor, context: Tensor | None, inverse: bool, sites: Sites | None) -> tuple[Tensor, Tensor]:
        """Transform each variable, or transform it back, with its parameters."""
        y, log_slope = transform(self.transform, x, self.params.expand(x.shape[0], *self.params.shape), inverse)
        return y, log_slope.flatten(1).sum(1, dtype=log_det_dtype(x))


class Conditional(LocalBijector):
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
        ValueError: if the factory of conditioners does not return a module.
    """

    of_angles = None

    def __init__(
        self, event_shape: tuple[int, ...], conditioner: ConditionerFactory, context_shape: tuple[int, ...],
        transform: Univariate | None = None,
    ) -> None:  # fmt: skip
        super().__init__(event_shape, context_shape)
        self.transform = transform if transform is not None else Affine()
        in_shape = joined_shape((0, *event_shape[1:]), context_shape)
        self.network = conditioner(in_shape, event_shape, self.transform.n_params)
        self.circular = contract(self.network).circular

    @property
    def receptive_kernel(self) -> tuple[int, ...] | None:
        """The window of the network if it is a convolution, else None."""
        radius = contract(self.network).radius
        return None if radius is None else (1 + 2 * radius,) * (len(self.event_shape or ()) - 1)

    def on_sites(self, x: Tensor, context: Tensor | None, inverse: bool, sites: Sites | None) -> tuple[Tensor, Tensor]:
        """Transform each variable, or transform it back, with the parameters that the network computes."""
        params = parameters_at(self.network, join(x[:, :0], context, self.context_shape), sites)
        x = x if sites is None else sites.shrink(x, self.radius)
        values, log_slope = transform(self.transform, x, params, inverse)
        log_slope = log_slope.flatten(1) if sites is None else log_slope
        return values, log_slope.sum(1, dtype=log_det_dtype(x))
