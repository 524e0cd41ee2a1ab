"""Autoregressive maps: each variable transformed as the ones before it say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mera._utils.checks import check_count
from mera.bijectors.base import Bijector, log_det_dtype
from mera.bijectors.conditioners.residual import compressed
from mera.bijectors.context import join
from mera.bijectors.univariate import Affine, Univariate

__all__ = ["MADE", "Autoregressive"]


class Autoregressive(Bijector):
    r"""y_i = f(x_i; c_i(x_1, ..., x_(i-1))), f monotone: masked autoregressive flow (Papamakarios et al. 2017).

    log \|det J\| is the sum of the logarithms of f's derivatives. Data to latents is one pass of a masked network; the
    inverse finds one variable after the other and takes as many passes as there are. `Invert(Autoregressive(...))` has
    that the other way round: inverse autoregressive flow (Kingma et al. 2016).

    Args:
        event_shape: the shape of one event; its variables come in the order (channel, *sites).
        transform: f, an affine map unless said otherwise.
        hidden: widths of the network's hidden layers.
        context_shape: the shape of a context that the network reads too.

    Raises:
        ValueError: if there is nothing that a variable could depend on.
    """

    def __init__(
        self,
        event_shape: tuple[int, ...],
        transform: Univariate | None = None,
        hidden: Sequence[int] = (64,),
        context_shape: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__(event_shape, context_shape)
        self.transform = transform if transform is not None else Affine()
        self.variables = math.prod(event_shape)
        if self.variables < 2 and context_shape is None:
            raise ValueError(f"Expected at least 2 variables, or a context; got event shape {tuple(event_shape)}")
        extra = 0 if context_shape is None else math.prod(context_shape)
        self.network = MADE(self.variables, self.transform.n_params, hidden, extra)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """All variables at once; see `Bijector`."""
        flat = x.flatten(1)
        y, log_slope = self.transform(flat, self._params(flat, context))
        return y.view_as(x), log_slope.sum(1, dtype=log_det_dtype(x))

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One variable after the other; see `Bijector`."""
        flat = y.flatten(1)
        found: list[Tensor] = []
        log_slopes: list[Tensor] = []
        for i in range(self.variables):
            known = torch.cat([*found, torch.zeros_like(flat[:, i:])], dim=1)
            params = self._params(known, context)[:, :, i : i + 1]
            x, log_slope = self.transform.inverse(flat[:, i : i + 1], params)
            found.append(x)
            log_slopes.append(log_slope)
        log_det = torch.cat(log_slopes, dim=1).sum(1, dtype=log_det_dtype(y))
        return torch.cat(found, dim=1).view_as(y), log_det

    def _params(self, flat: Tensor, context: Tensor | None) -> Tensor:
        return self.network(join(flat, context, self.context_shape)).to(flat.dtype)


class MADE(nn.Module):
    """A network whose output i reads inputs before i only, by masks on its weights (Germain et al. 2015).

    Every unit has a number, and a hidden unit reads what has no larger one, an output what has a smaller one. Inputs
    are numbered in order, a context comes before all of them. Inputs are `compressed`.

    Args:
        n: inputs, and outputs.
        n_params: parameters for each output.
        hidden: widths of the hidden layers.
        context: numbers of a context, behind the inputs.
    """

    def __init__(self, n: int, n_params: int, hidden: Sequence[int] = (64,), context: int = 0) -> None:
        super().__init__()
        if not hidden:
            raise ValueError(f"Expected at least one hidden width; got {hidden!r}")
        for width in hidden:
            check_count(width, "a hidden width")
        self.n, self.n_params = n, n_params
        inputs = torch.cat([torch.arange(1, n + 1), torch.zeros(context, dtype=torch.int64)])
        first = 0 if context else 1  # what reads a context alone is of use only if there is one
        numbers = [inputs, *(torch.linspace(min(first, n - 1), n - 1, width).round().long() for width in hidden)]
        masks = [later[:, None] >= before for before, later in pairwise(numbers)]
        masks.append((torch.arange(1, n + 1)[:, None] > numbers[-1]).repeat(n_params, 1))
        self.layers = nn.ModuleList(_MaskedLinear(mask) for mask in masks)
        for parameter in self.layers[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """(B, n + context) -> (B, n_params, n)."""
        x = compressed(x)
        for layer in self.layers[:-1]:
            x = F.silu(layer(x))
        return self.layers[-1](x).unflatten(1, (self.n_params, self.n))


class _MaskedLinear(nn.Linear):
    """A linear layer with zeros where the mask (out, in) is false."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.mask, self.bias)
