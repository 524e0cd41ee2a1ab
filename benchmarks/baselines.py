"""Multiscale Real NVP of equal shape in FrEIA, nflows and normflows, as their users would write it, for timings.

At each scale: `layers` affine couplings of the whole lattice, one half of the channels conditioning the other, by the
same small convolutional network; squeeze before, half of the channels out after. All three have the layout of
the entry "mera", and as many parameters up to what a library adds of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

import mera
from mera.bijectors import Chain, ChannelHalves, Conditioner, Coupling

__all__ = ["BASELINES"]

SCALES, LAYERS = 3, 4
Steps = tuple[Callable[[Tensor], Tensor], Callable[[int], Tensor], nn.Module]
"""log p of data (B, C, L, L), samples, and what is trained."""


def network(before: int, after: int, hidden: int) -> nn.Sequential:
    """The conditioner of all libraries: 3 x 3, 1 x 1, 3 x 3."""
    return nn.Sequential(
        nn.Conv2d(before, hidden, 3, padding=1), nn.ReLU(), nn.Conv2d(hidden, hidden, 1), nn.ReLU(),
        nn.Conv2d(hidden, after, 3, padding=1),
    )  # fmt: skip


class SmallConv(Conditioner):
    """The same for mera, which wants to know how far it reads."""

    radius = 2

    def __init__(self, in_shape, out_shape, n_params, hidden):
        super().__init__()
        self.network, self.n_params = network(in_shape[0], n_params * out_shape[0], hidden), n_params

    def forward(self, x):
        return self.network(x).unflatten(1, (self.n_params, -1))


def with_mera(L: int, hidden: int, channels: int = 3) -> Steps:
    layout = mera.Layout((L, L), channels, boundary="open")
    x = layout.input
    for scale in range(SCALES):
        x = layout.squeeze(x)
        # one of mera's couplings updates both halves, so half as many make the same number of updates
        halves = [
            Coupling(ChannelHalves(x.lattice.event_shape), partial(SmallConv, hidden=hidden))
            for _ in range(LAYERS // 2)
        ]
        chain = Chain(halves)
        x = layout.local(x, chain, kernel=chain.receptive_kernel, stride=1)
        if scale + 1 < SCALES:
            x, out = layout.split(x, keep=x.channels // 2)
            layout.latent(out)
    layout.latent(x)
    flow = mera.Flow(layout, prior="gaussian")
    return flow.log_prob, flow.sample, flow


def with_freia(L: int, hidden: int, channels: int = 3) -> Steps:
    import FrEIA.framework as ff
    import FrEIA.modules as fm

    def subnet(before, after):
        return network(before, after, hidden)

    nodes, outputs = [ff.InputNode(channels, L, L)], []
    for scale in range(SCALES):
        nodes.append(ff.Node(nodes[-1], fm.IRevNetDownsampling, {}))
        channels *= 4
        for layer in range(LAYERS):
            nodes.append(ff.Node(nodes[-1], fm.AffineCouplingOneSided, {"subnet_constructor": subnet}))
            nodes.append(ff.Node(nodes[-1], fm.PermuteRandom, {"seed": layer}))
        if scale + 1 < SCALES:
            channels //= 2
            split = ff.Node(nodes[-1], fm.Split, {"section_sizes": (channels, channels), "dim": 0})
            nodes.append(split)
            outputs.append(ff.OutputNode(split.out1))
            nodes.append(
                ff.Node(split.out0, fm.Reshape, {"output_dims": (channels, L >> (scale + 1), L >> (scale + 1))})
            )
    outputs.append(ff.OutputNode(nodes[-1]))
    net = ff.GraphINN(nodes + outputs)
    shapes = list(net.global_out_shapes)

    def log_prob(x):
        z, log_det = net(x)
        return log_det - 0.5 * sum((level.square() + math.log(2 * math.pi)).flatten(1).sum(1) for level in z)

    def sample(n):
        return net([torch.randn(n, *shape) for shape in shapes], rev=True)[0]

    return log_prob, sample, net


class WithContext(nn.Module):
    """The same as nflows calls it."""

    def __init__(self, before, after, hidden):
        super().__init__()
        self.network = network(before, after, hidden)

    def forward(self, x, context=None):
        return self.network(x)


def with_nflows(L: int, hidden: int, channels: int = 3) -> Steps:
    from nflows.distributions import StandardNormal
    from nflows.flows import Flow
    from nflows.transforms import (
        AffineCouplingTransform,
        CompositeTransform,
        MultiscaleCompositeTransform,
        RandomPermutation,
        SqueezeTransform,
    )

    transform = MultiscaleCompositeTransform(num_transforms=SCALES)
    variables, edge = channels * L * L, L
    for _ in range(SCALES):
        channels, edge = channels * 4, edge // 2
        mask = torch.arange(channels) % 2
        steps = [SqueezeTransform()]
        for _ in range(LAYERS):
            steps.append(AffineCouplingTransform(mask, partial(WithContext, hidden=hidden)))
            steps.append(RandomPermutation(channels))
        shape = transform.add_transform(CompositeTransform(steps), (channels, edge, edge))
        channels = shape[0] if shape else channels
    flow = Flow(transform, StandardNormal([variables]))
    return flow.log_prob, flow.sample, flow


def with_normflows(L: int, hidden: int, channels: int = 3) -> Steps:
    import normflows as nf

    flows, merges, priors, edge = [], [], [], L
    for scale in range(SCALES):  # from data; normflows lists scales from latents
        channels, edge = channels * 4, edge // 2
        stages = []
        for _ in range(LAYERS):
            half = channels // 2
            stages.append(nf.flows.AffineCouplingBlock(network(half, 2 * half, hidden), split_mode="channel"))
            stages.append(nf.flows.Permute(channels, mode="swap"))
        flows.append([*stages, nf.flows.Squeeze()])
        if scale + 1 < SCALES:
            merges.append(nf.flows.Merge())
            channels //= 2
        priors.append(nf.distributions.DiagGaussian((channels, edge, edge), trainable=False))
    model = nf.MultiscaleFlow(priors[::-1], flows[::-1], merges[::-1])
    return lambda x: model.log_prob(x, None), lambda n: model.sample(n)[0], model


BASELINES: dict[str, Callable[..., Steps]] = {
    "mera": with_mera,
    "FrEIA": with_freia,
    "nflows": with_nflows,
    "normflows": with_normflows,
}
