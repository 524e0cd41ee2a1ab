"""Averages over another action than those that were sampled, from the fields of chains at one coupling or several."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera.physics.action import ActionLike
from mera.physics.estimate import Estimate, judged
from mera.physics.observables import Averages, Observables
from mera.physics.target import Target
from mera.sampling.diagnostics import MIN_DRAWS, Averaging, along
from mera.sampling.verdict import judge, least_trusted
from mera.sampling.weights import effective_number, finite_log_weights, pareto_k, tail_of

PART = 500
"""The fields whose actions are computed at once."""


@torch.no_grad()
def reweight(
    chain: Estimate | Sequence[Estimate],
    action: ActionLike | Target,
    *,
    observables: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
) -> Estimate:
    r"""Averages over the density :math:`e^{-S'} / Z'` from chains of other actions, such as those of near couplings.

    Fields of chains, :math:`N_k` of the action :math:`S_k`, are samples of the mixture of their densities with the
    weights

    .. math:: w = e^{-S'} \Big/ \sum_k N_k e^{-S_k} / Z_k

    whose :math:`Z_k` solve the same equations for :math:`S' = S_k` (Shirts and Chodera 2008,
    https://arxiv.org/abs/0801.1426); of one chain, :math:`w = e^{S - S'}` and :math:`Z' / Z = \langle w \rangle`.
    Errors are those of the chains, by linear expansion, with the errors of :math:`Z_k`; points of one tempering count
    as one set of chains.

    Args:
        chain: the estimate of a sampler whose draws are chains and keep fields (`every=`), or several; the verdicts on
            them count for the result.
        action: the action S', from fields (B, C, *shape) to (B,).
        observables: your own observables by name, functions from fields to numbers (B,).

    Returns:
        The estimate, whose `log_z` is :math:`\ln Z' / Z`, for Z of the first chain.

    Raises:
        ValueError: if chains keep fewer than eight fields each, or an action does not suit the fields.
        FloatingPointError: if a weight is not finite.

    Warns:
        UserWarning: with the verdict, if averages are wrong or errors mean nothing.

    >>> from mera import physics
    >>> chains = [physics.hmc((1, 4, 4), physics.FreeField(m2), draws=200, every=1) for m2 in (1.0, 1.4)]
    >>> found = physics.reweight(chains, physics.FreeField(1.2))
    >>> exact = physics.FreeField(1.2).log_z((4, 4)) - physics.FreeField(1.0).log_z((4, 4))
    >>> abs(found.log_z - exact) < 5 * found.log_z_error
    True
    """
    chains = [chain] if isinstance(chain, Estimate) else list(chain)
    shapes = [_kept(one) for one in chains]
    fields = torch.cat([one.fields for one in chains])
    target, parts = Target.of(tuple(fields.shape[1:]), action), fields.split(PART)
    if len(chains) == 1:
        actions = chains[0].field_actions[None]
    else:
        known = [one.target for one in chains if one.target is not None]
        if len(known) < len(chains):
            raise InputError("chains whose actions are known, load_chain(path, action)", "some without theirs")
        actions = torch.stack([_actions(one, parts) for one in known])
    posterior, log_c = _mixture(actions, torch.tensor(shapes).prod(1).double())
    log_w = finite_log_weights(-_actions(target, parts) - log_c)
    averaging = Mixture(log_w.softmax(0), chains=chains, shapes=shapes, posterior=posterior)
    averages = Averages(Observables(target.action, observables).measure_parts(parts), averaging)
    k, effective, ones = pareto_k(log_w), effective_number(log_w).item(), torch.ones_like(log_w)
    common = tail_of(k, len(log_w)) | {"effective": effective, "overlap": averaging.overlap}
    seen = {"ln Z": common | averaging.seen(ones)}
    for name, values in averages.scalars.items():
        of_terms = {"k_of_terms": pareto_k(log_w + values.abs().log())}
        seen[name] = common | of_terms | averaging.seen(values - averaging.average(values))
    found = judged(target.facts, averages, seen)
    before = [one.verdict for one in chains]
    found["verdicts"] = {name: least_trusted(*before, verdict) for name, verdict in found["verdicts"].items()}
    result = Estimate(
        facts=target.facts | {"sampler": "reweighted chains"}, series=averages.series, fields=fields,
        field_actions=-log_c, log_weights=log_w, n=len(log_w), ess=effective / len(log_w), pareto_k=k,
        log_z=log_w.logsumexp(0).item(), log_z_error=averaging.error(ones), target=target,
        seconds=sum(one.seconds for one in chains), **found,
    )  # fmt: skip
    result.verdict.warn()
    return result


def _kept(chain: Estimate) -> tuple[int, int]:
    """The number of fields that each chain of an estimate keeps, and the number of its chains."""
    if not isinstance(chain, Estimate) or not chain.tau:
        got = chain.sampler if isinstance(chain, Estimate) else type(chain).__name__
        raise InputError("chains, the result of hmc, metropolis, temper or cluster", got)
    chains = chain.series["m2"].shape[1]
    kept = len(chain.field_actions) // chains
    if kept < MIN_DRAWS:
        raise InputError(f"chains that keep at least {MIN_DRAWS} fields each (every=1)", str(kept))
    return kept, chains


def _actions(target: Target, parts: Sequence[Tensor]) -> Tensor:
    """The actions of fields, (N,)."""
    return torch.cat([target.action(part) for part in parts]).double().cpu()


def _mixture(actions: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    r"""The mixture of the sampled densities, from the actions (K, N) of all fields and the numbers of fields (K,).

    Returns:
        The probability of each density for each field, (K, N), and :math:`\ln \sum_k N_k e^{-S_k} / Z_k`, (N,), for
        :math:`Z_1 = 1`.
    """
    from scipy.optimize import root

    def terms(f: Tensor) -> Tensor:  # of f_k = -ln Z_k
        return counts.log()[:, None] + torch.cat([torch.zeros(1).double(), f])[:, None] - actions

    def score(f: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        posterior = terms(torch.from_numpy(f)).softmax(0)
        return (posterior.sum(1) - counts)[1:].numpy(), _information(posterior).numpy()

    f = torch.zeros(len(counts) - 1, dtype=torch.float64)
    if len(f):
        log_z = (-actions - terms(f).logsumexp(0)).logsumexp(1)
        f = torch.from_numpy(root(score, (log_z[0] - log_z[1:]).numpy(), jac=True).x)
    return terms(f).softmax(0), terms(f).logsumexp(0)


def _information(posterior: Tensor) -> Tensor:
    """The second derivatives of the likelihood of f_2 to f_K, from the probabilities of the densities, (K, N)."""
    return posterior[1:].sum(1).diag() - posterior[1:] @ posterior[1:].mT


@dataclass(frozen=True, kw_only=True)
class Mixture(Averaging):
    r"""The weighted mean of fields of several sets of chains, with the errors of their :math:`\ln Z`.

    The error comes from the influence of each field on the average, also by way of :math:`\ln Z` of what was sampled.
    Sets of chains are independent, but for those of one run.

    Args:
        chains: the sets of chains, whose fields follow one another.
        shapes: the numbers of fields that each chain of a set keeps, and of its chains.
        posterior: the probability of each sampled density for each field, (K, N).
    """

    chains: Sequence[Estimate]
    shapes: Sequence[tuple[int, int]]
    posterior: Tensor

    @property
    def overlap(self) -> float:
        """The overlap of the sampled densities, from 0 for densities that share no fields to 1."""
        scaled = self.posterior / self.posterior.sum(1, keepdim=True).sqrt()
        values = torch.linalg.eigvalsh(scaled @ scaled.mT)  # the largest is 1
        return 1 - values[-2].item() if len(values) > 1 else 1.0

    def influences(self, centred: Tensor) -> list[tuple[Averaging, Tensor]]:
        """The averaging of each run, and the influences of its fields on the average times their number, (draws, K)."""
        total = self.weights * centred  # type: ignore[operator]
        if len(self.chains) > 1:
            shift = torch.linalg.pinv(_information(self.posterior), hermitian=True) @ (self.posterior[1:] @ total)
            total = total + shift @ self.posterior[1:]
        found: dict[Any, tuple[Averaging, Tensor]] = {}
        parts = total.split([math.prod(shape) for shape in self.shapes])
        for chain, shape, part in zip(self.chains, self.shapes, parts, strict=True):
            # points of one tempering have the same rates of exchange
            run = tuple(chain.figures["exchanged"].tolist()) if "exchanged" in chain.figures else id(chain)
            earlier = found[run][1] if run in found else 0
            found[run] = chain.averaging, earlier + len(part) * part.view(shape)
        return list(found.values())

    def error(self, centred: Tensor) -> float:
        """The standard error of the average, from the values less their average."""
        return math.hypot(*(averaging.error(part) for averaging, part in self.influences(centred)))

    def seen(self, centred: Tensor) -> dict[str, float]:
        """The figures of a verdict on the average, of the chains that are the least to be trusted."""
        figures = (along(part) for _, part in self.influences(centred))
        return min(figures, key=lambda seen: judge(seen).trust)
