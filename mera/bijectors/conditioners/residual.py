"""Residual networks that condition couplings, made of linear layers or of convolutions.

`functools.partial` binds the options of a class; the result is a conditioner factory for `Coupling`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, conv2d, conv3d, pad

from mera._utils.checks import MAX_LAYERS, check_choice, check_count, check_shape
from mera._utils.errors import InputError
from mera.bijectors.base import as_rows
from mera.bijectors.conditioners.base import Conditioner, Shape

REACH = 10.0
"""The magnitude at which `compressed` turns from linear to logarithmic."""


def compressed(x: Tensor) -> Tensor:
    r"""Compress large inputs: :math:`10 \, \mathrm{asinh}(x / 10)`, nearly :math:`x` within a few units.

    An outlier in the input then does not make an outlier in the parameters, and its rounding error hardly changes the
    parameters, which the inverse has to reproduce.
    """
    return REACH * torch.asinh(x / REACH)


class _ResidualNetwork(nn.Module):
    """A first layer to the width hidden[0], residual blocks, and a last layer for all parameters, which starts at 0.

    Inputs are `compressed`. `layer` makes a layer from its input width, its output width, and whether it may read
    neighbouring sites. `hidden` holds the widths of the hidden layers in one residual block.
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
        self.stem = layer(in_width, width, True)
        self.blocks = nn.ModuleList(
            nn.Sequential(*(m for k, (i, o) in enumerate(pairwise(widths)) for m in (nn.SiLU(), layer(i, o, k == 0))))
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
    """One residual network of linear layers for all parameters of a half.

    Args:
        in_shape: shape of the half that is read, including an appended context.
        out_shape: shape of the half that is transformed.
        n_params: number of parameters for each variable.
        hidden: widths of the hidden layers in one residual block; the first is also the width between blocks.
        blocks: number of residual blocks.

    Raises:
        ValueError: if there is no hidden width, or a width is not a positive integer.
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
        return self.network(as_rows(x)).unflatten(1, self.out_shape)


class ResidualConv(Conditioner):
    """One residual network of convolutions for all parameters of a half of a lattice.

    Dinh et al. (2017) condition the couplings of Real NVP like this, https://arxiv.org/abs/1605.08803.

    Args:
        in_shape: shape (C, *sites) of the half that is read, in 1, 2 or 3 dimensions; a context adds channels.
        out_shape: shape (C, *sites) of the half that is transformed.
        n_params: number of parameters for each variable.
        hidden: channels of the hidden layers in one residual block; the first is also the width between blocks.
        blocks: number of residual blocks.
        kernel: odd size of the convolutions in the first layer and in the first layer of each block; all other layers
            are 1 x 1 convolutions.
        padding: "zeros" between open borders, "circular" on a periodic lattice.

    Raises:
        ValueError: if the kernel is even or goes around the lattice more than once, the padding is unknown, there is no
            hidden width, or a width is not a positive integer.
    """

    def __init__(
        self, in_shape: Shape, out_shape: Shape, n_params: int,
        *, hidden: Sequence[int] = (32,), blocks: int = 2, kernel: int = 3, padding: str = "zeros",
    ) -> None:  # fmt: skip
        super().__init__()
        in_shape, out_shape = check_shape(in_shape, "in_shape", 2), check_shape(out_shape, "out_shape", 2)
        if check_count(kernel, "the kernel") % 2 == 0:
            raise InputError("an odd kernel", str(kernel))
        if check_choice(padding, ("zeros", "circular"), "a padding") == "circular" and kernel // 2 > min(in_shape[1:]):
            raise InputError(f"a lattice that the kernel {kernel} goes around once at most", f"{in_shape[1:]}")
        conv: Any = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[len(in_shape) - 2]

        def layer(i: int, o: int, wide: bool) -> nn.Module:
            k = kernel if wide else 1
            return conv(i, o, k, padding=k // 2, padding_mode=padding)

        self.n_params, self.reach = n_params, int(kernel) // 2
        self.radius: int = (1 + blocks) * self.reach
        self.circular = padding == "circular"
        self.network = _ResidualNetwork(layer, in_shape[0], n_params * out_shape[0], hidden, blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Map the half that is read, (B, C_in, *sites), to parameters, (B, n_params, C_out, *sites)."""
        return self.network(x).unflatten(1, (self.n_params, -1))

    def on_box(self, start: Sequence[int], shape: Sequence[int], cut: Sequence[bool] = ()) -> nn.Module:
        """The network on a box; see `Bijector.on_box`."""
        return _ConvOnBox(self, cut) if any(cut) else self


class _ConvOnBox(nn.Module):
    """A `ResidualConv` on a box: parameters that depend on sites beyond an end that is cut are zeros.

    Convolutions are padded at the other ends only, so that each of them returns fewer sites than it reads.
    """

    def __init__(self, whole: ResidualConv, cut: Sequence[bool]) -> None:
        super().__init__()
        self.whole, self.mode = whole, "circular" if whole.circular else "constant"
        self.padding, self.lost = [whole.reach * (not end) for end in cut], [-whole.reach * end for end in cut]
        self.border = [whole.radius * end for end in cut]
        self.convolve: Any = (conv1d, conv2d, conv3d)[len(cut) // 2 - 1]

    def forward(self, x: Tensor) -> Tensor:
        network: Any = self.whole.network
        x = self._through(network.stem, compressed(x))
        for block in network.blocks:
            change = x
            for layer in block:
                change = self._through(layer, change)
            x = pad(x, self.lost) + change
        return pad(network.head(x), self.border).unflatten(1, (self.whole.n_params, -1))

    def _through(self, layer: Any, x: Tensor) -> Tensor:
        """Apply a layer; a convolution that reads neighbours is padded at the ends that are not cut."""
        if not any(getattr(layer, "padding", ())):
            return layer(x)
        return self.convolve(pad(x, self.padding, self.mode), layer.weight, layer.bias)
