"""Residual networks that condition couplings, made of linear layers or of convolutions.

`functools.partial` binds the options of a class; the result is a conditioner factory for `Coupling`.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from mera._utils.checks import MAX_LAYERS, check_choice, check_count, check_shape
from mera._utils.errors import InputError
from mera.bijectors.conditioners.base import Conditioner, Shape

REACH = 10.0
"""The magnitude at which the compression of inputs turns from linear to logarithmic."""


class _ResidualNetwork(nn.Module):
    r"""A first layer to the width hidden[0], residual blocks, and a last layer for all parameters, which starts at 0.

    Large inputs are compressed: :math:`10 \, \mathrm{asinh}(x / 10)` is nearly :math:`x` within a few units. An outlier
    in the input then does not make an outlier in the parameters, and its rounding error hardly changes the parameters,
    which the inverse has to reproduce.

    `layer` makes a layer from its input width, its output width, and whether it may read neighbouring sites. `hidden`
    holds the widths of the hidden layers in one residual block.
    """

    def __init__(
        self, layer: Callable[[int, int, bool], nn.Module], in_width: int, out_width: int,
        hidden: Sequence[int], blocks: int,
    ) -> None:  # fmt: skip
        super().__init__()
        hidden = check_shape(hidden, "hidden")
        check_count(blocks, "residual blocks", 0, MAX_LAYERS)
        width = hidden[0]
        widths = (width, *hidden, width)
        self.stem: Any = layer(in_width, width, True)
        self.blocks: Any = nn.ModuleList(
            _activated(*(layer(i, o, k == 0) for k, (i, o) in enumerate(pairwise(widths)))) for _ in range(blocks)
        )
        self.head: Any = _activated(layer(width, out_width, False))
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(torch.asinh(x / REACH) * REACH)
        for block in self.blocks:
            value = x
            for layer in block:
                value = layer(silu(value))
            x = x + value
        (head,) = self.head
        return head(silu(x))


def _activated(*layers: nn.Module) -> nn.Sequential:
    """Layers, each behind an activation, which counts as a layer in their names."""
    return nn.Sequential(OrderedDict((str(2 * k + 1), layer) for k, layer in enumerate(layers)))


class ResidualMLP(Conditioner):
    """One residual network of linear layers for all parameters of a half.

    Args:
        in_shape: shape of the half that is read, including an appended context.
        out_shape: shape of the half that is transformed.
        n_params: number of parameters for each variable.
        hidden: widths of the hidden layers in one residual block; the first is also the width between blocks.
        blocks: number of residual blocks.
    """

    def __init__(
        self, in_shape: Shape, out_shape: Shape, n_params: int, *, hidden: Sequence[int] = (64,), blocks: int = 1
    ) -> None:
        super().__init__()
        self.out_shape = (n_params, *check_shape(out_shape, "out_shape"))
        self.network = _ResidualNetwork(
            lambda i, o, wide: nn.Linear(i, o), math.prod(in_shape), math.prod(self.out_shape), hidden, blocks
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map the half that is read, (B, *in_shape), to parameters, (B, n_params, *out_shape)."""
        return self.network(x.flatten(1)).reshape(-1, *self.out_shape)


class ResidualConv(Conditioner):
    r"""One residual network of convolutions for all parameters of a half of a lattice.

    Dinh et al. (2017) condition the couplings of Real NVP like this, https://arxiv.org/abs/1605.08803. Shapes are
    (C, *sites), in 1, 2 or 3 dimensions, and a context adds channels. The arguments are those of `ResidualMLP`, and

    Args:
        kernel: odd size of the convolutions in the first layer and in the first layer of each block; all other layers
            are 1 x 1 convolutions.
        padding: "zeros" between open borders, "circular" on a periodic lattice, whose edges are at least kernel // 2.
    """

    def __init__(
        self, in_shape: Shape, out_shape: Shape, n_params: int,
        *, hidden: Sequence[int] = (32,), blocks: int = 2, kernel: int = 3, padding: str = "zeros",
    ) -> None:  # fmt: skip
        super().__init__()
        in_shape, out_shape = check_shape(in_shape, "in_shape", 2), check_shape(out_shape, "out_shape", 2)
        if check_count(kernel, "the kernel") % 2 == 0:
            raise InputError("an odd kernel", str(kernel))
        check_choice(padding, ("zeros", "circular"), "a padding")
        conv: Any = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[len(in_shape) - 2]

        def layer(i: int, o: int, wide: bool) -> nn.Module:
            k = kernel if wide else 1
            return conv(i, o, k, padding=k // 2, padding_mode=padding)

        self.n_params = n_params
        self.radius = (1 + blocks) * (kernel // 2)
        self.circular = padding == "circular"
        self.network = _ResidualNetwork(layer, in_shape[0], n_params * out_shape[0], hidden, blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Map the half that is read, (B, C_in, *sites), to parameters, (B, n_params, C_out, *sites)."""
        return self.network(x).unflatten(1, (self.n_params, -1))
