"""Maps of each variable, with learnt parameters or those of a context; and maps of channels conditioned on others."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from mera._utils.errors import InputError
from mera.bijectors.base import Bijector, log_det_dtype
from mera.bijectors.boxes import Box
from mera.bijectors.conditioners.base import ConditionerFactory, join, joined_shape, metadata
from mera.bijectors.local import LocalBijector, evaluate
from mera.bijectors.univariate import Affine, Univariate, map_variables


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
        """False, since each variable has its own parameters."""
        return False

    def on_sites(self, x: Tensor, context: Tensor | None, inverse: bool, sites: Box | None) -> tuple[Tensor, Tensor]:
        """Transform each variable, or transform it back, with its parameters."""
        y, log_slope = map_variables(self.transform, x, self.params.expand(x.shape[0], *self.params.shape), inverse)
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
        self.circular = metadata(self.network).circular

    @property
    def receptive_kernel(self) -> tuple[int, ...] | None:
        """The window of the network if it is a convolution, else None."""
        radius = metadata(self.network).radius
        return None if radius is None else (1 + 2 * radius,) * (len(self.event_shape or ()) - 1)

    def on_sites(self, x: Tensor, context: Tensor | None, inverse: bool, sites: Box | None) -> tuple[Tensor, Tensor]:
        """Transform each variable, or transform it back, with the parameters that the network computes."""
        params = self.network(join(x[:, :0], context, self.context_shape))
        values, log_slope = map_variables(self.transform, x, params, inverse)
        log_slope = log_slope.flatten(1) if sites is None else log_slope
        return values, log_slope.sum(1, dtype=log_det_dtype(x))


class Conditioned(LocalBijector):
    r"""Transform some channels conditioned on other channels; all channels but the transformed ones stay as they are.

    .. math:: y_2 = f(x_2; x_1), \qquad \ln |\det J| = \ln |\det \partial f / \partial x_2|

    Wavelet Flow models :math:`p(\mathrm{details} \mid \mathrm{coarse\ image})` like this (Yu et al. 2020,
    https://arxiv.org/abs/2010.13821).

    Args:
        event_shape: shape (C, *sites) of one event.
        read: the channels :math:`x_1`: how many of the first channels, or their indices.
        make: makes :math:`f` from the shape of :math:`x_2` and `context_shape`, the shape of the context of :math:`f`:
            :math:`x_1`, followed by the channels of this bijector's context.
        context_shape: shape of a context in addition to :math:`x_1`; None for no context.
        changed: the channels :math:`x_2`, by index, none of which is read; None for all channels but :math:`x_1`.
    """

    of_angles = None
    read: Tensor
    changed: Tensor

    def __init__(
        self, event_shape: tuple[int, ...], read: int | Sequence[int],
        make: Callable[..., Bijector], context_shape: tuple[int, ...] | None = None,
        changed: Sequence[int] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(event_shape, context_shape)
        channels, *sites = event_shape
        first = list(read) if isinstance(read, Sequence) else list(range(min(int(read), channels)))
        second = [c for c in range(channels) if c not in first] if changed is None else list(changed)
        if not first or not second or len({*first, *second} & {*range(channels)}) < len(first) + len(second):
            got = f"{read} to read" + (f", {second} to change" if changed is not None else "")
            raise InputError(f"some of {channels} channels to read, and others to change", got)
        inner_context = joined_shape((len(first), *sites), context_shape)
        self.bijector = make((len(second), *sites), context_shape=inner_context)
        if self.bijector.context_shape != inner_context:
            raise InputError(f"a bijector of context {inner_context}", str(self.bijector.context_shape))
        self.passive, self.circular = min(second), self.bijector.circular
        self.register_buffer("read", torch.tensor(first), persistent=False)
        self.register_buffer("changed", torch.tensor(second), persistent=False)

    @property
    def receptive_kernel(self) -> tuple[int, ...] | None:
        """The window of the inner bijector."""
        return self.bijector.receptive_kernel

    def on_sites(self, x: Tensor, context: Tensor | None, inverse: bool, sites: Box | None) -> tuple[Tensor, Tensor]:
        """Transform the channels that change, or transform them back; the channels that are read stay."""
        values, log_det = evaluate(self.bijector, *self.split(x, context), inverse, sites)
        return self.replaced(x if sites is None else sites.shrink(x, self.radius), values), log_det

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Initialise the inner bijector with the channels that change."""
        return self.replaced(x, self.bijector.initialize(*self.split(x, context)))

    def replaced(self, x: Tensor, values: Tensor) -> Tensor:
        """The event with other values of the channels that change, in the wider dtype of the two."""
        return x.to(torch.promote_types(x.dtype, values.dtype)).index_copy(1, self.changed, values)

    def split(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The channels that change, and the context of the inner bijector."""
        return x.index_select(1, self.changed), join(x.index_select(1, self.read), context, self.context_shape)
