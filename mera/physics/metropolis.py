"""Independence Metropolis: samples of a flow as proposals (Albergo et al. 2019, https://arxiv.org/abs/1904.12072)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mera._utils.allocator import tune_allocator
from mera._utils.checks import check_count
from mera.bijectors.conditioners.fixed_weights import fixed_weights
from mera.chains.gamma import LEAST
from mera.density import Density
from mera.display.progress import ProgressBar, check_console
from mera.physics.action import Action, ActionLike
from mera.physics.check_target import check_sampled
from mera.physics.markov_chains import MarkovChains, Recorder
from mera.physics.observables import Observables
from mera.physics.verdicts import finite_log_weights

if TYPE_CHECKING:
    from rich.console import Console

AT_ONCE = 500
"""The approximate number of proposals that are drawn in one batch."""


@torch.no_grad()
@fixed_weights()
def metropolis(
    flow: Density,
    action: ActionLike,
    *,
    chains: int = 16,
    draws: int = 1000,
    warmup: int = 100,
    observables: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
    console: Console | None = None,
) -> MarkovChains:
    r"""Sample :math:`e^{-S} / Z` by proposals that are independent samples of a flow.

    A proposal is accepted with the probability :math:`\min(1, w' / w)` for the weights :math:`w = e^{-S} / q`.

    Args:
        flow: the flow with density q.
        action: the action S, from fields (B, C, *shape) to (B,).
        chains: the number of chains.
        draws: the number of measured draws of each chain, one for each proposal.
        warmup: the number of proposals before the measurement.
        observables: your own observables by name, functions from fields to numbers (B,).
        console: a rich console for the progress bar; None to show nothing.

    Returns:
        The observables of all draws, the acceptance rate, and the last fields of the chains.

    Raises:
        ValueError: if a number is out of its range, or the flow does not suit the action.

    >>> import mera
    >>> from mera import physics
    >>> flow = mera.build("rgflow", L=4, m=4, channels=1, hidden=(8,), prior="gaussian")
    >>> chains = physics.metropolis(flow, physics.FreeField(mass2=1.0), draws=20, warmup=5)
    >>> chains.history["m2"].shape
    torch.Size([20, 16])
    """
    check_count(chains, "a number of chains")
    check_count(draws, "a number of draws", LEAST)
    check_count(warmup, "a number of proposals before the draws", 0)
    action = check_sampled(flow, action)
    tune_allocator()
    recorder = Recorder(Observables(action, observables))
    began, total = time.perf_counter(), warmup + draws
    phi, value, log_weight = _weighted(flow, action, chains)
    accepted, done = 0.0, 0
    with ProgressBar("Metropolis", check_console(console)) as progress_bar:
        while done < total:
            n = min(max(1, AT_ONCE // chains), total - done)
            parts = [part.split(chains) for part in _weighted(flow, action, n * chains)]
            for new, new_value, new_weight in zip(*parts, strict=True):
                accept = torch.rand_like(new_weight).log() < new_weight - log_weight
                phi = torch.where(accept.view(-1, *(1 for _ in phi.shape[1:])), new, phi)
                value = torch.where(accept, new_value, value)
                log_weight = torch.where(accept, new_weight, log_weight)
                if done >= warmup:
                    accepted += accept.double().mean().item() / draws
                    recorder.add(phi, value, log_weight)
                done += 1
            progress_bar.update(done, done / total)
    seconds = (time.perf_counter() - began) * draws / total  # a batch can hold proposals of warm-up and measurement
    return recorder.chain(phi, accepted, seconds)


def _weighted(flow: Density, action: Action, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw n samples of the flow; return the samples, the actions and the log-weights (in double precision)."""
    phi, log_q = flow.rsample_and_log_prob(n)
    value = action(phi)
    return phi, value, finite_log_weights(-value.double() - log_q.double())
