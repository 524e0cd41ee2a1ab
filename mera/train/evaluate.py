"""Bits per dimension of a data set, and samples; processes share the work."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from accelerate.utils import gather, reduce
from torch import Tensor

from mera._utils.allocator import tune_allocator
from mera._utils.random import fixed_seed
from mera.bijectors.conditioners.fixed_weights import fixed_weights
from mera.data import ImageSet
from mera.flow import Flow
from mera.train.batches import contexts, noisy
from mera.train.processes import processes

__all__ = ["bits_per_dim", "sample"]


@torch.no_grad()
@fixed_weights()
def bits_per_dim(flow: Flow, images: ImageSet, n: int | None = None, batch_size: int = 100, seed: int = 0) -> float:
    """The mean over the first `n` images of a set, with the same dequantisation noise for an image each time.

    The random state is left as it was. Where several processes run (torchrun), each evaluates its share, and all
    return the mean.

    Args:
        flow: the flow.
        images: a set whose items are (C, L, L) uint8.
        n: how many; all if None or if there are fewer.
        batch_size: images at a time.
        seed: of the noise.

    Raises:
        ValueError: if there is no image.
    """
    if flow.device.type == "cpu":
        tune_allocator()
    n = len(images) if n is None else min(n, len(images))
    if n < 1:
        raise ValueError(f"Expected at least one image to evaluate; got {n}")
    known = contexts(flow, images)
    team = processes(flow.device)
    mine = range(n) if team is None else range(team.process_index, n, team.num_processes)
    total = torch.zeros((), dtype=torch.float64)
    for start in range(0, len(mine), batch_size):
        indices = mine[start : start + batch_size]
        batch = [noisy(images, index, seed, 0, index) for index in indices]
        pixels, noise = (torch.stack(part).to(flow.device) for part in zip(*batch, strict=True))
        given = None if known is None else known[list(indices)].to(flow.device)
        total += flow.bits_per_dim(pixels, given, noise=noise).double().sum().cpu()
    return (total if team is None else reduce(total.to(team.device), "sum")).item() / n


@torch.no_grad()
def sample(
    flow: Flow, n: int, temperature: float | Sequence[float] = 1.0, seed: int = 0, context: Tensor | None = None
) -> Tensor:
    """`n` samples, (n, C, *shape) in the flow's own space, the same ones however many processes share the work.

    Args:
        flow: the flow.
        n: how many.
        temperature: as for `Flow.sample`.
        seed: of the latents.
        context: of a conditional flow, (n, ...) or (1, ...); all of its classes in turn if None.
    """
    if context is None and flow.context_encoder.classes is not None:
        context = torch.arange(n, device=flow.device) % flow.context_encoder.classes
    with fixed_seed(seed):
        z = flow.sample_latents(n, temperature)
    team = processes(flow.device)
    if team is None:
        return flow.inverse(z, context)[0]
    share = -(-n // team.num_processes)  # equal shares: the last may repeat the last sample
    first = team.process_index * share
    rows = torch.arange(first, first + share, device=flow.device).clamp(max=n - 1)
    if context is not None:
        context = context.expand(n, *context.shape[1:])[rows]
    x = flow.inverse(tuple(level[rows] for level in z), context)[0]
    return gather(x.to(team.device))[:n].to(flow.device)
