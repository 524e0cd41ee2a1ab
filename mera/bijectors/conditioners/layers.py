"""Layers of the paper's conditioner networks: equal layers of several networks and residual blocks in one parameter.

Shapes: all parameters start with (blocks, networks).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mera._utils.torch_private import is_recording

__all__ = ["Product", "Swish", "WeightNormLinear", "joined", "products", "slopes_and_reciprocals"]

SMALL = 2**15
"""torch runs an operation on so few numbers in one thread, so weights up to this size are concatenated first."""


def joined(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors concatenated along their first axis; a single one is returned uncopied."""
    return torch.cat(list(tensors)) if len(tensors) > 1 else tensors[0]


class Product(NamedTuple):
    """y -> (y / slope) W gain + bias for each network, as it is needed within one pass.

    Shapes: weight (networks, in, out), gain and bias (networks, 1, out), reciprocal (networks, 1, in). Gain and
    reciprocal are None where the weight holds them already.
    """

    weight: Tensor
    bias: Tensor
    gain: Tensor | None
    reciprocal: Tensor | None

    def __call__(self, y: Tensor, to: Tensor | None = None) -> Tensor:
        """(networks, N, in) -> (networks, N, out), added to `to` instead of the bias if that is given."""
        to = self.bias if to is None else to
        if self.gain is None or self.reciprocal is None:
            return torch.bmm(y, self.weight).add_(to)  # baddbmm would copy `to` first
        return torch.addcmul(to, torch.bmm(y * self.reciprocal, self.weight), self.gain)

    def narrowed(self, reads: slice, writes: slice) -> Product:
        """The same for some of the inputs and of the outputs."""
        gain = None if self.gain is None else self.gain[..., writes]
        reciprocal = None if self.reciprocal is None else self.reciprocal[..., reads]
        return Product(self.weight[:, reads, writes], self.bias[..., writes], gain, reciprocal)


class Swish(nn.Module):
    """x sigmoid(a x), with one learnable slope a for each of `features`, 1 at the start (Chen et al. 2019).

    It is computed as silu(a x) / a, torch's fused function between two factors that products can take over.
    """

    def __init__(self, blocks: int, networks: int, features: int) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.ones(blocks, networks, 1, features))


def slopes_and_reciprocals(swishes: Sequence[Swish]) -> tuple[Tensor, Tensor]:
    """a and 1 / a of several layers, concatenated, with a nudged away from 0 by two rounding errors."""
    slope = joined([swish.slope for swish in swishes])
    tiny = slope.new_tensor(2 * torch.finfo(slope.dtype).eps)
    slope = slope + torch.copysign(tiny, slope)
    return slope, slope.reciprocal()


class WeightNormLinear(nn.Module):
    r"""A linear layer with weight g v / \|v\|, the norm taken for each output (Salimans & Kingma 2016).

    Weights are (in, out), which is how products read them fastest. They start uniform within ±sqrt(2.81 * 3 / fan_in),
    biases at 0.
    """

    def __init__(self, blocks: int, networks: int, in_features: int, out_features: int) -> None:
        super().__init__()
        bound = math.sqrt(2.81 * 3 / in_features)
        self.weight_v = nn.Parameter(torch.empty(blocks, networks, in_features, out_features).uniform_(-bound, bound))
        self.weight_g = nn.Parameter(self.weight_v.detach().norm(dim=2, keepdim=True))
        self.bias = nn.Parameter(torch.zeros(blocks, networks, 1, out_features))


def products(
    linears: Sequence[WeightNormLinear], rows: int, factor: Tensor | None = None, reciprocal: Tensor | None = None
) -> list[Product]:
    """What each block of each of `linears` computes: y -> ((y reciprocal) W + b) factor.

    W gain is the normed weight. Gain, factor and reciprocal go into the weight, unless there are so few rows that it
    is cheaper to multiply the activations.

    Args:
        linears: layers of one shape.
        rows: the size of the batch.
        factor: (all blocks, networks, 1, out) or anything that broadcasts to it.
        reciprocal: (all blocks, networks, 1, in).
    """
    weights: list[Tensor] = [linear.weight_v for linear in linears]
    if weights[0].numel() <= SMALL:
        weights = [joined(weights)]
    # torch's own norm takes many times longer along this axis
    squares = joined([(weight * weight).sum(2, keepdim=True) for weight in weights])
    gain = joined([linear.weight_g for linear in linears]) / squares.sqrt()
    bias = joined([linear.bias for linear in linears])
    if factor is not None:
        gain, bias = gain * factor, bias * factor
    gains: Sequence[Tensor | None] = [None] * len(bias)
    reciprocals = gains
    # what is recorded has few rows, and may not look at shapes
    if not is_recording() and 2 * rows > gain.shape[3]:
        sizes = [len(weight) for weight in weights]
        columns = [None] * len(sizes) if reciprocal is None else reciprocal.transpose(2, 3).split(sizes)
        weights = [_scaled(*each) for each in zip(weights, gain.split(sizes), columns, strict=True)]
    else:
        gains = gain.unbind()
        reciprocals = [gain.new_ones(())] * len(bias) if reciprocal is None else reciprocal.unbind()
    members = [member for weight in weights for member in weight.unbind()], bias.unbind(), gains, reciprocals
    return [Product(*member) for member in zip(*members, strict=True)]


def _scaled(weight: Tensor, row: Tensor, column: Tensor | None) -> Tensor:
    """A weight (..., in, out) times a row (..., 1, out), and times a column (..., in, 1) if there is one."""
    if column is None:
        return weight * row
    if not torch.is_grad_enabled():
        return (weight * row).mul_(column)
    return weight * (column @ row)  # its backward pass reduces as it multiplies, without more tensors of this size
