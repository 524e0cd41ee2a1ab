"""Layers of the paper's conditioner networks: equal layers of several networks and residual blocks in one parameter.

Shapes: all parameters start with (blocks, networks).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["Product", "Swish", "WeightNormLinear"]


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
            return torch.baddbmm(to, y, self.weight)
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

    def slope_and_reciprocal(self) -> tuple[Tensor, Tensor]:
        """a and 1 / a, for a moved away from 0 by as much as rounding may."""
        tiny = self.slope.new_tensor(2 * torch.finfo(self.slope.dtype).eps)
        slope = self.slope + torch.copysign(tiny, self.slope)
        return slope, slope.reciprocal()


class WeightNormLinear(nn.Module):
    r"""A linear layer with weight g v / \|v\|, the norm taken of each row (Salimans & Kingma 2016).

    Weights start uniform within ±sqrt(2.81 * 3 / fan_in), biases at 0.
    """

    def __init__(self, blocks: int, networks: int, in_features: int, out_features: int) -> None:
        super().__init__()
        bound = math.sqrt(2.81 * 3 / in_features)
        self.weight_v = nn.Parameter(torch.empty(blocks, networks, out_features, in_features).uniform_(-bound, bound))
        self.weight_g = nn.Parameter(self.weight_v.detach().norm(dim=3, keepdim=True))
        self.bias = nn.Parameter(torch.zeros(blocks, networks, 1, out_features))

    def products(self, rows: int, factor: Tensor | None = None, reciprocal: Tensor | None = None) -> list[Product]:
        """The layer of each block, with its output times `factor` and its input times `reciprocal`.

        The weight takes the factors, unless there are so few rows that its activations are smaller.

        Args:
            rows: the size of the batch.
            factor: (blocks, networks, 1, out) or anything that broadcasts to it.
            reciprocal: (blocks, networks, 1, in).
        """
        weight: Tensor = self.weight_v
        bias: Tensor = self.bias
        gain = self.weight_g / torch.linalg.vector_norm(weight, dim=3, keepdim=True)
        if factor is not None:
            gain, bias = gain * factor.transpose(2, 3), bias * factor
        blocks, _, width, _ = weight.shape
        gains: Iterable[Tensor | None]
        reciprocals: Iterable[Tensor | None]
        if not torch.jit.is_tracing() and 2 * rows > width:  # what is recorded has few rows, and may not look at shapes
            # an outer product: its backward pass reduces as it multiplies, without more tensors of the weight's size
            weight = weight * (gain if reciprocal is None else gain @ reciprocal)
            gains = reciprocals = [None] * blocks
        else:
            gains = gain.transpose(2, 3).unbind()
            reciprocals = [gain.new_ones(())] * blocks if reciprocal is None else reciprocal.unbind()
        members = weight.transpose(2, 3).unbind(), bias.unbind(), gains, reciprocals
        return [Product(*member) for member in zip(*members, strict=True)]
