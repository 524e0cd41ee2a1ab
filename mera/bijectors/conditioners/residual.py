"""The networks of this package that condition couplings: the paper's, and plain residual ones.

Once their options are bound with `functools.partial`, they are what a `Coupling` takes as its conditioner.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mera._utils.checks import check_choice, check_count
from mera.bijectors.conditioners.base import Conditioner, Parametrize
from mera.bijectors.conditioners.layers import Product, WeightNormLinear, products
from mera.bijectors.conditioners.stacked import Ready, StackedMLPs

__all__ = ["PatchMLPs", "ResidualConv", "ResidualMLP", "SeparateMLPs", "compressed"]

Shape = tuple[int, ...]

REACH = 10.0
"""Where `compressed` turns from straight to logarithmic."""


def compressed(x: Tensor) -> Tensor:
    """10 asinh(x / 10): nearly x within a few units, then a logarithm.

    What is far out then drives no parameter far out, and its rounding does not show in the parameters, which the
    inverse has to find again.
    """
    return REACH * torch.asinh(x / REACH)


class SeparateMLPs(Conditioner):
    """A residual network for each parameter, as wide as the half that it transforms (paper, App. A and Fig. 7).

    See `StackedMLPs`. Halves of different sizes need a first layer from one to the other.

    Args:
        in_shape, out_shape, n_params: as the coupling says.
        hidden: widths of the hidden layers in one residual block.
        blocks: residual blocks.
    """

    def __init__(
        self, in_shape: Shape, out_shape: Shape, n_params: int, *, hidden: Sequence[int] = (64,), blocks: int = 2
    ) -> None:
        super().__init__()
        before, after = math.prod(in_shape), math.prod(out_shape)
        self.sizes = before, after, n_params, tuple(hidden), blocks
        self.out_shape = tuple(out_shape)
        self.stem = None if before == after else WeightNormLinear(1, n_params, before, after)
        self.networks = StackedMLPs(n_params, after, hidden, blocks)

    def forward(self, x: Tensor) -> Tensor:
        """(B, *in_shape) -> (B, n_params, *out_shape)."""
        return next(self.prepare([self], x.shape[0]))(x)

    @staticmethod
    def prepare(networks: Sequence[SeparateMLPs], rows: int) -> Iterator[Parametrize]:
        """What to call in the place of each."""
        stems = [network.stem for network in networks if network.stem is not None]
        first: Sequence[Product | None] = products(stems, rows) if stems else [None] * len(networks)
        stacks = StackedMLPs.prepare([network.networks for network in networks], rows)
        for network, stem, stacked in zip(networks, first, stacks, strict=True):
            yield network._ready(stem, stacked)

    def _ready(self, stem: Product | None, stacked: Ready) -> Parametrize:
        def parametrize(x: Tensor) -> Tensor:
            stream = x.flatten(1).expand(self.networks.networks, -1, -1)
            if stem is not None:
                stream = stem(stream)
            return stacked(stream).transpose(0, 1).unflatten(2, self.out_shape)

        return parametrize


class PatchMLPs(Conditioner):
    """Networks as wide as both halves, the same for both directions, as the RG-Flow authors' code has them.

    See `StackedMLPs`. Features are those of the first half, then those of the second. There are zeros where the other
    half would be, which are not multiplied, and outputs for the half that is read are not computed.

    Args:
        in_shape, out_shape, n_params: as the coupling says; both halves are vectors of one length, without a context.
        hidden, blocks: as for `SeparateMLPs`.
    """

    shared_between_halves = True

    def __init__(
        self, in_shape: Shape, out_shape: Shape, n_params: int, *, hidden: Sequence[int] = (64,), blocks: int = 2
    ) -> None:
        super().__init__()
        if in_shape != out_shape or len(in_shape) != 1:
            raise ValueError(
                f"Expected halves that are vectors of one length, and no context; got {in_shape} to read, "
                f"{out_shape} to transform"
            )
        self.sizes = in_shape, n_params, tuple(hidden), blocks
        self.width = in_shape[0]
        self.networks = StackedMLPs(n_params, 2 * self.width, hidden, blocks)

    @staticmethod
    def prepare(networks: Sequence[PatchMLPs], rows: int) -> Iterator[tuple[Parametrize, Parametrize]]:
        """What reads the first half and what reads the second, for each."""
        stacks = StackedMLPs.prepare([network.networks for network in networks], rows)
        for network, stacked in zip(networks, stacks, strict=True):
            yield network._both(stacked)

    def _both(self, ready: Ready) -> tuple[Parametrize, Parametrize]:
        first, second = slice(None, self.width), slice(self.width, None)

        def parametrize(reads: slice, writes: slice) -> Parametrize:
            networks = ready.narrowed(reads, writes)
            padding = (0, self.width) if reads is first else (self.width, 0)
            return lambda x: networks(F.pad(x, padding).expand(self.networks.networks, -1, -1)).transpose(0, 1)

        return parametrize(first, second), parametrize(second, first)


class _ResidualNetwork(nn.Module):
    """A stem to the width hidden[0], residual blocks, and a head for all parameters, which starts at 0.

    Inputs are `compressed`.
    `layer(i, o, wide)` makes a layer; those that are not `wide` look at one site only.
    """

    def __init__(
        self, layer: Callable[[int, int, bool], nn.Module], in_width: int, out_width: int,
        hidden: Sequence[int], blocks: int,
    ) -> None:  # fmt: skip
        super().__init__()
        if not hidden:
            raise ValueError(f"Expected at least one hidden width; got {hidden!r}")
        for width in hidden:
            check_count(width, "a hidden width")
        check_count(blocks, "residual blocks", 0)
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
        x = self.stem(compressed(x))
        for block in self.blocks:
            x = x + block(x)
        return self.head(x)


class ResidualMLP(Conditioner):
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


class ResidualConv(Conditioner):
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
        if check_count(kernel, "the kernel") % 2 == 0:
            raise ValueError(f"Expected an odd kernel; got {kernel}")
        if check_choice(padding, ("zeros", "circular"), "a padding") == "circular" and kernel // 2 > min(in_shape[1:]):
            raise ValueError(
                f"Expected a lattice that the kernel {kernel} goes around once at most; got {in_shape[1:]}"
            )
        conv: Any = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[len(in_shape) - 2]

        def layer(i: int, o: int, wide: bool) -> nn.Module:
            k = kernel if wide else 1
            return conv(i, o, k, padding=k // 2, padding_mode=padding)

        self.n_params = n_params
        self.radius = (1 + blocks) * (kernel // 2)
        self.circular = padding == "circular"
        self.network = _ResidualNetwork(layer, in_shape[0], n_params * out_shape[0], hidden, blocks)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, *sites) -> (B, n_params, C_out, *sites)."""
        return self.network(x).unflatten(1, (self.n_params, -1))
