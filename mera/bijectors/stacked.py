"""The paper's residual networks, several side by side, run as one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mera.bijectors.layers import Product, Swish, WeightNormLinear

__all__ = ["StackedMLPs"]

ALL = slice(None)


class StackedMLPs(nn.Module):
    """Residual networks side by side: `blocks` times x <- (x + f(x)) / sqrt(2), then a scale a feature, 0 at the start.

    f is [swish, weight-normed linear] repeated through the widths `hidden` and back (paper, App. A and Fig. 7).

    The factors between the products are moved to where they cost least, which changes rounding and nothing else. The
    stream of x is kept as 2^(k/2) x after k blocks, and without the biases added so far, so that a block adds to it in
    its last product.

    Args:
        networks: how many.
        features: their width between blocks.
        hidden: widths of the hidden layers in one residual block.
        blocks: residual blocks.
    """

    def __init__(self, networks: int, features: int, hidden: Sequence[int], blocks: int) -> None:
        super().__init__()
        widths = (features, *hidden, features)
        self.networks, self.blocks = networks, blocks
        self.swishes = nn.ModuleList(Swish(blocks, networks, width) for width in widths[:-1])
        self.linears = nn.ModuleList(WeightNormLinear(blocks, networks, i, o) for i, o in pairwise(widths))
        self.scale = nn.Parameter(torch.zeros(networks, 1, features))

    def prepare(self, rows: int) -> Ready:
        """The networks for batches of `rows`, with all that does not depend on their input computed."""
        swishes = [swish.slope_and_reciprocal() for swish in cast(Iterable[Swish], self.swishes)]
        linears = list(cast(Iterable[WeightNormLinear], self.linears))
        roots = self.scale.new_tensor([2 ** (k / 2) for k in range(self.blocks)]).view(-1, 1, 1, 1)
        factors = [*(slope for slope, _ in swishes[1:]), roots]
        products = [
            linear.products(rows, factor, reciprocal)
            for linear, factor, (_, reciprocal) in zip(linears, factors, swishes, strict=True)
        ]
        biases = (linears[-1].bias * roots).cumsum(0)  # what the stream lacks after each block
        slopes = swishes[0][0] / roots
        starts = [None, *(slopes[1:] * biases[:-1]).unbind()]
        blocks = [Block(*members) for members in zip(slopes.unbind(), starts, zip(*products, strict=True), strict=True)]
        scale = self.scale * 2 ** (-self.blocks / 2)
        return Ready(tuple(blocks), scale, scale * biases[-1])


class Block(NamedTuple):
    """A residual block: the factor and the shift of the stream before the first swish, and its products."""

    slope: Tensor
    start: Tensor | None
    products: tuple[Product, ...]

    def __call__(self, stream: Tensor, to: Tensor) -> Tensor:
        """What the block makes of the stream, added to `to`."""
        value = stream * self.slope if self.start is None else torch.addcmul(self.start, stream, self.slope)
        *inner, last = self.products
        spare = not torch.is_grad_enabled()  # on a CPU a fresh tensor costs more than what is computed into it
        for product in inner:
            value = product(F.silu(value, inplace=spare))
        return last(F.silu(value, inplace=spare), to)


class Ready(NamedTuple):
    """Networks ready to run, which may read and write a part of the features only: `reads`, `writes`."""

    blocks: tuple[Block, ...]
    scale: Tensor
    shift: Tensor
    reads: slice = ALL
    writes: slice = ALL

    def narrowed(self, reads: slice, writes: slice) -> Ready:
        """The same networks, where all features but `reads` are 0 and none but `writes` are asked for."""
        first, *others = self.blocks
        narrow = first.products[0].narrowed(reads, ALL)
        blocks = [first._replace(slope=first.slope[..., reads], products=(narrow, *first.products[1:])), *others]
        last = blocks.pop()
        narrow = last.products[-1].narrowed(ALL, writes)
        blocks.append(last._replace(products=(*last.products[:-1], narrow)))
        return Ready(tuple(blocks), self.scale[..., writes], self.shift[..., writes], reads, writes)

    def __call__(self, stream: Tensor) -> Tensor:
        """(networks, N, features) -> (networks, N, features that are written)."""
        source = stream[..., self.reads]
        for block in self.blocks[:-1]:
            source = stream = block(source, stream)
        return torch.addcmul(self.shift, self.blocks[-1](source, stream[..., self.writes]), self.scale)
