"""Hamiltonian Monte Carlo in the field or in the latents (Duane et al. 1987), for a batch of chains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mera._utils.allocator import tune_allocator
from mera._utils.checks import check_choice, check_count, check_positive
from mera._utils.errors import InputError
from mera.chains.gamma import LEAST
from mera.density import Density
from mera.physics.action import Action, ActionLike
from mera.physics.check_target import check_target, event_shape_of
from mera.physics.markov_chains import MarkovChains, run
from mera.physics.observables import Observables
from mera.physics.sampler import Draw, Sampler, State
from mera.physics.short_run import start_of_chains
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

    For dynamics of the field and an action that is even (`Action.is_even`), each draw takes a random sign, so that
    chains do not keep the sign of the magnetisation in a broken phase.

    Args:
        flow: the flow; half of the chains start from its samples, half from a short run from noise. Or, for
            space="field", the shape (C, *shape) of a field, and the initial fields are unit noise.
        action: the action S, differentiable, from fields (B, C, *shape) to (B,).
        space: "field" for dynamics of the field; "latent" for dynamics of the latents (for a `Symmetrized` flow, of
            the flow that it wraps), whose density is close to the prior if the flow is well trained.
        chains: the number of chains.
        draws: the number of measured draws of each chain.
        warmup: the number of trajectories before the measurement, which tune the step to an acceptance rate of 0.8.
        thin: the number of trajectories for each draw.
        length: the mean length of a trajectory, with unit masses.
        start: the initial fields of the chains, (K, C, *shape), instead of the initial fields above.
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
    check_positive(length, "the length of a trajectory", most=LONGEST)
    if space == "latent" and not isinstance(flow, Density):
        raise InputError("a flow for dynamics of its latents", type(flow).__name__)
    action = check_target(flow if space == "latent" else event_shape_of(flow), action)
    sampler = FieldOrLatents(flow, action, chains, space, thin, length, start)
    return run(sampler, Observables(action, observables), warmup, draws, console)


class FieldOrLatents(Sampler):
    """Hamiltonian trajectories of fields, or of the latents of fields.

    The arguments are those of `hmc`, and the action has been checked.
    """

    title = "HMC"

    def __init__(
        self, flow: Density | Sequence[int], action: Action, chains: int, space: str = "field", thin: int = 1,
        length: float = 1.0, start: Tensor | None = None,
    ) -> None:  # fmt: skip
        shape = event_shape_of(flow)
        if start is not None:
            fields = check_fields(start, shape)
        elif isinstance(flow, Density):
            fields = start_of_chains(action, flow, chains)
        else:
            fields = torch.randn(chains, *shape, dtype=torch.float64)
        if space == "latent" and isinstance(flow, Density):
            self._target = latent_target(flow.flow, action)
            self._row = flow.plan.rows_of(flow.flow(fields)[0])
        else:
            self._target, self._row = field_target(action, shape), fields.flatten(1)
        self._thin, self._trajectories = thin, Trajectories(self._target, length)
        self._flips = action.is_even and space == "field"

    @property
    def fields(self) -> Tensor:  # type: ignore[override]
        """The current fields, (K, C, *shape)."""
        return self._target.to_fields(self._row)

    @property
    def step(self) -> float:  # type: ignore[override]
        """The step size."""
        return self._trajectories.step

    def draw(self, tune: bool, most: int) -> list[Draw]:
        """Run a trajectory in the warm-up, and `thin` trajectories for a measured draw.

        For an even action, each chain is then mirrored with probability 1/2, which leaves the density as it is.
        """
        self._row, rate = self._trajectories.run(self._row, 1 if tune else self._thin, tune)
        if self._flips:
            self._row = self._row * (1 - 2 * torch.randint(2, (len(self._row), 1), device=self._row.device))
        return [Draw(self.fields, rate)]

    def state(self) -> State:
        """The variables and the step size."""
        return {"row": self._row, "step": self._trajectories.tuning.state()}

    def restore(self, state: State) -> None:
        """Go on from a state."""
        self._row = state["row"].to(self._row)
        self._trajectories.tuning.restore(state["step"])
