r"""Weight-normed layers between two activations as matrix products, for many networks and blocks at once.

A swish is evaluated as :math:`x \, \sigma(a x) = \mathrm{silu}(a x) / a`, with torch's fused silu: the layer before the
swish is multiplied by :math:`a`, and the layer after the swish divided by :math:`a`. A layer between two activations
with slopes :math:`a` and :math:`a'` is then

.. math:: y \mapsto \left(\frac{y}{a} \, \frac{g \, v}{\|v\|} + b\right) a' = \frac{y}{a} \, v \, \gamma + b \, a',
    \qquad \gamma = \frac{g \, a'}{\|v\|},

where :math:`y` is the output of silu. The gain :math:`\gamma`, one number for each output, and the reciprocal
:math:`1 / a`, one for each input, are multiplied into the weight :math:`v`; or, if the batch has fewer rows than the
weight, into the activations.

The gradient of a slope is the difference of two terms, with a relative rounding error of about :math:`\epsilon / |a|`
for the machine precision :math:`\epsilon`. All other gradients are exact to rounding for any slope.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mera._utils.torch_private import is_recording, is_transformed
from mera.bijectors.conditioners.published import Swish, WeightNormLinear

SMALL = 2**15
"""Weights with up to this many numbers are concatenated first: torch runs such small operations in one thread."""
WIDE = 512
"""From this number of inputs or outputs on, the backward pass of a layer recomputes its silu rather than storing it."""


def concatenated(tensors: Sequence[Tensor]) -> Tensor:
    """Concatenate tensors along their first axis; a single tensor is returned without a copy."""
    return torch.cat(list(tensors)) if len(tensors) > 1 else tensors[0]


class Product(NamedTuple):
    r"""The affine map :math:`y \mapsto (y / a) \, v \, \gamma + b`, one for each network.

    Attributes:
        weight: :math:`v`, (networks, in, out); the product :math:`v \gamma / a` if gain and reciprocal are None.
        bias: :math:`b`, (networks, 1, out).
        gain: :math:`\gamma`, (networks, 1, out), or None.
        reciprocal: :math:`1 / a`, (networks, 1, in), or None.
    """

    weight: Tensor
    bias: Tensor
    gain: Tensor | None
    reciprocal: Tensor | None

    def __call__(self, y: Tensor, stream: Tensor | None = None) -> Tensor:
        """Map (networks, B, in) to (networks, B, out); a `stream` (networks, B, out) is added in place of the bias."""
        bias = self.bias if stream is None else stream
        if self.gain is None or self.reciprocal is None:
            return torch.bmm(y, self.weight).add_(bias)  # baddbmm would copy the bias first
        return torch.addcmul(bias, torch.bmm(y * self.reciprocal, self.weight), self.gain)

    def after_silu(self, value: Tensor, stream: Tensor | None = None) -> Tensor:
        """Apply the product to silu(value); the value may be overwritten.

        Where silu is cheap compared to the product, silu(value) is not stored, and the backward pass recomputes it.
        """
        if not torch.is_grad_enabled():
            return self(F.silu(value, inplace=True), stream)  # on a CPU a new tensor costs more time than silu itself
        is_narrow = self.gain is not None or is_recording() or max(self.weight.shape[1:]) < WIDE
        if is_narrow or is_transformed(value) or is_transformed(self.weight):
            return self(F.silu(value), stream)
        product: Tensor = _ProductOfSilu.apply(value, self.weight)
        return product.add_(self.bias if stream is None else stream)

    def narrowed(self, inputs: slice, outputs: slice) -> Product:
        """Cut the product to the features `outputs`, where all features except for `inputs` are 0."""
        gain = None if self.gain is None else self.gain[..., outputs]
        reciprocal = None if self.reciprocal is None else self.reciprocal[..., inputs]
        return Product(self.weight[:, inputs, outputs], self.bias[..., outputs], gain, reciprocal)


class _ProductOfSilu(torch.autograd.Function):
    """The product of silu(value) and a weight; the backward pass recomputes silu(value), which halves the memory."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(value, weight)
        return torch.bmm(F.silu(value), weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        value, weight = ctx.saved_tensors
        of_value = of_weight = None
        # under autocast, the product has another dtype than value and weight
        if ctx.needs_input_grad[1]:
            of_weight = torch.bmm(F.silu(value).to(gradient.dtype).mT, gradient).to(weight.dtype)
        if ctx.needs_input_grad[0]:
            of_silu = torch.bmm(gradient, weight.to(gradient.dtype).mT).to(value.dtype)
            of_value = _times_slope_of_silu(of_silu, value)
        return of_value, of_weight


def _times_slope_of_silu(tensor: Tensor, value: Tensor) -> Tensor:
    """The tensor times the derivative of silu at the value."""
    if not torch.is_grad_enabled():  # torch's fast function cannot be differentiated again
        return torch.ops.aten.silu_backward(tensor, value)
    sigmoid = torch.sigmoid(value)
    return tensor * sigmoid * (1 + value * (1 - sigmoid))


def slopes_and_reciprocals(swishes: Sequence[Swish]) -> tuple[Tensor, Tensor]:
    """The concatenated slopes a of several activations, moved away from 0 by two rounding errors, and 1 / a."""
    slope = concatenated([swish.slope for swish in swishes])
    tiny = slope.new_tensor(2 * torch.finfo(slope.dtype).eps)
    slope = slope + torch.copysign(tiny, slope)
    return slope, slope.reciprocal()


def products(
    linears: Sequence[WeightNormLinear], rows: int, slope: Tensor | None = None, reciprocal: Tensor | None = None
) -> list[Product]:
    """Make one product for each block of the first layer, then of the second, and so on.

    Args:
        linears: layers of one shape.
        rows: size of the batch.
        slope: factor of the outputs, the slope of the activation after the layer, of a shape that broadcasts to
            (all blocks, networks, 1, out); None for no factor.
        reciprocal: factor of the inputs, 1 / slope of the activation before the layer, (all blocks, networks, 1, in);
            None for no factor.
    """
    weights: list[Tensor] = [linear.weight_v for linear in linears]
    if weights[0].numel() <= SMALL:
        weights = [concatenated(weights)]
    # torch.linalg.norm is many times slower along this axis
    squares = concatenated([(weight * weight).sum(2, keepdim=True) for weight in weights])
    gain = concatenated([linear.weight_g for linear in linears]) / squares.sqrt()
    bias = concatenated([linear.bias for linear in linears])
    if slope is not None:
        gain, bias = gain * slope, bias * slope
    gains: Sequence[Tensor | None] = [None] * len(bias)
    reciprocals = gains
    if 2 * rows > gain.shape[3]:
        sizes = [len(weight) for weight in weights]
        columns = [None] * len(sizes) if reciprocal is None else reciprocal.transpose(2, 3).split(sizes)
        weights = [_scaled(*factors) for factors in zip(weights, gain.split(sizes), columns, strict=True)]
    else:
        gains = gain.unbind()
        reciprocals = [gain.new_ones(())] * len(bias) if reciprocal is None else reciprocal.unbind()
    parts = [part for weight in weights for part in weight.unbind()], bias.unbind(), gains, reciprocals
    return [Product(*fields) for fields in zip(*parts, strict=True)]


def _scaled(weight: Tensor, row: Tensor, column: Tensor | None) -> Tensor:
    """Multiply a weight (..., in, out) by a row (..., 1, out) and, if there is one, by a column (..., in, 1)."""
    if column is None:
        return weight * row
    if not torch.is_grad_enabled():
        return (weight * row).mul_(column)
    return weight * (column @ row)  # the backward pass then needs no further tensors of this size
