"""Data of larger edges from a coarse lattice: super-resolution, and multilevel sampling."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mera._utils.checks import check_count, check_window
from mera._utils.errors import InputError
from mera._utils.progress import ProgressBar, check_console
from mera.bijectors import DCT, BlockSpins
from mera.executor.contexts import Context
from mera.executor.passes import run_inverse
from mera.flow.density import Temperature

if TYPE_CHECKING:
    from rich.console import Console

STEP, MOST_STEPS, CLOSE = 0.7, 100, 0.02
"""The fraction of the difference of means that a step removes, the most steps, and the largest difference left, in
standard deviations of the coarse data."""


def refine(
    flow: Any, coarse: Tensor, levels: int, temperature: Temperature, context: Context | None, means: bool,
    console: Console | None = None,
) -> Tensor:  # fmt: skip
    """Generate data, given its coarse lattice; see `Flow.refine`."""
    check_window(coarse, flow.plan.input.channels, flow.plan.input.dim)
    number = len(flow.plan.entries)
    if check_count(levels, "levels") >= number:
        raise InputError(f"fewer levels than the {number} of the flow", str(levels))
    leaving = {latent.value for latent in flow.plan.latents[:levels]} | {flow.plan.entries[levels]}
    made = {step.source for step in flow.plan.steps if step.level < levels}
    if {target for step in flow.plan.steps if step.level < levels for target in step.targets} - made - leaving:
        raise InputError("a flow whose fine variables leave at once", "one of several branches")
    entry = next(step for step in flow.plan.steps if step.source == flow.plan.entries[levels]).operation.lattice
    if entry.channels != flow.plan.input.channels:
        raise InputError("a flow whose coarse lattice has the channels of the data", f"one with {entry.channels}")
    factors = [fine // kept for fine, kept in zip(flow.plan.input.shape, entry.shape, strict=True)]
    shape = tuple(n * factor for n, factor in zip(coarse.shape[2:], factors, strict=True))
    larger = flow if shape == flow.plan.input.shape else flow.resized(shape)
    latents = larger.sample_latents(len(coarse), temperature)
    coarse, unit = coarse.to(larger.dtype), _unit(larger, levels)
    noise, behind = larger.behind_noise()
    run_step = behind.step_function(behind.contexts(context, coarse), inverse=True)

    def finer(lattice: Tensor) -> Tensor:
        return run_inverse(behind.plan, latents[:levels], run_step, lattice * unit)[0]

    with ProgressBar("refine", check_console(console), "pass", at_once=True) as bar:
        x = finer(coarse)
        x = _with_means(x, coarse, finer, factors, bar) if means and x.numel() else x
    return x if noise is None else noise.inverse(x)[0]


def _with_means(
    x: Tensor, coarse: Tensor, finer: Callable[[Tensor], Tensor], factors: Sequence[int], bar: ProgressBar
) -> Tensor:
    """Move the coarse lattice, from which `finer` makes data, until the means of cells of the data are `coarse`."""
    lattice, step, close = coarse, STEP, CLOSE * coarse.std(correction=0)
    difference = coarse - means_of_cells(x, factors)
    first = difference.abs().max()
    for number in range(MOST_STEPS):
        largest = difference.abs().max()
        near = ((first / largest).log() / (first / close).log()).nan_to_num(1.0).clamp(0, 1).item()
        bar.update(number + 1, 1.0 if largest <= close else max(near, number / MOST_STEPS), f"means {largest:.2g} off")
        if largest <= close:
            return x
        moved = lattice + step * difference
        trial = finer(moved)
        remaining = coarse - means_of_cells(trial, factors)
        if remaining.abs().mean() < difference.abs().mean():
            x, lattice, difference = trial, moved, remaining
        else:
            step /= 2
    far = difference.abs().max().item()
    warnings.warn(
        f"The means of cells differ from the coarse data by up to {far:.2g} after {MOST_STEPS} passes", stacklevel=5
    )
    return x


def means_of_cells(x: Tensor, edges: Sequence[int]) -> Tensor:
    """The means over cells of data (B, C, *shape)."""
    for axis, edge in enumerate(edges, start=2):
        x = x.unflatten(axis, (-1, edge)).mean(axis + 1)
    return x


def _unit(flow: Any, levels: int) -> float:
    """The coarse lattice of a constant field 1, by the means of cells that the finest levels take."""
    unit = 1.0
    for step in flow.plan.bijections:
        bijector = flow.bijectors[step.module]
        if step.level < levels and isinstance(bijector, (BlockSpins, DCT)):
            ones = torch.ones(1, *step.apply.event_shape, dtype=flow.dtype, device=flow.device)
            unit *= bijector(ones)[0].flatten()[0].item()
    return unit
