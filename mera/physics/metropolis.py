"""Independence Metropolis: samples of a flow as proposals (Albergo et al. 2019, https://arxiv.org/abs/1904.12072)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mera._utils.checks import check_count
from mera._utils.installation import tune_allocator
from mera._utils.random import set_torch_states, torch_states
from mera.flow.density import Density
from mera.physics.action import Action, ActionLike
from mera.physics.check_target import check_sampled
from mera.physics.estimate import log_weights_of, target_facts, weighted_samples
from mera.physics.markov_chains import MarkovChains, chains_of
from mera.physics.observables import Observables
from mera.physics.sampler import Draw, Sampler, facts_of, record
from mera.physics.short_run import fields_of, start_of_chains
from mera.physics.storage import named
from mera.physics.verdicts import finite_log_weights
from mera.sampling.diagnostics import MIN_DRAWS

if TYPE_CHECKING:
    from rich.console import Console

AT_ONCE = 500
"""The approximate number of proposals that are drawn in one batch."""


@torch.no_grad()
def metropolis(
    flow: Density,
    action: ActionLike,
    *,
    chains: int = 16,
    draws: int = 1000,
    warmup: int = 100,
    observables: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
    every: int = 0,
    out: str | PathLike[str] | None = None,
    resume: bool = False,
    console: Console | None = None,
) -> MarkovChains:
    r"""Sample :math:`e^{-S} / Z` by proposals that are independent samples of a flow.

    A proposal is accepted with the probability :math:`\min(1, w' / w)` for the weights :math:`w = e^{-S} / q`. Half of
    the chains start from samples of the flow, half from a short run of Hamiltonian Monte Carlo.

    Args:
        flow: the flow with density q.
        action: the action S, from fields (B, C, *shape) to (B,).
        chains: the number of chains.
        draws: the number of measured draws of each chain, one for each proposal.
        warmup: the number of proposals before the measurement.
        observables: as in `hmc`, and so are `every`, `out`, `resume` and `console`.

    Returns:
        The observables of all draws, the acceptance rate, and fields of the chains.

    Raises:
        ValueError: if a number is out of its range, or the flow does not suit the action.

    >>> import mera
    >>> from mera import physics
    >>> flow = mera.build("rgflow", L=4, m=4, channels=1, hidden=(8,), prior="gaussian")
    >>> chains = physics.metropolis(flow, physics.FreeField(mass2=1.0), draws=20, warmup=5)
    >>> chains.history["m2"].shape
    torch.Size([20, 16])
    """
    chains = check_count(chains, "a number of chains")
    draws = check_count(draws, "a number of draws", MIN_DRAWS)
    warmup = check_count(warmup, "a number of proposals before the draws", 0)
    action = check_sampled(flow, action)
    tune_allocator()
    measured = Observables(action, observables)
    facts = facts_of("metropolis", flow, action, measured, out is not None) | {"chains": chains}
    facts["target"] = target_facts(flow, action, measured, fields_of(action, flow), AT_ONCE)
    return chains_of(*record(
        Proposals(flow, action, chains), measured, facts, warmup=warmup, draws=draws, every=every, out=out,
        resume=resume, console=console,
    ))  # fmt: skip


class Proposals(Sampler):
    """Chains whose proposals are samples of a flow; a batch of proposals is made at once."""

    title = "Metropolis"

    def __init__(self, flow: Density, action: Action, chains: int) -> None:
        self._flow, self._action, self._chains = flow, action, chains
        self.fields = start_of_chains(action, flow, chains)
        self._value = action(self.fields)
        self._log_weight = log_weights_of(flow, action, self.fields).to(self.fields.device)
        self._batch: list[tuple[Tensor, ...]] = []
        self._used, self._random = 0, torch_states()

    def _fill(self) -> None:
        """Make a batch of proposals, with the random numbers that accept them."""
        self._random, self._used, n = torch_states(), 0, max(1, AT_ONCE // self._chains)
        phi, value, log_weights = weighted_samples(self._flow, self._action, n * self._chains)
        parts = [part.split(self._chains) for part in (phi, value, finite_log_weights(log_weights))]
        uniform = torch.rand(n, self._chains, dtype=torch.float64).to(parts[2][0].device).unbind()
        self._batch = list(zip(*parts, uniform, strict=True))

    def draw(self, tune: bool, most: int) -> list[Draw]:
        """Accept or reject proposals of a batch, one after the other."""
        if self._used == len(self._batch):
            self._fill()
        draws = []
        for new, value, log_weight, uniform in self._batch[self._used : self._used + most]:
            accept = uniform.log() < log_weight - self._log_weight
            self.fields = torch.where(accept.view(-1, *(1 for _ in new.shape[1:])), new, self.fields)
            self._value = torch.where(accept, value, self._value)
            self._log_weight = torch.where(accept, log_weight, self._log_weight)
            draws.append(Draw(self.fields, accept.double().mean().item(), self._value, self._log_weight))
        self._used += len(draws)
        return draws

    def state(self) -> Mapping[str, Tensor]:
        """The fields with their actions and log-weights, and the random numbers of the batch of proposals."""
        current = {"fields": self.fields, "value": self._value, "log_weight": self._log_weight}
        return current | {"used": torch.tensor(self._used)} | {f"random/{k}": v for k, v in self._random.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state; the batch of proposals is made again."""
        self.fields, self._value, self._log_weight = (
            state[name].to(old)
            for name, old in (("fields", self.fields), ("value", self._value), ("log_weight", self._log_weight))
        )
        set_torch_states(named(state, "random/"))
        self._fill()
        self._used = int(state["used"])
