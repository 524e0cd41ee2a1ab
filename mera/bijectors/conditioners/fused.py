r"""Faster evaluation of the networks of `mera.bijectors.conditioners.published`, equal up to rounding.

Values that depend on weights alone are computed before the pass, for several networks at once: norms and folded
activations (see `mera.bijectors.conditioners.products`), and the sums over residual blocks below.

Let :math:`x_k` enter block :math:`k = 0, 1, \ldots` of a `ResidualStack`, let :math:`b_k` be the bias of the last layer
of its :math:`f_k`, and let :math:`\bar f_k = f_k - b_k`. The factors :math:`1 / \sqrt{2}` are moved after all blocks
with :math:`u_k = 2^{k/2} x_k`, and the biases with :math:`v_k = u_k - c_k`:

.. math:: u_{k+1} = u_k + 2^{k/2} f_k(x_k), \qquad
    v_{k+1} = v_k + 2^{k/2} \bar f_k(x_k), \qquad
    c_k = \sum_{j<k} 2^{j/2} b_j.

A block therefore adds a matrix product to the stream :math:`v`, without a bias. Its first activation, of slope
:math:`a`, reads

.. math:: a x_k = \frac{a}{2^{k/2}} v_k + \frac{a}{2^{k/2}} c_k,

whose factor and constant are `slope` and `start` of a `FusedBlock`. The output of :math:`K` blocks is

.. math:: s \, x_K = s \, 2^{-K/2} (v_K + c_K),

whose factor and constant are `scale` and `shift` of a `FusedStack`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mera.bijectors.conditioners.products import Product, concatenated, products, slopes_and_reciprocals
from mera.bijectors.conditioners.published import PatchMLPs, ResidualStack, SeparateMLPs

ALL = slice(None)
ROOM = 2**20
"""The largest number of weight entries that are prepared at once; a single larger network is prepared alone."""


class FusedBlock(NamedTuple):
    """A residual block of several networks.

    Attributes:
        slope: factor of the stream before the first activation, (networks, 1, features).
        start: constant added before the first activation, (networks, 1, features), or None for 0.
        products: the layers of the block.
    """

    slope: Tensor
    start: Tensor | None
    products: tuple[Product, ...]

    def __call__(self, source: Tensor, stream: Tensor) -> Tensor:
        """Add the block's output for `source`, the stream or the part of it that is read, to the stream."""
        value = source * self.slope if self.start is None else torch.addcmul(self.start, source, self.slope)
        *inner, last = self.products
        for product in inner:
            value = product.after_silu(value)
        return last.after_silu(value, stream)


class FusedStack(NamedTuple):
    """The networks of a `ResidualStack`, from the features `inputs` to the features `outputs`.

    Attributes:
        blocks: the residual blocks.
        scale: factor of the outputs, (networks, 1, features).
        shift: constant added to the outputs, (networks, 1, features).
        inputs: the features that are read; all other features are 0.
        outputs: the features that are computed.
    """

    blocks: list[FusedBlock]
    scale: Tensor
    shift: Tensor
    inputs: slice = ALL
    outputs: slice = ALL

    def narrowed(self, inputs: slice, outputs: slice) -> FusedStack:
        """Cut the networks to the features `outputs`, for a stream whose features are 0 except for `inputs`."""
        first, *rest = self.blocks
        product = first.products[0].narrowed(inputs, ALL)
        blocks = [first._replace(slope=first.slope[..., inputs], products=(product, *first.products[1:])), *rest]
        last = blocks.pop()
        product = last.products[-1].narrowed(ALL, outputs)
        blocks.append(last._replace(products=(*last.products[:-1], product)))
        return FusedStack(blocks, self.scale[..., outputs], self.shift[..., outputs], inputs, outputs)

    def __call__(self, stream: Tensor) -> Tensor:
        """Map (networks, B, features) to (networks, B, computed features)."""
        source = stream[..., self.inputs]
        for block in self.blocks[:-1]:
            source = stream = block(source, stream)
        return torch.addcmul(self.shift, self.blocks[-1](source, stream[..., self.outputs]), self.scale)


def _fuse_stacks(stacks: Sequence[ResidualStack], rows: int) -> Iterator[FusedStack]:
    """Prepare stacks of one shape in groups of at most `ROOM` weights, which limits the memory of large networks."""
    at_once = max(1, ROOM // sum(linear.weight_v.numel() for linear in cast(Any, stacks[0].linears)))
    for start in range(0, len(stacks), at_once):
        yield from _fuse_group(stacks[start : start + at_once], rows)


def _fuse_group(stacks: Sequence[ResidualStack], rows: int) -> list[FusedStack]:
    """Prepare stacks of one shape at once, with their blocks concatenated as if all belonged to one stack."""
    count, blocks, scale = len(stacks), stacks[0].blocks, stacks[0].scale
    swishes: list[Any] = list(zip(*(stack.swishes for stack in stacks), strict=True))
    linears: list[Any] = list(zip(*(stack.linears for stack in stacks), strict=True))
    slopes, reciprocals = zip(*map(slopes_and_reciprocals, swishes), strict=True)
    roots = scale.new_tensor([2 ** (k / 2) for k in range(blocks)] * count).view(-1, 1, 1, 1)
    layers = [
        products(layer, rows, slope, reciprocal)
        for layer, slope, reciprocal in zip(linears, [*slopes[1:], roots], reciprocals, strict=True)
    ]
    biases = (concatenated([linear.bias for linear in linears[-1]]) * roots).unflatten(0, (count, blocks))
    biases = biases.cumsum(1)  # c_1 to c_K
    first_slopes = (slopes[0] / roots).unflatten(0, (count, blocks))
    starts = first_slopes[:, 1:] * biases[:, :-1]
    scales = torch.stack([stack.scale for stack in stacks]) * 2 ** (-blocks / 2)
    shifts = scales * biases[:, -1]
    fused_blocks = [
        FusedBlock(*fields)
        for fields in zip(
            first_slopes.flatten(0, 1).unbind(),
            [start for row in starts.unbind() for start in (None, *row.unbind())],
            zip(*layers, strict=True),
            strict=True,
        )
    ]
    return [
        FusedStack(fused_blocks[i * blocks : (i + 1) * blocks], *fields)
        for i, fields in enumerate(zip(scales.unbind(), shifts.unbind(), strict=True))
    ]


def _fuse_separate(networks: Sequence[SeparateMLPs], rows: int) -> Iterator[Callable[..., Tensor]]:
    """Prepare `SeparateMLPs` of one shape."""
    layers = [network.stem for network in networks if network.stem is not None]
    stems: Sequence[Product | None] = products(layers, rows) if layers else [None] * len(networks)
    stacks = _fuse_stacks([network.networks for network in networks], rows)
    for network, stem, stack in zip(networks, stems, stacks, strict=True):
        yield _separate(network, stem, stack)


def _separate(network: SeparateMLPs, stem: Product | None, stack: FusedStack) -> Callable[..., Tensor]:
    def parameters(x: Tensor) -> Tensor:
        stream = x.flatten(1).expand(network.n_params, -1, -1)
        if stem is not None:
            stream = stem(stream)
        return stack(stream).transpose(0, 1).unflatten(2, network.out_shape)

    return parameters


def _fuse_patch(networks: Sequence[PatchMLPs], rows: int) -> Iterator[Callable[..., Tensor]]:
    """Prepare `PatchMLPs` of one shape."""
    stacks = _fuse_stacks([network.networks for network in networks], rows)
    for network, stack in zip(networks, stacks, strict=True):
        yield _patch(network, stack)


def _patch(network: PatchMLPs, stack: FusedStack) -> Callable[..., Tensor]:
    """Evaluate `PatchMLPs` without the zero inputs of the half to transform, and without the unused outputs."""
    first, second = slice(None, network.in_features), slice(network.in_features, None)
    stacks = stack.narrowed(first, second), stack.narrowed(second, first)
    paddings = (0, network.in_features), (network.in_features, 0)

    def parameters(x: Tensor, half: int) -> Tensor:
        return stacks[half](F.pad(x, paddings[half]).expand(network.n_params, -1, -1)).transpose(0, 1)

    return parameters


_FUSED: dict[type[nn.Module], Callable[[Any, int], Iterator[Callable[..., Tensor]]]] = {
    SeparateMLPs: _fuse_separate,
    PatchMLPs: _fuse_patch,
}


def fusion_key(network: Any) -> Hashable:
    """A key that is equal for networks that `fuse` can prepare together; None for a network without a fast path."""
    if type(network) not in _FUSED:
        return None
    return type(network), network.in_features, network.networks.sizes


def fuse(networks: Sequence[nn.Module], rows: int) -> Iterator[Callable[..., Tensor]]:
    """Prepare networks of one `fusion_key`: for each network, a function with the arguments and values of its forward.

    The functions are fastest for a batch size of `rows`, and give the same values for any other size.
    """
    return _FUSED[type(networks[0])](networks, rows)
