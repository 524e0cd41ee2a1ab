"""Markov chains of fields: Hamiltonian Monte Carlo (Duane et al. 1987) and independence Metropolis with a flow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mera._utils.checks import check_count, check_positive
from mera.flow.density import Density
from mera.physics.action import Action, ActionLike
from mera.physics.check_target import check_fields, check_sampled, check_target, event_shape_of
from mera.physics.estimate import log_weights_of, target_facts, weighted_samples
from mera.physics.markov_chains import MarkovChains, chains_of
from mera.physics.observables import Observables
from mera.physics.sampler import Draw, Sampler, record
from mera.physics.trajectories import LONGEST, Trajectories, fields_of, is_dispersed, like_of, start_of_chains, starts
from mera.physics.verdicts import finite_log_weights
from mera.sampling.diagnostics import MIN_DRAWS

if TYPE_CHECKING:
    from rich.console import Console

AT_ONCE = 500
"""The approximate number of proposals that are drawn in one batch."""


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
        flow: the flow; half of the chains start from its samples, half from a short run from over-dispersed fields:
            noise of several scales, and constant fields at minima of the action. Or the shape (C, *shape) of a field,
            and all chains start from over-dispersed fields.
        action: the action S, differentiable, from fields (B, C, *shape) to (B,).
        chains: the number of chains.
        draws: the number of measured draws of each chain.
        warmup: the number of trajectories before the measurement, which tune the step to an acceptance rate of 0.8: in
            the first half a step for each chain, then the common one of all draws.
        length: the mean length of a trajectory, with unit masses.
        start: the initial fields of the chains, (K, C, *shape), in place of those above. The verdict says if their
            magnetisations spread less than those above: chains that begin in one phase do not show another one.
        observables: your own observables by name, functions from fields to numbers (B,).
        every: keep the fields of every k-th draw; 0 for the last of each chain alone.
        out: a folder, in which draws are kept as they are made, for `load_chain` and `resume`; None for memory alone.
        resume: whether to go on with the measurement in the folder, up to `draws`: the draws are those of a measurement
            that was not interrupted.
        console: a rich console for the progress bar; None shows it on terminals and in notebooks only.

    Raises:
        ValueError: if an argument is invalid, the flow does not suit the action, or the measurement to resume is
            another one.
        FileExistsError: if the folder holds a measurement and `resume` is false, or another process writes to it.
        FloatingPointError: if the action or its gradient is not finite at the initial fields.

    >>> from mera import physics
    >>> chain = physics.hmc((1, 4, 4), physics.FreeField(mass2=1.0), draws=50, warmup=50)
    >>> chain.fields.shape, chain.history["m2"].shape
    (torch.Size([16, 1, 4, 4]), torch.Size([50, 16]))
    """
    chains = check_count(chains, "a number of chains")
    draws = check_count(draws, "a number of draws", MIN_DRAWS)
    warmup = check_count(warmup, "a number of trajectories before the draws", 0)
    check_positive(length, "the length of a trajectory", most=LONGEST)
    shape = event_shape_of(flow)
    if start is not None:
        fields, action = check_fields(start, shape), check_target(shape, action, start)
    else:
        action = check_target(shape, action, like_of(flow))
        fields = start_of_chains(action, flow, chains) if isinstance(flow, Density) else starts(action, shape, chains)
    sampler = FieldChains(action, fields, length, warmup)
    facts: dict[str, Any] = {} if start is None else {"dispersed": is_dispersed(action, fields)}
    facts |= {"chains": len(fields), "dtype": str(fields.dtype).removeprefix("torch."), "length": length}
    return chains_of(*record(
        "hmc", sampler, flow, Observables(action, observables), facts,
        warmup=warmup, draws=draws, every=every, out=out, resume=resume, console=console,
    ))  # fmt: skip


class FieldChains(Trajectories, Sampler):  # type: ignore[override]
    """Hamiltonian trajectories of fields, which are recorded.

    In the first half of the warm-up each chain has a step of its own, since over-dispersed starts may lie where the
    action is too steep for the step that suits the others, and a chain would never leave. From then on the step is
    common, and begins at the median: a chain whose own step became too small would explore less than the others.
    """

    title = "HMC"

    def __init__(self, action: Action, fields: Tensor, length: float, warmup: int) -> None:
        self._warmup = warmup
        super().__init__(action, fields, length, own_steps=len(fields) > 1)

    def draw(self, tune: bool, most: int) -> list[Draw]:
        """Run a trajectory; for an even action, each chain is then mirrored with probability 1/2."""
        if tune and most == self._warmup - self._warmup // 4:
            self.tuning.restart()  # steps that suited the start may not suit what follows
        if isinstance(self.tuning.value, Tensor) and not (tune and most > self._warmup // 2):
            self.tuning.value = self.tuning.value.median().item()
            self.tuning.restart()
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

    A proposal is accepted with the probability :math:`\min(1, w' / w)` for the weights :math:`w = e^{-S} / q` (Albergo
    et al. 2019, https://arxiv.org/abs/1904.12072). Half of the chains start from samples of the flow, half from a short
    run of Hamiltonian Monte Carlo.

    Args:
        flow: the flow with density q.
        action: the action S, from fields (B, C, *shape) to (B,).
        chains: the number of chains.
        draws: the number of measured draws of each chain, one for each proposal.
        warmup: the number of proposals before the measurement.
        observables: as in `hmc`, and so are `every`, `out`, `console` and the errors.
        resume: whether to go on with the measurement in the folder. After an interruption the draws are those of a
            measurement without one; a larger `draws` adds further draws.

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
    measured = Observables(action, observables)
    facts = {"chains": chains, "target": target_facts(flow, measured, fields_of(action, flow), AT_ONCE)}
    return chains_of(*record(
        "metropolis", Proposals(flow, action, start_of_chains(action, flow, chains)), flow, measured, facts,
        warmup=warmup, draws=draws, every=every, out=out, resume=resume, console=console,
    ))  # fmt: skip


class Proposals(Sampler):
    """Chains whose proposals are samples of a flow; a batch of proposals is made at once."""

    title = "Metropolis"

    def __init__(self, flow: Density, action: Action, fields: Tensor) -> None:
        self._flow, self._action, self.fields = flow, action, fields
        self._value = action(fields)
        self._log_weight = log_weights_of(flow, action, fields).to(fields.device)

    def draw(self, tune: bool, most: int) -> list[Draw]:
        """Make a batch of proposals, and accept or reject them, one after the other."""
        chains, draws = len(self.fields), []
        n = min(most, max(1, AT_ONCE // chains))
        phi, values, log_weights = weighted_samples(self._flow, self._action, n * chains)
        log_uniform = torch.rand(n, chains, dtype=torch.float64).log().to(log_weights.device)
        parts = (part.split(chains) for part in (phi, values, finite_log_weights(log_weights)))
        for new, value, log_weight, threshold in zip(*parts, log_uniform, strict=True):
            accept = threshold < log_weight - self._log_weight
            self.fields = torch.where(accept.view(-1, *(1 for _ in new.shape[1:])), new, self.fields)
            self._value = torch.where(accept, value, self._value)
            self._log_weight = torch.where(accept, log_weight, self._log_weight)
            draws.append(Draw(self.fields, accept.double().mean().item(), self._value, self._log_weight))
        return draws

    def state(self) -> Mapping[str, Tensor]:
        """The fields with their actions and log-weights."""
        return {"fields": self.fields, "value": self._value, "log_weight": self._log_weight}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state."""
        self.fields = state["fields"].to(self.fields)
        self._value, self._log_weight = state["value"].to(self._value), state["log_weight"].to(self._log_weight)
