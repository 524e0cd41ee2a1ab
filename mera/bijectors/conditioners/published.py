r"""The conditioner networks of the RG-Flow paper and of its authors' code.

The weights of all networks of one shape, and of all residual blocks, are stacked in one parameter (blocks, networks,
...); values are (networks, B, features). This module has the formulas of the paper; couplings evaluate the same
functions faster, see `mera.bijectors.conditioners.fused`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from mera._utils.checks import DEEPEST, check_count, check_shape
from mera._utils.errors import InputError
from mera.bijectors.conditioners.base import Conditioner, Shape


class Swish(nn.Module):
    r"""The activation :math:`x \, \sigma(a x)` with a learnable slope :math:`a` for each feature.

    Proposed by Ramachandran et al. (2017), https://arxiv.org/abs/1710.05941. Slopes start at 1.
    """

    def __init__(self, blocks: int, networks: int, features: int) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.ones(blocks, networks, 1, features))

    def forward(self, x: Tensor, block: int = 0) -> Tensor:
        """Apply the activation of one block to all networks, (networks, B, features)."""
        return x * torch.sigmoid(self.slope[block] * x)


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

    def forward(self, x: Tensor, block: int = 0) -> Tensor:
        """Apply the layer of one block to all networks, (networks, B, in) to (networks, B, out)."""
        v = self.weight_v[block]
        weight = self.weight_g[block] * v / v.norm(dim=1, keepdim=True)
        return x @ weight + self.bias[block]


class ResidualStack(nn.Module):
    r"""Stacked residual networks: `blocks` times :math:`x \leftarrow (x + f(x)) / \sqrt{2}`, then a scale.

    :math:`f` alternates `Swish` and `WeightNormLinear` through the widths `hidden` and back to `features` (RG-Flow,
    App. A and Fig. 7, https://arxiv.org/abs/2010.00029). The scale of each feature starts at 0.
    """

    def __init__(self, networks: int, features: int, hidden: Sequence[int], blocks: int) -> None:
        super().__init__()
        check_count(blocks, "residual blocks", most=DEEPEST)
        widths = (features, *check_shape(hidden, "hidden", 0), features)
        self.blocks = blocks
        self.sizes = networks, widths, blocks
        self.swishes = nn.ModuleList(Swish(blocks, networks, width) for width in widths[:-1])
        self.linears = nn.ModuleList(WeightNormLinear(blocks, networks, i, o) for i, o in pairwise(widths))
        self.scale = nn.Parameter(torch.zeros(networks, 1, features))

    def forward(self, x: Tensor) -> Tensor:
        """Run all networks, each on its own inputs, (networks, B, features)."""
        for block in range(self.blocks):
            change = x
            for swish, linear in zip(self.swishes, self.linears, strict=True):
                change = linear(swish(change, block), block)
            x = (x + change) / math.sqrt(2)
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

    Raises:
        ValueError: if there is no residual block, or a width is not a positive integer.
    """

    def __init__(
        self, in_shape: Shape, out_shape: Shape, n_params: int, *, hidden: Sequence[int] = (64,), blocks: int = 2
    ) -> None:
        super().__init__()
        check_count(n_params, "n_params")
        before, after = math.prod(in_shape), math.prod(out_shape)
        self.n_params, self.in_features, self.out_shape = n_params, before, tuple(out_shape)
        self.stem = None if before == after else WeightNormLinear(1, n_params, before, after)
        self.networks = ResidualStack(n_params, after, hidden, blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Map the half that is read, (B, *in_shape), to parameters, (B, n_params, *out_shape)."""
        x = x.flatten(1).expand(self.n_params, -1, -1)  # all networks have the same input
        if self.stem is not None:
            x = self.stem(x)
        return self.networks(x).transpose(0, 1).unflatten(2, self.out_shape)


class PatchMLPs(Conditioner):
    """One residual network for each parameter, as wide as the whole patch and shared between both halves.

    This is the conditioner of the RG-Flow authors' code, https://github.com/hongyehu/RG-Flow. Its input is the patch,
    first half before second half, with zeros in place of the half that is transformed; the parameters are the outputs
    at the positions of that half.

    Args:
        in_shape: shape of the half that is read, a vector.
        out_shape: shape of the half that is transformed, equal to `in_shape`.
        n_params: number of parameters for each variable, which is also the number of networks.
        hidden: widths of the hidden layers in one residual block.
        blocks: number of residual blocks.

    Raises:
        ValueError: if the halves are not vectors of one length, if there is a context, if there is no residual block,
            or a width is not a positive integer.
    """

    shared_between_halves = True

    def __init__(
        self, in_shape: Shape, out_shape: Shape, n_params: int, *, hidden: Sequence[int] = (64,), blocks: int = 2
    ) -> None:
        super().__init__()
        check_count(n_params, "n_params")
        if in_shape != out_shape or len(in_shape) != 1:
            raise InputError(
                "halves that are vectors of one length, and no context", f"{in_shape} to read, {out_shape} to transform"
            )
        self.n_params, self.in_features = n_params, in_shape[0]
        self.networks = ResidualStack(n_params, 2 * self.in_features, hidden, blocks)

    def forward(self, x: Tensor, half: int) -> Tensor:
        """Map half 0 or half 1, (B, n), to the parameters of the other half, (B, n_params, n)."""
        zeros = torch.zeros_like(x)
        patch = torch.cat([x, zeros] if half == 0 else [zeros, x], dim=1)
        outputs = self.networks(patch.expand(self.n_params, -1, -1))
        return outputs.chunk(2, dim=2)[1 - half].transpose(0, 1)
