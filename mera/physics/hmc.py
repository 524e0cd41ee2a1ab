"""Hamiltonian Monte Carlo in the field or in the latents (Duane et al. 1987), for a batch of chains."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mera._utils.allocator import tune_allocator
from mera._utils.checks import check_choice, check_count, check_interval
from mera._utils.errors import InputError
from mera.chains.gamma import LEAST
from mera.density import Density
from mera.display.progress import ProgressBar, check_console
from mera.physics.action import ActionLike
from mera.physics.check_target import check_target, event_shape_of
from mera.physics.markov_chains import MarkovChains, Recorder
from mera.physics.observables import Observables
from mera.physics.target import check_fields, field_target, latent_target
from mera.physics.trajectories import LONGEST, Trajectories

if TYPE_CHECKING:
    from rich.console import Console


@torch.no_grad()
def hmc(
    flow: Density | Sequence[int],
    action: ActionLike,
    space: str = "field",
    *,
    chains: int = 16,
    draws: int = 1000,
    warmup: int = 200,
    thin: int = 1,
    length: float = 1.0,
    start: Tensor | None = None,
    observables: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
    console: Console | None = None,
) -> MarkovChains:
    r"""Sample :math:`e^{-S} / Z` by Hamiltonian Monte Carlo.

    Args:
        flow: the flow, whose samples are the initial fields; or, for space="field", the shape (C, *shape) of a field,
            and the initial fields are unit noise.
        action: the action S, differentiable, from fields (B, C, *shape) to (B,).
        space: "field" for dynamics of the field; "latent" for dynamics of the latents (for a `Symmetrized` flow, of
            the flow that it wraps), whose density is close to the prior if the flow is well trained.
        chains: the number of chains.
        draws: the number of measured draws of each chain.
        warmup: the number of trajectories before the measurement, which tune the step to an acceptance rate of 0.8.
        thin: the number of trajectories for each draw.
        length: the mean length of a trajectory, with unit masses.
        start: the initial fields of the chains, (K, C, *shape), instead of samples or noise.
        observables: your own observables by name, functions from fields to numbers (B,).
        console: a rich console for the progress bar; None to show nothing.

    Returns:
        The observables of all draws, the acceptance rate, and the last fields of the chains.

    Raises:
        ValueError: if a number is out of its range, the initial fields are of another shape or not finite, or the flow
            does not suit the action.
        FloatingPointError: if the action or its gradient is not finite at the initial fields.

    >>> from mera import physics
    >>> chain = physics.hmc((1, 4, 4), physics.FreeField(mass2=1.0), draws=50, warmup=50)
    >>> chain.fields.shape, chain.history["m2"].shape
    (torch.Size([16, 1, 4, 4]), torch.Size([50, 16]))
    """
    tune_allocator()
    check_choice(space, ("field", "latent"), "a space")
    check_count(chains, "a number of chains")
    check_count(thin, "trajectories for each draw")
    check_count(draws, "a number of draws", LEAST)
    check_count(warmup, "a number of trajectories before the draws", 0)
    check_interval(length, "the length of a trajectory", 0, LONGEST)
    if space == "latent" and not isinstance(flow, Density):
        raise InputError("a flow for dynamics of its latents", type(flow).__name__)
    shape = event_shape_of(flow)
    action = check_target(flow if space == "latent" else shape, action)
    if start is not None:
        fields = check_fields(start, shape)
    else:
        fields = flow.sample(chains) if isinstance(flow, Density) else torch.randn(chains, *shape, dtype=torch.float64)
    if space == "latent" and isinstance(flow, Density):
        target = latent_target(flow.flow, action)
        row = flow.plan.rows_of(flow.flow(fields)[0])
    else:
        target, row = field_target(action, shape), fields.flatten(1)
    trajectories = Trajectories(target, length)
    recorder = Recorder(Observables(action, observables))
    accepted, began = 0.0, 0.0
    with ProgressBar("HMC", check_console(console)) as progress_bar:
        for i in range(warmup + draws):
            if i == warmup:
                began = time.perf_counter()
            row, rate = trajectories.run(row, 1 if i < warmup else thin, tune=i < warmup)
            if i >= warmup:
                accepted += rate / draws
                recorder.add(target.to_fields(row))
            progress_bar.update(i + 1, (i + 1) / (warmup + draws), f"accepted {rate:.2f}")
    seconds = time.perf_counter() - began
    return recorder.chain(target.to_fields(row).detach(), accepted, seconds, trajectories.step)
