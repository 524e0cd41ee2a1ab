"""Hamiltonian Monte Carlo of fields (Duane et al. 1987), for a batch of chains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mera._utils.checks import check_count, check_positive
from mera._utils.installation import tune_allocator
from mera.flow.density import Density
from mera.physics.action import ActionLike
from mera.physics.check_target import check_fields, check_target, event_shape_of
from mera.physics.markov_chains import MarkovChains, chains_of
from mera.physics.observables import Observables
from mera.physics.sampler import Draw, Sampler, record
from mera.physics.trajectories import LONGEST, Trajectories, start_of_chains, starts
from mera.sampling.diagnostics import MIN_DRAWS

if TYPE_CHECKING:
    from rich.console import Console


@torch.no_grad()
def hmc(
    flow: Density | Sequence[int],
    action: ActionLike,
    *,
    chains: int = 16,
    draws: int = 1000,
    warmup: int = 200,
    length: float = 1.0,
    start: Tensor | None = None,
    observables: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
    every: int = 0,
    out: str | PathLike[str] | None = None,
    resume: bool = False,
    console: Console | None = None,
) -> MarkovChains:
    r"""Sample :math:`e^{-S} / Z` by Hamiltonian Monte Carlo.

    For an action that is even (`Action.is_even`), each draw takes a random sign, so that chains do not keep the sign of
    the magnetisation in a broken phase.

    Args:
        flow: the flow; half of the chains start from its samples, half from a short run from noise of several scales
            and from constant fields at minima of the action. Or the shape (C, *shape) of a field, and all chains start
            from such noise and constants.
        action: the action S, differentiable, from fields (B, C, *shape) to (B,).
        chains: the number of chains.
        draws: the number of measured draws of each chain.
        warmup: the number of trajectories before the measurement, which tune the step to an acceptance rate of 0.8.
        length: the mean length of a trajectory, with unit masses.
        start: the initial fields of the chains, (K, C, *shape), instead of the initial fields above.
        observables: your own observables by name, functions from fields to numbers (B,).
        every: keep the fields of every k-th draw; 0 for the last of each chain alone.
        out: a folder, in which draws are kept as they are made, for `load_chain` and `resume`; None for memory alone.
        resume: whether to go on with the measurement in the folder, up to `draws`: the draws are those of a measurement
            that was not interrupted.
        console: a rich console for the progress bar; None shows it on terminals and in notebooks only.

    Returns:
        The observables of all draws, the acceptance rate, and fields of the chains.

    Raises:
        ValueError: if a number is out of its range, the initial fields are of another shape or not finite, or the flow
            does not suit the action; or if the measurement to resume is another one.
        FileExistsError: if the folder holds a measurement and `resume` is false, or another process writes to it.
        FloatingPointError: if the action or its gradient is not finite at the initial fields.

    >>> from mera import physics
    >>> chain = physics.hmc((1, 4, 4), physics.FreeField(mass2=1.0), draws=50, warmup=50)
    >>> chain.fields.shape, chain.history["m2"].shape
    (torch.Size([16, 1, 4, 4]), torch.Size([50, 16]))
    """
    tune_allocator()
    chains = check_count(chains, "a number of chains")
    draws = check_count(draws, "a number of draws", MIN_DRAWS)
    warmup = check_count(warmup, "a number of trajectories before the draws", 0)
    check_positive(length, "the length of a trajectory", most=LONGEST)
    shape = event_shape_of(flow)
    action = check_target(shape, action)
    if start is not None:
        fields = check_fields(start, shape)
    else:
        fields = start_of_chains(action, flow, chains) if isinstance(flow, Density) else starts(action, shape, chains)
    sampler = FieldChains(action, fields, length)
    facts = {"chains": len(fields), "dtype": str(fields.dtype).removeprefix("torch."), "length": length}
    return chains_of(*record(
        "hmc", sampler, flow, Observables(action, observables), facts,
        warmup=warmup, draws=draws, every=every, out=out, resume=resume, console=console,
    ))  # fmt: skip


class FieldChains(Trajectories, Sampler):  # type: ignore[override]
    """Hamiltonian trajectories of fields, which are recorded."""

    title = "HMC"

    def draw(self, tune: bool, most: int) -> list[Draw]:
        """Run a trajectory; for an even action, each chain is then mirrored with probability 1/2."""
        rate, chains = self.run(1, tune), self.chains
        if self.action.is_even:
            sign = 1 - 2 * torch.randint(2, (len(chains.x), 1), device=chains.x.device)
            chains.flip(sign)
        return [Draw(self.fields, rate, -chains.value)]

    def state(self) -> Mapping[str, Tensor]:
        """The fields and the step size."""
        return {"fields": self.chains.x, "step": self.tuning.state()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state."""
        self.move_to(state["fields"].to(self.fields).view_as(self.fields))
        self.tuning.restore(state["step"])
