"""The published design of RG-Flow, written down plainly, as a baseline for timings: index lists, a clone of the image a
block, scale and translation networks apart, weight norm at each call, every block run again on the way back.

It computes the same function as `mera.build("rgflow", preset="authors")` and is made from such a flow.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import mera
from mera.graph import Apply

__all__ = ["Published", "index_lists"]


def index_lists(flow: mera.Flow) -> list[Tensor]:
    """For each block, the sites of each of its patches in the finest lattice, as the published code lists them."""
    edge = flow.plan.input.shape[0]
    lists = []
    for step in flow.plan.steps:
        if isinstance(step.operation, Apply):
            spacing = edge // step.operation.lattice.shape[0]
            m, offset = step.operation.kernel[0], step.operation.offset[0]
            starts = (torch.arange(step.operation.patches[0]) * m + offset) * spacing
            sites = (starts[:, None] + spacing * torch.arange(m)) % edge
            grid = sites[:, None, :, None] * edge + sites[None, :, None, :]
            lists.append(grid.reshape(-1, m * m))
    return lists


class Swish(nn.Module):
    def __init__(self, scale: Tensor) -> None:
        super().__init__()
        self.scale = nn.Parameter(scale.clone())

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.scale * x)


class Linear(nn.Module):
    """Weight-normed at each call."""

    def __init__(self, g: Tensor, v: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.g, self.v, self.bias = nn.Parameter(g.clone()), nn.Parameter(v.clone()), nn.Parameter(bias.clone())

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, torch._weight_norm(self.v, self.g, 0), self.bias)


class Network(nn.Module):
    """Residual blocks of [swish, linear], then a scale per feature."""

    def __init__(self, blocks: list[nn.Sequential], scale: Tensor, bound: float | None) -> None:
        super().__init__()
        self.blocks, self.scale, self.bound = nn.ModuleList(blocks), nn.Parameter(scale.clone()), bound

    def forward(self, x: Tensor) -> Tensor:
        shape = x.shape
        x = x.flatten(1)
        for block in self.blocks:
            x = (x + block(x)) / math.sqrt(2)
        x = x * self.scale
        if self.bound is not None:
            x = torch.tanh(x) if self.bound == 1 else self.bound * torch.tanh(x / self.bound)
        return x.view(shape)


class Block(nn.Module):
    """Masked couplings on a batch of patches (N, C, m, m)."""

    def __init__(self, networks: list[tuple[Network, Network]], mask: Tensor) -> None:
        super().__init__()
        self.scales = nn.ModuleList(scale for scale, _ in networks)
        self.translations = nn.ModuleList(translation for _, translation in networks)
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        log_det = x.new_zeros(len(x))
        for scale, translation in zip(self.scales, self.translations, strict=True):
            for left, right in ((self.mask, 1 - self.mask), (1 - self.mask, self.mask)):
                s, t = scale(x * left) * right, translation(x * left) * right
                x = x * torch.exp(s) + t
                log_det = log_det + s.flatten(1).sum(1)
        return x, log_det


class Published(nn.Module):
    """All blocks of the design, with the weights of a flow of the authors' preset.

    Args:
        flow: built with `conditioner="authors"` and no norm.
        recompute: run each block again on the way back, as the published code does.
    """

    def __init__(self, flow: mera.Flow, recompute: bool = True) -> None:
        super().__init__()
        self.recompute, self.prior = recompute, flow.prior
        self.sites = index_lists(flow)
        self.blocks = nn.ModuleList(
            _block(flow, step.module, step.operation.event_shape)
            for step in flow.plan.steps
            if isinstance(step.operation, Apply)
        )

    def log_prob(self, x: Tensor) -> Tensor:
        """log p of data (B, C, L, L), in nats."""
        shape, x = x.shape, x.flatten(2)
        log_det = x.new_zeros(len(x))
        for block, sites in zip(self.blocks, self.sites, strict=True):
            n, m = sites.shape[0], math.isqrt(sites.shape[1])
            patches = x[:, :, sites].transpose(1, 2).reshape(-1, shape[1], m, m)
            if self.recompute and torch.is_grad_enabled():
                patches, change = checkpoint(block, patches, use_reentrant=False)
            else:
                patches, change = block(patches)
            x = x.clone()
            x[:, :, sites] = patches.reshape(-1, n, shape[1], m * m).transpose(1, 2)
            log_det = log_det + change.view(-1, n).sum(1)
        return self.prior.log_prob([x]) + log_det


def _block(flow: mera.Flow, key: str, event_shape: tuple[int, ...]) -> Block:
    """A block with the weights of a flow's node."""
    networks = []
    for coupling in flow.bijectors[key].members:
        stacked, bound = coupling.networks[0].networks, coupling.transform.max_log_scale
        back = coupling.partition.back  # from the order of halves to that of the patch
        networks.append((_network(stacked, 0, bound, back), _network(stacked, 1, None, back)))
    return Block(networks, mera.bijectors.checkerboard(event_shape).to(flow.dtype))


def _network(stacked: nn.Module, index: int, bound: float | None, back: Tensor) -> Network:
    """One of the networks that `mera.bijectors.PatchMLPs` keeps side by side."""
    blocks = []
    for block in range(stacked.blocks):
        layers: list[nn.Module] = []
        for depth, (swish, linear) in enumerate(zip(stacked.swishes, stacked.linears, strict=True)):
            slope = swish.slope.data[block, index, 0]
            g, v, bias = (p.data[block, index] for p in (linear.weight_g, linear.weight_v, linear.bias))
            g, v = g.T, v.T
            if depth == 0:
                slope, v = slope[back], v[:, back]
            if depth == len(stacked.linears) - 1:
                g, v, bias = g[back], v[back], bias[:, back]
            layers += [Swish(slope), Linear(g, v, bias[0])]
        blocks.append(nn.Sequential(*layers))
    return Network(blocks, stacked.scale.data[index, 0, back], bound)
