"""Conditioners: the networks that read one half of an event and parametrise the transform of the other.

A coupling makes its conditioners by calling `make(in_shape, out_shape, n_params)`; what comes back is any module
that maps (B, *in_shape) to (B, n_params, *out_shape). The classes below are such callables once their options are
bound with `functools.partial`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from mera.bijectors.layers import Swish, WeightNormLinear

__all__ = ["ConditionerFactory", "ResidualConv", "ResidualMLP", "SeparateMLPs"]

Shape = tuple[int, ...]
ConditionerFactory = Callable[[Shape, Shape, int], nn.Module]


class SeparateMLPs(nn.Module):
    """A residual network for each parameter, as wide as the half that it reads (paper, App. A and Fig. 7).

    Each network is `blocks` times x <- (x + f(x)) / sqrt(2), where f is [swish, weight-normed linear] repeated
    through the widths `hidden` and back, then a learnable scale a feature, 0 at the start.

    Args:
        in_shape, out_shape, n_params: as the coupling says.
        hidden: widths of the hidden layers in one residual block.
        blocks: residual blocks.
    """

    def __init__(
        self, in_shape: Shape, out_shape: Shape, n_params: int, *, hidden: Sequence[int] = (64,), blocks: int = 2
    ) -> None:
        super().__init__()
        features = math.prod(in_shape), math.prod(out_shape)
        self.out_shape = tuple(out_shape)
        self.networks = nn.ModuleList(_PaperMLP(*features, hidden, blocks) for _ in range(n_params))

    def forward(self, x: Tensor) -> Tensor:
        """(B, *in_shape) -> (B, n_params, *out_shape)."""
        x = x.flatten(1)
        return torch.stack([network(x) for network in self.networks], dim=1).unflatten(2, self.out_shape)


class _PaperMLP(nn.Module):
    """One network of `SeparateMLPs`. Halves of different sizes need a first layer from one to the other."""

    def __init__(self, in_features: int, out_features: int, hidden: Sequence[int], blocks: int) -> None:
        super().__init__()
        same = in_features == out_features
        self.stem = nn.Identity() if same else WeightNormLinear(in_features, out_features)
        widths = (out_features, *hidden, out_features)
        self.blocks = nn.ModuleList(
            nn.Sequential(*(layer for i, o in pairwise(widths) for layer in (Swish(i), WeightNormLinear(i, o))))
            for _ in range(blocks)
        )
        self.scale = nn.Parameter(torch.zeros(out_features))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = (x + block(x)) / math.sqrt(2)
        return x * self.scale


class _ResidualNetwork(nn.Module):
    """A stem to the width hidden[0], residual blocks, and a head for all parameters, which starts at 0.

    `layer(i, o, wide)` makes a layer; those that are not `wide` look at one site only.
    """

    def __init__(
        self, layer: Callable[[int, int, bool], nn.Module], in_width: int, out_width: int,
        hidden: Sequence[int], blocks: int,
    ) -> None:  # fmt: skip
        super().__init__()
        if not hidden:
            raise ValueError(f"Expected at least one hidden width; got {hidden!r}")
        width = hidden[0]
        widths = (width, *hidden, width)
        self.stem = layer(in_width, width, True)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                *(
                    module
                    for depth, (i, o) in enumerate(pairwise(widths))
                    for module in (nn.SiLU(), layer(i, o, depth == 0))
                )
            )
            for _ in range(blocks)
        )
        head = layer(width, out_width, False)
        for parameter in head.parameters():
            nn.init.zeros_(parameter)
        self.head = nn.Sequential(nn.SiLU(), head)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = (x + block(x)) / math.sqrt(2)
        return self.head(x)


class ResidualMLP(nn.Module):
    """One residual network for all parameters of a half: a stem, residual blocks, a head for each parameter.

    Args:
        in_shape, out_shape, n_params: as the coupling says.
        hidden: widths of the hidden layers in one residual block; the first is also the width between blocks.
        blocks: residual blocks.
    """

    def __init__(
        self, in_shape: Shape, out_shape: Shape, n_params: int, *, hidden: Sequence[int] = (64,), blocks: int = 1
    ) -> None:
        super().__init__()
        self.out_shape = (n_params, *out_shape)
        self.network = _ResidualNetwork(
            lambda i, o, wide: nn.Linear(i, o), math.prod(in_shape), math.prod(self.out_shape), hidden, blocks
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, *in_shape) -> (B, n_params, *out_shape)."""
        return self.network(x.flatten(1)).unflatten(1, self.out_shape)


class ResidualConv(nn.Module):
    """The residual network of convolutions with which Dinh et al. (2017) condition couplings of whole lattices.

    Args:
        in_shape, out_shape, n_params: as the coupling says; shapes are (C, *sites) in 1, 2 or 3 dimensions.
        hidden: channels of the hidden layers in one residual block; the first is also the width between blocks.
        blocks: residual blocks. The stem and the first layer of each block see `kernel` sites, the others one.
        kernel: an odd number.
        padding: "zeros" between open borders, "circular" where the lattice is periodic.
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        n_params: int,
        *,
        hidden: Sequence[int] = (32,),
        blocks: int = 2,
        kernel: int = 3,
        padding: str = "zeros",
    ) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"Expected an odd kernel; got {kernel}")
        conv: Any = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[len(in_shape) - 2]

        def layer(i: int, o: int, wide: bool) -> nn.Module:
            k = kernel if wide else 1
            return conv(i, o, k, padding=k // 2, padding_mode=padding)

        self.n_params = n_params
        self.radius = (1 + blocks) * (kernel // 2)
        """How many sites to each side an output depends on."""
        self.wraps = padding == "circular"
        """Whether these go on at the opposite border."""
        self.network = _ResidualNetwork(layer, in_shape[0], n_params * out_shape[0], hidden, blocks)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, *sites) -> (B, n_params, C_out, *sites)."""
        return self.network(x).unflatten(1, (self.n_params, -1))
