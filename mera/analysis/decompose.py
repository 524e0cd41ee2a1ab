"""The decomposition of log p of data by level, by node and by pixel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mera._utils.checks import check_type
from mera._utils.table import Table, Tabled
from mera.bijectors.boxes import Box
from mera.bijectors.local import run_on_box
from mera.executor.passes import run_forward, spread_evenly
from mera.flow.flow import Flow
from mera.graph import Step


@dataclass(frozen=True, eq=False, repr=False)
class Parts(Tabled):
    """The parts of log p of data, in nats: log p is the sum of `levels` and `nodes`, and also the sum of `maps`.

    Args:
        levels: the log-density of the latents of each level under the prior, (B, levels), finest first.
        nodes: the log-det of each node that applies a bijector, by the name of the node, (B,).
        maps: for each level, finest first, its part of log p over the pixels, (B, *shape): the log-density of its
            latents and the log-dets of its nodes, each spread evenly over the pixels that the latent, the event, or the
            site of a convolution covers.
        variables: the number of variables of the data, channels times pixels.
    """

    levels: Tensor
    nodes: dict[str, Tensor]
    maps: tuple[Tensor, ...]
    variables: int

    @property
    def log_prob(self) -> Tensor:
        """log p, (B,), in nats."""
        return self.levels.sum(1) + sum(self.nodes.values())

    @property
    def table(self) -> Table:
        """The bits per dimension of each level, as means over the data with their standard errors."""
        bits = self.bits().double()
        error = bits.std(0) / len(bits) ** 0.5 if len(bits) > 1 else bits[0] * torch.nan
        rows = torch.stack([bits.mean(0), error], dim=1).tolist()
        return Table(["", "bits/dim", "error"], [[f"level {level}", *row] for level, row in enumerate(rows)], digits=4)

    def bits(self) -> Tensor:
        """The bits per dimension of each level, (B, levels): minus the sum of its map, per variable of the data."""
        return torch.stack([-level.flatten(1).sum(1) for level in self.maps], dim=1) / (self.variables * math.log(2))


@torch.no_grad()
def decompose(flow: Flow, x: Tensor, context: Tensor | None = None) -> Parts:
    """Split log p of data by level, by node and by pixel.

    Args:
        x: data (B, C, *shape) in the flow's own space; `flow.from_images` maps images to this space.
        context: for a conditional flow, the contexts of the data.

    Returns:
        The parts of log p, in nats; `Parts.bits()` converts them to bits per dimension.

    Raises:
        ValueError: if the data is not of the flow's shape, dtype and device; or if the flow is a mixture, such as
            `mera.Symmetrized`, whose log p is not a sum over nodes.

    >>> import mera
    >>> from mera import analysis
    >>> flow = mera.build("rgflow", L=8, m=4, channels=1, hidden=(8,)).double()
    >>> x = flow.sample(3)
    >>> parts = analysis.decompose(flow, x)
    >>> bool((parts.log_prob - flow.log_prob(x)).abs().max() < 1e-10)
    True
    """
    check_type(flow, Flow, "a mera.Flow, whose log p is a sum over levels and nodes")
    plan = flow.plan
    flow.check_data("data", x)
    contexts = flow.contexts(context, x)
    run_step = flow.step_function(contexts)
    changes: list[tuple[Step, Tensor]] = []

    def transform_and_record(step: Step, events: Tensor) -> tuple[Tensor, Tensor]:
        bijector, lattice = flow.bijector(step), step.apply.lattice
        if step.apply.is_field and flow.is_local(step):
            whole = Box.of((0, n) for n in lattice.shape)
            y, by_site = run_on_box(bijector, lattice, events, whole, whole, contexts(step))
            changes.append((step, by_site))
            return y, by_site.flatten(1).sum(1)
        y, log_det = run_step(step, events)
        changes.append((step, spread_evenly(step.apply, log_det, len(x))))
        return y, log_det

    z, _ = run_forward(plan, x, transform_and_record)
    densities = [flow.prior.log_density(level) for level in z]
    maps = [
        _spread_over_pixels(density.sum(1), plan.input.shape)
        for latent, density in zip(plan.latents, densities, strict=True)
    ]
    nodes: dict[str, Tensor] = {}
    for step, by_site in changes:
        nodes[step.node] = nodes.get(step.node, 0) + by_site.flatten(1).sum(1)
        maps[step.level] = maps[step.level] + _spread_over_pixels(by_site, plan.input.shape)
    levels = torch.stack([density.flatten(1).sum(1) for density in densities], dim=1)
    return Parts(levels, nodes, tuple(maps), plan.input.variables)


def _spread_over_pixels(values: Tensor, shape: Sequence[int]) -> Tensor:
    """Spread values at sites evenly over the pixels in each site's cell: (B, *sites) to (B, *shape)."""
    for axis, n in enumerate(shape, start=1):
        sites = values.shape[axis]
        cell = torch.arange(n, device=values.device) * sites // n  # the site over each pixel
        pixels = torch.bincount(cell, minlength=sites).to(values.dtype)
        values = (values.movedim(axis, -1) / pixels)[..., cell].movedim(-1, axis)
    return values
