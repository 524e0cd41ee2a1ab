"""The paper's residual networks, several side by side, run as one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mera.bijectors.conditioners.layers import (
    Product,
    Swish,
    WeightNormLinear,
    joined,
    products,
    slopes_and_reciprocals,
)

__all__ = ["Ready", "StackedMLPs"]

ALL = slice(None)
ROOM = 2**20
"""The most numbers of weights that are prepared at a time, but always those of at least one network."""


class StackedMLPs(nn.Module):
    """Residual networks side by side: `blocks` times x <- (x + f(x)) / sqrt(2), then a scale for each feature.

    f is [swish, weight-normed linear] repeated through the widths `hidden` and back (paper, App. A and Fig. 7). The
    scales are 0 at the start.

    Factors and biases are moved to where they cost least, which changes rounding and nothing else. Let x_k enter block
    k, whose last bias is b_k, and u_k = 2^(k/2) x_k. Then

        u_{k+1} = u_k + 2^(k/2) f_k(x_k),    v_k = u_k - c_k    with    c_k = sum over j < k of 2^(j/2) b_j,

    and a block adds a bare product to the stream v, in place. Its first swish of slope a reads

        a x_k = (a / 2^(k/2)) v_k + (a / 2^(k/2)) c_k,    which are `slope` and `start` in `Block`,

    and what comes out behind K blocks is scale 2^(-K/2) (v_K + c_K): `scale` and `shift` in `Ready`.

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

    @staticmethod
    def prepare(stacks: Sequence[StackedMLPs], rows: int) -> Iterator[Ready]:
        """One after the other of several, equal in shape, for batches of `rows`: what does not depend on their input.

        As many at once as there is room for: few operations where weights are small, little memory where they are not.
        """
        at_once = max(1, ROOM // sum(linear.weight_v.numel() for linear in cast(Any, stacks[0].linears)))
        for start in range(0, len(stacks), at_once):
            yield from _prepared(stacks[start : start + at_once], rows)


def _prepared(stacks: Sequence[StackedMLPs], rows: int) -> list[Ready]:
    """All of them, their blocks as if they were those of one."""
    count, blocks, scale = len(stacks), stacks[0].blocks, stacks[0].scale
    swishes = [slopes_and_reciprocals(layer) for layer in zip(*(stack.swishes for stack in stacks), strict=True)]
    linears: list[Any] = list(zip(*(stack.linears for stack in stacks), strict=True))
    roots = scale.new_tensor([2 ** (k / 2) for k in range(blocks)] * count).view(-1, 1, 1, 1)
    factors = [*(slope for slope, _ in swishes[1:]), roots]
    layers = [
        products(linear, rows, factor, reciprocal)
        for linear, factor, (_, reciprocal) in zip(linears, factors, swishes, strict=True)
    ]
    biases = (joined([linear.bias for linear in linears[-1]]) * roots).unflatten(0, (count, blocks))
    biases = biases.cumsum(1)  # c_1 to c_K
    slopes = (swishes[0][0] / roots).unflatten(0, (count, blocks))
    starts = slopes[:, 1:] * biases[:, :-1]
    scales = torch.stack([stack.scale for stack in stacks]) * 2 ** (-blocks / 2)
    shifts = scales * biases[:, -1]
    every = [
        Block(*members)
        for members in zip(
            slopes.flatten(0, 1).unbind(),
            [start for row in starts.unbind() for start in (None, *row.unbind())],
            zip(*layers, strict=True),
            strict=True,
        )
    ]
    return [
        Ready(every[i * blocks : (i + 1) * blocks], *last)
        for i, last in enumerate(zip(scales.unbind(), shifts.unbind(), strict=True))
    ]


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

    blocks: list[Block]
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
        return Ready(blocks, self.scale[..., writes], self.shift[..., writes], reads, writes)

    def __call__(self, stream: Tensor) -> Tensor:
        """(networks, N, features) -> (networks, N, features that are written)."""
        source = stream[..., self.reads]
        for block in self.blocks[:-1]:
            source = stream = block(source, stream)
        return torch.addcmul(self.shift, self.blocks[-1](source, stream[..., self.writes]), self.scale)
