"""Autoregressive maps: each variable is transformed with parameters that depend on the variables before it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mera._utils.checks import check_shape
from mera._utils.errors import InputError
from mera.bijectors.base import Bijector, log_det_dtype
from mera.bijectors.conditioners.base import join
from mera.bijectors.conditioners.residual import compressed
from mera.bijectors.univariate import Affine, Univariate, transform


class Autoregressive(Bijector):
    r"""Masked autoregressive flow: :math:`y_i = f(x_i; c_i(x_1, \ldots, x_{i-1}))` with a monotone :math:`f`.

    :math:`\ln |\det J|` is the sum of the logarithms of the derivatives of :math:`f` (Papamakarios et al. 2017,
    https://arxiv.org/abs/1705.07057). Data to latents takes one pass of a masked network, latents to data one pass for
    each variable. `Invert(Autoregressive(...))` exchanges the directions, which gives the inverse autoregressive flow
    (Kingma et al. 2016, https://arxiv.org/abs/1606.04934).

    Args:
        event_shape: shape of one event; its variables are ordered by channel, then by site.
        transform: :math:`f`; an affine map if None.
        hidden: widths of the hidden layers of the network.
        context_shape: shape of a context that the network also reads; None for no context.

    Raises:
        ValueError: if there is no hidden width, or a width is not a positive integer.
    """

    of_angles = None

    def __init__(
        self, event_shape: tuple[int, ...], transform: Univariate | None = None, hidden: Sequence[int] = (64,),
        context_shape: tuple[int, ...] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(event_shape, context_shape)
        self.transform = transform if transform is not None else Affine()
        if self.transform.of_angles:
            raise InputError("a map of real numbers, as the network reads no angles", type(self.transform).__name__)
        self.variables = math.prod(event_shape)
        extra = 0 if context_shape is None else math.prod(context_shape)
        self.network = MADE(self.variables, self.transform.n_params, hidden, extra)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Transform all variables at once."""
        flat = x.flatten(1)
        y, log_slope = transform(self.transform, flat, self._params(flat, context))
        return y.view_as(x), log_slope.sum(1, dtype=log_det_dtype(x))

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Transform back one variable after the other."""
        flat = y.flatten(1)
        values: list[Tensor] = []
        log_slopes: list[Tensor] = []
        for i in range(self.variables):
            padded = torch.cat([*values, torch.zeros_like(flat[:, i:])], dim=1)
            params = self._params(padded, context)[:, :, i : i + 1]
            x, log_slope = transform(self.transform, flat[:, i : i + 1], params, inverse=True)
            values.append(x)
            log_slopes.append(log_slope)
        log_det = torch.cat(log_slopes, dim=1).sum(1, dtype=log_det_dtype(y))
        return torch.cat(values, dim=1).view_as(y), log_det

    def _params(self, flat: Tensor, context: Tensor | None) -> Tensor:
        return self.network(join(flat, context, self.context_shape))


class MADE(nn.Module):
    """A masked network whose output i depends only on the inputs before i (Germain et al. 2015).

    As in https://arxiv.org/abs/1502.03509, every unit has a degree. A hidden unit reads units of equal or smaller
    degree, an output reads units of smaller degree. Input i has degree i, and a context has degree 0. Inputs are
    `compressed`.

    Args:
        n: number of variables.
        n_params: number of parameters for each variable.
        hidden: widths of the hidden layers.
        context: number of context entries, which follow the n inputs.

    Raises:
        ValueError: if `hidden` is empty, or a width is not a positive integer.
    """

    def __init__(self, n: int, n_params: int, hidden: Sequence[int] = (64,), context: int = 0) -> None:
        super().__init__()
        hidden = check_shape(hidden, "hidden")
        self.n, self.n_params = n, n_params
        inputs = torch.cat([torch.arange(1, n + 1), torch.zeros(context, dtype=torch.int64)])
        lowest = 0 if context else 1  # without a context, a unit of degree 0 would read nothing
        degrees = [inputs, *(torch.linspace(min(lowest, n - 1), n - 1, width).round().long() for width in hidden)]
        masks = [later[:, None] >= earlier for earlier, later in pairwise(degrees)]
        masks.append((torch.arange(1, n + 1)[:, None] > degrees[-1]).repeat(n_params, 1))
        self.layers = nn.ModuleList(_MaskedLinear(mask) for mask in masks)
        for parameter in self.layers[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Map inputs and context, (B, n + context), to parameters, (B, n_params, n)."""
        x = compressed(x)
        for layer in self.layers[:-1]:
            x = F.silu(layer(x))
        return self.layers[-1](x).unflatten(1, (self.n_params, self.n))


class _MaskedLinear(nn.Linear):
    """A linear layer whose weight is zero where the mask (out, in) is false."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.mask, self.bias)
