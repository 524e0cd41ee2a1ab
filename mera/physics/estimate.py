r"""An estimate: averages over :math:`e^{-S} / Z` with errors and verdicts, from the record of any sampler."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

from torch import Tensor

from mera._utils.drawn import Drawn
from mera._utils.installation import import_optional
from mera._utils.table import Table
from mera.physics.action import ActionLike
from mera.physics.observables import Average, Averages, Quantity, averages_of, is_constant
from mera.physics.record import Record, compare_functions, read_records
from mera.physics.target import Target
from mera.sampling.diagnostics import MIN_EFFECTIVE, Averaging, along, frozen_chains, student
from mera.sampling.verdict import Trust, Verdict, judge, least_trusted
from mera.sampling.weights import (
    effective_number,
    finite_log_weights,
    format_ess,
    forward_of,
    k_of_flow,
    pareto_k,
    tail_of,
)

CHANCE = 0.005
"""The probability with which chance alone makes the verdict doubt an average of particles."""


@dataclass(frozen=True, repr=False, kw_only=True)
class Estimate(Record, Drawn):
    r"""The result of every sampler: its record, with averages, errors and verdicts.

    Attributes that do not apply to the draws are None, or an empty mapping. The log-weights of samples of a flow with
    density q, and of its proposals to chains, are :math:`-S - \ln q`.

    Args:
        fields: the fields that are kept, (N, C, *shape), draw by draw; the last of each chain if none are.
        field_actions: the actions of the fields that are kept, (N,).
        averaging: how draws are averaged, and the standard error of an average.
        observables: by name, the value and its standard error; NaN if fewer than two samples are effective.
        verdicts: by name, whether the value and its error can be trusted.
        correlator: the two-point function with its errors, (r,) each; None for open borders.
        tau: by name, the integrated autocorrelation time of chains in draws, 1/2 for independent draws.
        tau_error: by name, the standard error of the autocorrelation time.
        r_hat: by name, rank-normalised split R-hat of chains.
        acceptance: the acceptance rate.
        n: the number of weighted samples.
        ess: the effective sample size of the weights as a fraction of n, 0 to 1.
        pareto_k: the shape of the tail of the weights; NaN for fewer than 100 samples.
        log_z: the estimate of :math:`\ln Z`; for `reweight`, of :math:`\ln Z' / Z`.
        log_z_error: its standard error.
        free_energy: the mean of :math:`\ln q + S`, an upper bound of :math:`-\ln Z`.
        missed: the fraction of fields of the target that the samples miss; None without such fields.
        forward_ess: the effective sample size from fields of the target, 0 to 1; None without such fields.
        target: what was sampled; None for a measurement that was loaded without its action.
    """

    averaging: Averaging
    observables: Mapping[str, Quantity]
    verdicts: Mapping[str, Verdict]
    correlator: tuple[Tensor, Tensor] | None
    tau: Mapping[str, float] = field(default_factory=dict)
    tau_error: Mapping[str, float] = field(default_factory=dict)
    r_hat: Mapping[str, float] = field(default_factory=dict)
    acceptance: float | None = None
    n: int | None = None
    ess: float | None = None
    pareto_k: float | None = None
    log_z: float | None = None
    log_z_error: float | None = None
    free_energy: Quantity | None = None
    missed: float | None = None
    forward_ess: float | None = None
    target: Target | None = None

    @property
    def sampler(self) -> str:
        """The name of the sampler."""
        return self.facts.get("sampler", "")

    @property
    def history(self) -> dict[str, Tensor]:
        """By name, the observable of each draw, (n,) of samples or (draws, K) of chains; "correlator" has an axis r."""
        return {name: values for name, values in self.series.items() if not name.startswith("_")}

    @property
    def verdict(self) -> Verdict:
        """The worst verdict on a quantity, with the name of the quantity if verdicts on others are better."""
        name = min(self.verdicts, key=lambda name: self.verdicts[name].trust)
        found = self.verdicts[name]
        is_common = all(verdict.trust == found.trust for verdict in self.verdicts.values())
        return found if is_common else Verdict(found.trust, f"{found.reason}, for {name}")

    @property
    def table(self) -> Table:
        """A table with a row for each quantity."""
        rows = [("ESS", f"{format_ess(self.ess, self.pareto_k or 0.0)} of {self.n:,} samples")] if self.ess else []
        if self.forward_ess is not None:
            rows.append(("ESS from fields of the target", f"{self.forward_ess:.4f}"))
        if self.free_energy is not None:
            rows.append(("variational free energy", str(self.free_energy)))
        if self.log_z is not None and self.log_z_error is not None:
            name = "ln Z'/Z" if self.sampler == "reweighted chains" else "ln Z"
            rows.append((name, str(Quantity(self.log_z, self.log_z_error))))
        rows += [(name, str(quantity)) for name, quantity in self.observables.items()]
        columns = ["autocorrelation time", "R-hat"] if self.tau else []
        diagnostics = {name: (f"{t:.3g} +- {self.tau_error[name]:.2g}", f"{self.r_hat[name]:.3f}")
                       for name, t in self.tau.items()}  # fmt: skip
        marks = {name: verdict.words for name, verdict in self.verdicts.items() if verdict.trust < Trust.USABLE}
        lines = [(*row, *diagnostics.get(row[0], [""] * len(columns)), marks.get(row[0], "")) for row in rows]
        return Table(["quantity", "value", *columns, ""], lines)

    def __repr__(self) -> str:
        """The table as text, followed by the numbers of draws, their time and acceptance rate, and the verdict."""
        n, *chains = self.series["m2"].shape
        text = f"{n:,} draws of {chains[0]} chains" if chains else f"{n:,} samples"
        if (populations := self.facts.get("populations")) is not None:
            text = f"{n:,} particles of {populations} populations"
        text += f" in {self.seconds:.3g} s"
        if self.acceptance is not None:
            text += f", accepted {self.acceptance:.2f}"
        if "trips" in self.figures:
            text += f", {int(self.figures['trips'])} round trips"
        return f"{self.table}\n{text}\n{self.verdict}"

    def derive(self, function: Average) -> Quantity:
        r"""A function of averages, with an error that has all correlations between the averages.

        The error is that of `observables`: by linear expansion, along chains, over samples or over populations.

        Args:
            function: a differentiable function from the averages by name, tensors without dimensions and the two-point
                function "correlator", (r,), to one real number.

        Raises:
            RuntimeError: if the function is not differentiable, or returns several numbers or a complex one.

        Warns:
            UserWarning: with the verdict, if averages are wrong or errors mean nothing.

        >>> from mera import physics
        >>> chain = physics.hmc((1, 4, 4), physics.FreeField(4.0), draws=200)
        >>> chain.derive(lambda mean: mean["m4"] / mean["m2"] ** 2).error < 1
        True
        >>> chain.derive(lambda mean: mean["correlator"][1] / mean["correlator"][0]).error < 1
        True
        """
        self.verdict.warn()
        return Averages(self.history, self.averaging).of(function)[0]

    def to_arviz(self) -> Any:
        """The histories as a DataTree of ArviZ, with the group "posterior", for its tables and plots.

        Weighted samples are one chain, whose weights are in the group "sample_stats".

        Raises:
            ValueError: if the extra `arviz` is not installed.
        """
        from_dict = import_optional("arviz_base", "arviz").from_dict
        groups = {"posterior": self.history}
        if self.log_weights is not None:
            groups["sample_stats"] = {"log_weight": self.log_weights}
        first = (lambda v: v.movedim(1, 0).numpy()) if self.tau else (lambda v: v[None].numpy())
        return from_dict({group: {k: first(v) for k, v in values.items()} for group, values in groups.items()})


def estimate_of(record: Record, target: Target | None = None) -> Estimate:
    """The estimate from a record of a target, if it is known, whatever has drawn it.

    Raises:
        FloatingPointError: if a weight is not finite.
    """
    if record.is_chains:
        entries = _of_chains(record)
        entries |= {"fields": record.fields.flatten(0, 1), "field_actions": record.field_actions.flatten()}
    else:
        of_kind = _of_samples if record.facts.get("populations") is None else _of_populations
        entries = of_kind(record, finite_log_weights(record.log_weights))  # type: ignore[arg-type]
    if not len(record.fields):
        entries["fields"] = record.last
    return Estimate(**vars(record) | entries | {"target": target})


def judged(facts: Mapping[str, Any], averages: Averages, seen: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The entries of an estimate that follow from averages, and from the figures that were seen of each row.

    The verdict on a function of averages is the worst on the averages that it takes.
    """
    observables = {name: value for name, value in averages.quantities.items() if not name.startswith("_")}
    verdicts = {name: judge(figures) for name, figures in seen.items()}
    for name in facts.get("zero", ()):
        if verdicts[name].trust > Trust.TOO_FEW:  # an error that means nothing refutes nothing
            value, error = observables[name]
            errors = 0.0 if value == 0 else abs(value) / error if error > 0 else math.inf
            verdicts[name] = judge({**seen[name], "errors_from_zero": min(errors, 1e6)})
    functions = averages_of(facts["shape"][1:], tuple(facts["periodic"]), facts["inverse_temperature"])
    for name, function in functions.items():
        observables[name], taken = averages.of(function)
        if taken:
            verdicts[name] = least_trusted(*[verdicts[k] for k in taken if k in verdicts] or verdicts.values())
    return {
        "averaging": averages.averaging, "observables": observables, "correlator": averages.correlator,
        "verdicts": {name: verdict for name, verdict in verdicts.items() if not name.startswith("_")},
    }  # fmt: skip


def _of_chains(record: Record) -> dict[str, Any]:
    """The entries of the estimate of chains."""
    facts, log_weights, tempered = record.facts, record.log_weights, "trips" in record.figures
    averages, acceptance = Averages(record.series, Averaging(by_spread=tempered)), record.rates.mean().item()
    moving = record.series["phi2"]  # unchanged by signs; for angles, whose phi^2 is 1, the energy
    moving = record.series["energy"] if is_constant(moving, moving.mean()) else moving
    common: dict[str, Any] = {
        "acceptance": acceptance, "chains": moving.shape[1], "frozen": frozen_chains(moving, acceptance),
        "dispersed": facts.get("dispersed", True),
    }  # fmt: skip
    if tempered:
        common |= {"trips": int(record.figures["trips"]), "exchanged": record.figures["exchanged"].min().item()}
    signed = facts.get("zero", ()) if facts.get("random_signs") else ()  # their information is in |m| and m^2
    scalars = averages.scalars
    rows = {name: along(values, folded=name not in signed) for name, values in scalars.items()}
    seen = {name: common | row for name, row in rows.items()}
    if log_weights is not None:
        k, n, forward = k_of_flow(log_weights), log_weights.numel(), forward_of(record.witness, log_weights)
        mean_log_weight = math.log(n) - (-log_weights).flatten().logsumexp(0).item()
        for name, values in scalars.items():
            seen[name] |= {} if math.isnan(k) else tail_of(k, n)
            seen[name]["k_of_terms"] = k_of_flow(log_weights + 2 * values.abs().log())
            if forward is not None:
                ratio = forward.error_ratio(name, *averages.quantities[name], n, mean_log_weight)
                seen[name]["error_ratio"] = ratio
    # chains in different phases show both in unknown proportions, also in rows that differ too little to tell
    shown = {name: row for name, row in rows.items() if not name.startswith("_")}
    apart = next((name for name in shown if judge(seen[name]).trust == Trust.MEANINGLESS), "")
    seen = {name: figures | {"apart": apart} for name, figures in seen.items()}
    return {
        "tau": {name: row["gamma"].tau for name, row in shown.items()},
        "tau_error": {name: row["gamma"].tau_error for name, row in shown.items()},
        "r_hat": {name: row["r_hat"] for name, row in shown.items()},
        "acceptance": acceptance, **judged(facts, averages, seen),
    }  # fmt: skip


def _of_samples(record: Record, log_w: Tensor) -> dict[str, Any]:
    """The entries of the estimate of independent samples with weights."""
    n, k, effective = len(log_w), pareto_k(log_w), effective_number(log_w).item()
    averages = Averages(record.series, Averaging(log_w.softmax(0), n, by_spread=True))
    log_z, forward = log_w.logsumexp(0).item() - math.log(n), forward_of(record.witness, log_w)
    common = tail_of(k, n) | {"effective": effective, "ess": effective / n} | (forward.seen if forward else {})
    seen = {"ln Z": common}
    for name, values in averages.scalars.items():
        seen[name] = common | {"k_of_terms": pareto_k(log_w + values.abs().log())}
        if forward is not None:
            seen[name]["error_ratio"] = forward.error_ratio(name, *averages.quantities[name], n, log_z)
    return {
        "n": n, "ess": effective / n, "pareto_k": k, "log_z": log_z,
        "log_z_error": math.sqrt(max(0.0, n / effective - 1) / n) if effective >= MIN_EFFECTIVE else math.nan,
        "free_energy": Quantity(-log_w.mean().item(), log_w.std().item() / math.sqrt(n)),
        "missed": forward and forward.missed, "forward_ess": forward and forward.ess,
        **judged(record.facts, averages, seen),
    }  # fmt: skip


def _of_populations(record: Record, log_w: Tensor) -> dict[str, Any]:
    """The entries of the estimate of populations, whose rows are judged by their spread, and their change in a run.

    The run follows the annealing; its averages are the `witness` of the record.
    """
    n: int = record.facts["populations"]
    averages = Averages(record.series, Averaging(log_w.softmax(0), n, by_spread=True))
    averaging, of_populations, drifts = averages.averaging, log_w.unflatten(0, (n, -1))[:, 0], dict[str, float]()
    common: dict[str, Any] = {"spread": of_populations.std().item(), "populations": n}
    seen = {"ln Z": common | {}}
    for name, values in averages.scalars.items():
        seen[name], (mean, error) = common | {}, averages.quantities[name]
        if name.startswith("_") or not error:
            continue
        seen[name]["independent_particles"] = averaging.average((values - mean).square()).item() / error**2
        if name not in record.witness or name in record.facts.get("zero", ()):
            continue
        change = record.witness[name] - values
        drift = averaging.average(change)
        limit = averaging.error(change - drift) / student(n) * student(n, 1 - CHANCE)
        if abs(drift) > max(error, limit):
            drifts[name] = abs(drift.item()) / error
    for name, row in seen.items() if drifts else ():
        other = next(iter(drifts))
        elsewhere = {"drift_elsewhere": drifts[other], "elsewhere": other}
        row |= {"drift": drifts[name], "row": name} if name in drifts else elsewhere
    z = (of_populations - of_populations.max()).exp()
    return {
        "n": len(log_w), "log_z": log_w.logsumexp(0).item() - math.log(len(log_w)),
        "log_z_error": (z.std() / z.mean()).item() / math.sqrt(n) * student(n),
        "acceptance": record.rates.mean().item(), **judged(record.facts, averages, seen),
    }  # fmt: skip


def load_chain(path: str | PathLike[str] | Iterable[str | PathLike[str]], action: ActionLike | None = None) -> Any:
    """Load what a sampler or `mera measure` has kept in a folder; also while it goes on.

    Args:
        path: the folder; or several folders of one measurement with other seeds, whose chains or samples are joined.
        action: the action that was sampled, for `reweight` with several chains; None if it is not needed.

    Returns:
        The estimate; of tempering of a family, one for each point.

    Raises:
        FileNotFoundError: if a folder holds no measurement.
        ValueError: if the measurement has too few draws yet, a file is damaged or missing, the folders have different
            measurements, or two of them began with one state of the random numbers, and thus have equal draws.
        FloatingPointError: if a weight is not finite.

    Warns:
        UserWarning: with the verdict, if averages are wrong or errors mean nothing.
    """
    records, target = read_records(path), None
    if action is not None:
        target = Target.of(tuple(records[0].facts["shape"]), action, records[0].last[:0])
        before = {"action": records[0].facts["fingerprint"]["action"]}
        compare_functions(before, {"action": target.fingerprint().tolist()}, str(path))
    found = [estimate_of(record, target) for record in records]
    for estimate in found:
        estimate.verdict.warn()
    return found[0] if len(found) == 1 else found
