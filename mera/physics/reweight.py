"""Averages over another action than the one that was sampled, from the fields of its chains."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera._utils.table import Table
from mera.physics.action import ActionLike
from mera.physics.check_target import check_target
from mera.physics.markov_chains import MarkovChains, judged
from mera.physics.measured import ChainAverage, Measured, summary
from mera.physics.observables import Observables, Quantity, lattice_facts
from mera.physics.verdicts import finite_log_weights, pareto_k, verdict_on_terms, verdict_on_weights
from mera.sampling.annealing import effective_number
from mera.sampling.diagnostics import MIN_DRAWS, gamma_method
from mera.sampling.verdict import least_trusted


@dataclass(frozen=True, repr=False, kw_only=True)
class Reweighted(Measured):
    r"""Averages over another action S' than the sampled S, as a `Measured`, with the log-weights :math:`S - S'`.

    Args:
        ess: the effective sample size of the weights, 0 to 1; draws of a chain that depend on each other count fully.
        log_ratio: :math:`\ln Z' / Z` with its standard error.
        pareto_k: the shape of the tail of the weights.
    """

    ess: float
    log_ratio: Quantity
    pareto_k: float
    log_weights: Tensor

    @property
    def table(self) -> Table:
        """A table with a row for each quantity."""
        rows = self._rows(self.ess * self.log_weights.numel(), **{"ln Z'/Z": self.log_ratio})
        return Table(["quantity", "value", ""], rows)

    def __repr__(self) -> str:
        """The table as text, followed by the effective sample size and the verdict."""
        return f"{self.table}\nESS {self.ess:.3f} of {self.log_weights.numel():,} fields\n{self.verdict}"


@torch.no_grad()
def reweight(
    chain: MarkovChains,
    action: ActionLike,
    *,
    observables: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
) -> Reweighted:
    r"""Averages over the density :math:`e^{-S'} / Z'` from chains of another action S, such as one of a near coupling.

    .. math:: \langle O \rangle' = \langle O w \rangle / \langle w \rangle, \qquad w = e^{S - S'}, \qquad
        Z' / Z = \langle w \rangle

    (Ferrenberg and Swendsen 1988, Phys. Rev. Lett. 61, 2635). Errors are those of the Gamma method along the chains,
    by linear expansion. Few weights decide if S' is far from S, and the verdict then says so.

    Args:
        chain: chains of S that keep fields (`every=`), and the verdict on which is one of those on the result.
        action: the action S', from fields (B, C, *shape) to (B,).
        observables: your own observables by name, functions from fields to numbers (B,).

    Raises:
        ValueError: if the chains keep fewer than eight fields each, or the action does not suit the fields.
        FloatingPointError: if a weight is not finite.

    Warns:
        UserWarning: with the verdict, if averages are wrong or errors mean nothing.

    >>> from mera import physics
    >>> chain = physics.hmc((1, 4, 4), physics.FreeField(1.0), draws=500, every=1)
    >>> found = physics.reweight(chain, physics.FreeField(1.1))
    >>> exact = physics.FreeField(1.1).log_z((4, 4)) - physics.FreeField(1.0).log_z((4, 4))
    >>> abs(found.log_ratio.value - exact) < 5 * found.log_ratio.error
    True
    """
    if not isinstance(chain, MarkovChains):
        raise InputError("chains, the result of hmc or metropolis", type(chain).__name__)
    chains = next(iter(chain.history.values())).shape[1]
    kept = len(chain.field_actions) // chains
    if kept < MIN_DRAWS:
        raise InputError(f"chains that keep at least {MIN_DRAWS} fields each (every=1)", str(kept))
    shape = tuple(chain.fields.shape[1:])
    action, parts = check_target(shape, action), chain.fields.split(500)
    values = torch.cat([action(part) for part in parts]).double().cpu()
    log_w = finite_log_weights(chain.field_actions - values)
    series = Observables(action, observables).measure_parts(parts)
    series = {name: values.unflatten(0, (-1, chains)) for name, values in series.items()}
    weights, k = log_w.softmax(0).view(-1, chains) * len(log_w), pareto_k(log_w)
    averaging, common = ChainAverage(weights), least_trusted(chain.verdict, verdict_on_weights(log_w, k))
    verdicts = {"ln Z'/Z": least_trusted(common, judged(weights, 1.0).verdict)}
    for name, values in series.items():
        if name != "correlator":
            of_terms = verdict_on_terms(common, pareto_k(log_w + values.flatten().abs().log()))
            influence = weights * (values - averaging.average(values))
            verdicts[name] = least_trusted(of_terms, judged(influence, 1.0).verdict)
    result = Reweighted(
        **summary(lattice_facts(action, shape), series, averaging, verdicts),
        fields=chain.fields,
        log_weights=log_w,
        ess=effective_number(log_w).item() / len(log_w),
        log_ratio=Quantity(log_w.logsumexp(0).item() - math.log(len(log_w)), gamma_method(weights).error),
        pareto_k=k,
    )
    result.verdict.warn()
    return result
