r"""The conditioner networks of the RG-Flow paper and of its authors' code.

The weights of all networks of one shape, and of all residual blocks, are stacked in one parameter (blocks, networks,
...); values are (networks, B, features). A swish :math:`x \, \sigma(a x) = \mathrm{silu}(a x) / a` is torch's silu, if
the layer before it is multiplied by :math:`a` and the layer behind it divided by :math:`a`: slopes and norms are
multiplied into the weights, once for a pass. The gradient of a slope is then the difference of two terms, with a
relative rounding error of about :math:`\epsilon / |a|` for the machine precision :math:`\epsilon`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mera._utils.checks import MAX_LAYERS, check_count, check_shape
from mera._utils.errors import InputError
from mera.bijectors.conditioners.base import Conditioner, Shape


class Swish(nn.Module):
    r"""The activation :math:`x \, \sigma(a x)` with a learnable slope :math:`a` for each feature.

    Proposed by Ramachandran et al. (2017), https://arxiv.org/abs/1710.05941. Slopes start at 1.
    """

    def __init__(self, blocks: int, networks: int, features: int) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.ones(blocks, networks, 1, features))

    def away_from_zero(self) -> Tensor:
        """The slopes, moved away from 0 by two rounding errors, because the layer behind is divided by them."""
        tiny = self.slope.new_tensor(2 * torch.finfo(self.slope.dtype).eps)
        return self.slope + torch.copysign(tiny, self.slope)


class WeightNormLinear(nn.Module):
    r"""A linear layer whose weight is :math:`g \, v / \|v\|`, with one norm for each output.

    Weight normalisation is due to Salimans and Kingma (2016), https://arxiv.org/abs/1602.07868. Weights, (in_features,
    out_features), start uniform within :math:`\pm\sqrt{2.81 \cdot 3 / n}` for :math:`n` inputs, and biases start at 0.
    """

    def __init__(self, blocks: int, networks: int, in_features: int, out_features: int) -> None:
        super().__init__()
        bound = math.sqrt(2.81 * 3 / in_features)
        self.weight_v = nn.Parameter(torch.empty(blocks, networks, in_features, out_features).uniform_(-bound, bound))
        self.weight_g = nn.Parameter(self.weight_v.detach().norm(dim=2, keepdim=True))
        self.bias = nn.Parameter(torch.zeros(blocks, networks, 1, out_features))

    def gain(self) -> Tensor:
        """The factors of the outputs, g / |v|, (blocks, networks, 1, out)."""
        return self.weight_g / (self.weight_v * self.weight_v).sum(2, keepdim=True).sqrt()  # linalg.norm is slower


class ResidualStack(nn.Module):
    r"""Stacked residual networks: `blocks` times :math:`x \leftarrow (x + f(x)) / \sqrt{2}`, then a scale.

    :math:`f` alternates `Swish` and `WeightNormLinear` through the widths `hidden` and back to `features` (RG-Flow,
    App. A and Fig. 7, https://arxiv.org/abs/2010.00029). The scale of each feature starts at 0.
    """

    def __init__(self, networks: int, features: int, hidden: Sequence[int], blocks: int) -> None:
        super().__init__()
        check_count(blocks, "residual blocks", most=MAX_LAYERS)
        widths = (features, *check_shape(hidden, "hidden", 0), features)
        self.blocks, self.sizes = blocks, (networks, widths, blocks)
        self.swishes = nn.ModuleList(Swish(blocks, networks, width) for width in widths[:-1])
        self.linears = nn.ModuleList(WeightNormLinear(blocks, networks, i, o) for i, o in pairwise(widths))
        self.scale = nn.Parameter(torch.zeros(networks, 1, features))

    def forward(self, x: Tensor) -> Tensor:
        """Evaluate the networks on features (networks, B, features); see the head of this file."""
        slopes = [swish.away_from_zero() for swish in cast(Any, self.swishes)]
        layers = []
        for linear, before, after in zip(cast(Any, self.linears), slopes, [*slopes[1:], 1], strict=True):
            weight = linear.weight_v * (linear.gain() * after / before.mT)
            layers.append((weight.unbind(), (linear.bias * after).unbind()))
        for block, slope in enumerate(slopes[0].unbind()):
            value = x * slope
            for weights, biases in layers:
                value = F.silu(value, inplace=not torch.is_grad_enabled())
                value = torch.bmm(value, weights[block]) + biases[block]
            x = (x + value) * math.sqrt(0.5)
        return x * self.scale


class SeparateMLPs(Conditioner):
    """One residual network for each parameter, as wide as the half that is transformed.

    This is the conditioner of the RG-Flow paper, App. A and Fig. 7, https://arxiv.org/abs/2010.00029. If the two halves
    differ in size, a linear layer comes before the residual blocks.

    Args:
        in_shape: shape of the half that is read, including an appended context.
        out_shape: shape of the half that is transformed.
        n_params: number of parameters for each variable, which is also the number of networks.
        hidden: widths of the hidden layers in one residual block.
        blocks: number of residual blocks.
    """

    def __init__(
        self, in_shape: Shape, out_shape: Shape, n_params: int, *, hidden: Sequence[int] = (64,), blocks: int = 2
    ) -> None:
        super().__init__()
        before, after = math.prod(in_shape), math.prod(out_shape)
        self.n_params, self.in_features, self.out_shape = n_params, before, tuple(out_shape)
        self.stem = None if before == after else WeightNormLinear(1, n_params, before, after)
        self.networks = ResidualStack(n_params, after, hidden, blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Map the half that is read, (B, *in_shape), to parameters, (B, n_params, *out_shape)."""
        x, stem = x.flatten(1).expand(self.n_params, -1, -1), self.stem  # all networks have the same input
        if stem is not None:
            x = x @ (stem.weight_v[0] * stem.gain()[0]) + stem.bias[0]
        return self.networks(x).transpose(0, 1).unflatten(2, self.out_shape)


class PatchMLPs(Conditioner):
    """One residual network for each parameter, as wide as the whole patch and shared between both halves.

    This is the conditioner of the RG-Flow authors' code, https://github.com/hongyehu/RG-Flow. Its input is the patch,
    first half before second half, with zeros in place of the half that is transformed; the parameters are the outputs
    at the positions of that half. Halves are vectors of one length, without a context; the other arguments are those
    of `SeparateMLPs`.
    """

    shared_between_halves = True

    def __init__(
        self, in_shape: Shape, out_shape: Shape, n_params: int, *, hidden: Sequence[int] = (64,), blocks: int = 2
    ) -> None:
        super().__init__()
        if in_shape != out_shape or len(in_shape) != 1:
            raise InputError(
                "halves that are vectors of one length, and no context", f"{in_shape} to read, {out_shape} to transform"
            )
        self.n_params, self.in_features = n_params, in_shape[0]
        self.networks = ResidualStack(n_params, 2 * self.in_features, hidden, blocks)

    def forward(self, x: Tensor, half: int) -> Tensor:
        """Map half 0 or half 1, (B, n), to the parameters of the other half, (B, n_params, n)."""
        n = self.in_features
        patch = F.pad(x, (0, n) if half == 0 else (n, 0)).expand(self.n_params, -1, -1)
        return self.networks(patch).narrow(2, n if half == 0 else 0, n).transpose(0, 1)
