r"""Samplers with a flow: weighted samples (`estimate`), and proposals to Markov chains (`metropolis`)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import torch
from torch import Tensor

from mera._utils.checks import check_count, check_tensor
from mera._utils.errors import InputError
from mera._utils.random import fixed_seed
from mera.flow.density import Density
from mera.physics.action import ActionLike
from mera.physics.estimate import Estimate
from mera.physics.observables import Observables
from mera.physics.sampler import Draw, Options, Sampler, check_chains, run
from mera.physics.target import PROBES, TRAJECTORIES, Target
from mera.sampling.weights import finite_log_weights

AT_ONCE = 500
"""The approximate number of proposals that are drawn in one batch."""
MOST_FIELDS = 1000
"""The most fields of the target that are compared with samples."""


@torch.no_grad()
def estimate(
    flow: Density,
    action: ActionLike | Target,
    n: int = 10_000,
    *,
    batch_size: int = AT_ONCE,
    fields: Tensor | None = None,
    **options: Unpack[Options],
) -> Estimate:
    """Estimate averages over :math:`e^{-S} / Z` from reweighted samples of a flow.

    Each sample has the weight :math:`w = e^{-S} / q` for the density q of the flow. The verdict looks at the tail of
    the weights, and at fields of the target, which show modes and tails that samples reach too seldom.

    Args:
        flow: the flow.
        action: the action S, from fields (B, C, *shape) to (B,); or its `Target`.
        n: the number of samples.
        batch_size: the number of samples that are drawn in one batch.
        fields: fields of the target from another sampler, (N, C, *shape), such as those of a long run of `hmc`; if
            None, those of short chains from over-dispersed fields, for an action with a gradient.
        **options: `observables`, `every`, `out`, `resume` and `console`; see `Options`.

    Raises:
        ValueError: if an argument is invalid, or the action lacks a property that it declares.
        FloatingPointError: if a weight is not finite.

    Warns:
        UserWarning: with the verdict, if averages are wrong or errors mean nothing.

    >>> import mera
    >>> from mera import physics
    >>> flow = mera.build("rgflow", L=4, m=2, channels=1, hidden=(8,), prior="gaussian")
    >>> action = physics.FreeField(mass2=1.0)
    >>> _ = mera.train.fit(flow, action, steps=60, lr=1e-2, batch_size=64)
    >>> report = physics.estimate(flow, action, n=1000)
    >>> report.n, sorted(report.observables)[:3]
    (1000, ['abs_m', 'binder', 'correlation_length'])
    """
    n = check_count(n, "a number of samples", 2)
    batch_size = check_count(batch_size, "a batch size")
    target = target_of_flow(flow, action)
    fields = target.typical() if fields is None else check_fields(fields, target.shape)
    witness = witness_of(flow, target, options.get("observables"), fields, batch_size)
    sampler = Samples(flow, target, batch_size, witness)
    (found,) = run(sampler, {}, n, **options)
    found.verdict.warn(4)
    return found


@torch.no_grad()
def metropolis(
    flow: Density,
    action: ActionLike | Target,
    *,
    chains: int = 16,
    draws: int = 1000,
    warmup: int = 100,
    **options: Unpack[Options],
) -> Estimate:
    r"""Sample :math:`e^{-S} / Z` by proposals that are independent samples of a flow.

    A proposal is accepted with the probability :math:`\min(1, w' / w)` for the weights :math:`w = e^{-S} / q` (Albergo
    et al. 2019, https://arxiv.org/abs/1904.12072). Half of the chains start from samples of the flow, half from a short
    run of Hamiltonian Monte Carlo.

    Args:
        flow: the flow with density q.
        action: the action S, from fields (B, C, *shape) to (B,); or its `Target`.
        chains: the number of chains.
        draws: the number of measured draws of each chain, one for each proposal.
        warmup: the number of proposals before the measurement.
        **options: `observables`, `every`, `out`, `resume` and `console`; see `Options`.

    Raises:
        ValueError: if a number is out of its range, or the flow does not suit the action.

    >>> import mera
    >>> from mera import physics
    >>> flow = mera.build("rgflow", L=4, m=4, channels=1, hidden=(8,), prior="gaussian")
    >>> chains = physics.metropolis(flow, physics.FreeField(mass2=1.0), draws=20, warmup=5)
    >>> chains.history["m2"].shape
    torch.Size([20, 16])
    """
    chains, draws, warmup = check_chains(chains, draws, warmup)
    target = target_of_flow(flow, action)
    witness = witness_of(flow, target, options.get("observables"), target.typical(), AT_ONCE)
    sampler = Proposals(flow, target, start_of_chains(target, flow, chains), witness)
    return run(sampler, {"chains": chains}, draws, warmup, **options)[0]


class Samples(Sampler):
    """Samples of a flow with their weights, up to n at once."""

    name, independent = "reweighting", True

    def __init__(self, flow: Density, target: Target, n: int, witness: Mapping[str, Tensor]) -> None:
        self.flow, self.targets, self._n, self.witness = flow, [target], n, witness

    def draw(self, tune: bool, most: int) -> list[Draw]:
        """Draw a batch of samples."""
        fields, value, log_weights = weighted_samples(self.flow, self.targets[0].action, min(self._n, most))
        return [Draw(fields, 1.0, value, log_weights)]


class Proposals(Sampler):
    """Chains whose proposals are samples of a flow; a batch of proposals is made at once."""

    name = "metropolis"
    state_names = "fields", "_value", "_log_weight"

    def __init__(self, flow: Density, target: Target, fields: Tensor, witness: Mapping[str, Tensor]) -> None:
        self.flow, self.targets, self.fields, self.witness = flow, [target], fields, witness
        self._value = target.action(fields)
        self._log_weight = log_weights_of(flow, target.action, fields).to(fields.device)

    def draw(self, tune: bool, most: int) -> list[Draw]:
        """Make a batch of proposals, and accept or reject them, one after the other."""
        chains, draws = len(self.fields), []
        n = min(most, max(1, AT_ONCE // chains))
        phi, values, log_weights = weighted_samples(self.flow, self.targets[0].action, n * chains)
        log_uniform = torch.rand(n, chains, dtype=torch.float64).log().to(log_weights.device)
        parts = (part.split(chains) for part in (phi, values, finite_log_weights(log_weights)))
        for new, value, log_weight, threshold in zip(*parts, log_uniform, strict=True):
            accept = threshold < log_weight - self._log_weight
            self.fields = torch.where(accept.view(-1, *(1 for _ in new.shape[1:])), new, self.fields)
            self._value = torch.where(accept, value, self._value)
            self._log_weight = torch.where(accept, log_weight, self._log_weight)
            draws.append(Draw(self.fields, accept.double().mean().item(), self._value, self._log_weight))
        return draws


def target_of_flow(flow: object, action: ActionLike | Target) -> Target:
    """The target of an action for a flow that has a density for every field of it."""
    if not isinstance(flow, Density):
        raise InputError("a flow", type(flow).__name__)
    target = Target.of(flow, action)
    if not all(map(math.isinf, flow.prior.support)):  # a prior on an interval may give fields no density
        with torch.no_grad(), fixed_seed(0):
            fields = target.starts(PROBES)
            if target.is_differentiable:
                fields = target.short_run(fields, warmup=TRAJECTORIES)
            missed = (flow.log_prob(fields) == -math.inf).double().mean().item()
        if missed:
            got = f"one that has none for {missed:.0%} of them, by its prior {flow.prior.family}"
            raise InputError("a flow with a density for every field of the target", got)
    return target


def check_fields(fields: Tensor, event_shape: Sequence[int]) -> Tensor:
    """Return fields (K, C, *shape), and refuse an empty batch, another shape, or values that are not finite floats."""
    check_tensor("fields", fields, tuple(event_shape), None, "chains")
    if not fields.is_floating_point() or not len(fields) or not fields.isfinite().all():
        raise InputError("one field or more, of finite floats", f"{len(fields)} of {fields.dtype}")
    return fields


def weighted_samples(flow: Any, action: ActionLike, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw n samples of a flow; return them, their actions, and their log-weights -S - ln q in double precision."""
    phi, log_q = flow.rsample_and_log_prob(n)
    value = action(phi)
    return phi, value, -value.double() - log_q.double()


def log_weights_of(flow: Density, action: ActionLike, fields: Tensor) -> Tensor:
    """The log-weights -S - ln q of fields of the target, (N,), in double precision on the CPU; inf where q is 0."""
    log_weights = (-action(fields).double() - flow.log_prob(fields).double()).cpu()
    if wrong := int(log_weights.isnan().sum()):
        raise FloatingPointError(f"Expected weights of fields of the target; got NaN for {wrong} of {len(fields)}")
    return log_weights


def witness_of(
    flow: Density, target: Target, own: Mapping[str, Any] | None, fields: Tensor | None, batch_size: int
) -> dict[str, Tensor]:
    """Log-weights, actions and observables of fields of the target, by name; nothing without fields."""
    if fields is None:
        return {}
    parts = fields[:: -(-len(fields) // MOST_FIELDS)].to(flow.device, flow.dtype).split(batch_size)
    series = Observables(target.action, own).measure_parts(parts)
    series["log_weights"] = torch.cat([log_weights_of(flow, target.action, part) for part in parts])
    series["actions"] = torch.cat([target.action(part) for part in parts]).double().cpu()
    return {name: values.detach() for name, values in series.items() if name != "correlator"}


@torch.inference_mode(False)
@torch.no_grad()
def start_of_chains(target: Target, flow: Density, chains: int) -> Tensor:
    """Initial fields of chains, (chains, C, *shape): half are samples of the flow, half of a short run from `starts`.

    R-hat shows whether the two groups agree; chains that all began in the flow would not show what the flow misses. For
    an action without a gradient all fields are samples of the flow, and a warning says so.
    """
    fields = flow.sample(chains)
    if not target.is_differentiable:
        warnings.warn(
            "Expected an action with a gradient, so that half of the chains start elsewhere than in the flow; got "
            "none: a mode that the flow misses would not show", stacklevel=6,
        )  # fmt: skip
    elif chains > 1:
        others = target.starts(chains // 2)
        fields = torch.cat([fields[len(others) :], target.short_run(others)])
    return fields
