"""A measurement that was kept: its fields, series and results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera._utils.files import as_path, replacing
from mera.chains.gamma import LEAST
from mera.physics.markov_chains import MarkovChains, chains_of
from mera.physics.observables import Average, Quantity, averages_of
from mera.physics.resampling import function_of_averages
from mera.physics.reweighting import Report, report_of
from mera.physics.sampler import Series, histories_in, observables_in
from mera.physics.storage import Storage
from mera.physics.verdicts import warn_of


@dataclass(frozen=True, eq=False, repr=False)
class Measurement:
    """What `measure` keeps.

    Args:
        facts: action, sampler, options, seed and version, by name.
        fields: every k-th field, (N, C, *shape), in the order of the draws; k is `facts["every"]`.
        field_log_weights: -S - ln q of `fields`, (N,); None if `log_weights` is. Fields of the sampler "reweighting"
            are samples of the action only with the weights.
        history: by name, each observable: (draws, K) along K chains, (n,) for samples of a flow.
        log_weights: -S - ln q, of the same shape; None for a sampler that does not evaluate the density q of the flow.
        result: observables with errors and a verdict: `MarkovChains` of a sampler of chains, or the `Report` of samples
            of a flow.
    """

    facts: Mapping[str, Any]
    fields: Tensor
    field_log_weights: Tensor | None
    history: Mapping[str, Tensor]
    log_weights: Tensor | None
    result: MarkovChains | Report

    @property
    def observables(self) -> Mapping[str, Quantity]:
        """By name, the value and the standard error."""
        return self.result.observables

    @property
    def verdict(self) -> str:
        """A sentence that says whether averages and errors can be trusted."""
        return self.result.verdict

    @property
    def is_complete(self) -> bool:
        """Whether all samples that were asked for have been measured."""
        return next(iter(self.history.values())).numel() >= self.facts["samples"]

    def derive(self, function: Average, method: str = "gamma", bin_size: int | None = None) -> Quantity:
        r"""A function of averages, with an error that has all correlations between the averages.

        Args:
            function: a function from the averages by name, tensors without dimensions, to one number; differentiable
                for the method "gamma".
            method: "gamma", "jackknife" or "bootstrap".
            bin_size: the number of successive draws in a bin, for jackknife and bootstrap. If None, 20 autocorrelation
                times of the slowest observable, or fewer where that leaves less than 30 bins; 1 for reweighting.

        Raises:
            ValueError: if there are too few draws, or the function does not return one number.

        Warns:
            UserWarning: with the verdict, if the averages are wrong or their errors mean nothing.

        >>> from mera import physics
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     chain = physics.measure((1, 4, 4), physics.FreeField(4.0), folder, sampler="hmc", samples=3200)
        >>> chain.derive(lambda mean: mean["m4"] / mean["m2"] ** 2).error < 1
        True
        """
        warn_of(self.verdict, 3)
        weights = self.log_weights if isinstance(self.result, Report) else None
        rows = {name: values if values.ndim == 2 else values[:, None] for name, values in self.history.items()}
        return function_of_averages(rows, function, None if weights is None else weights[:, None], method, bin_size)

    def save(self, path: str | PathLike[str]) -> None:
        """Write all series into one file .npz for other programs.

        The arrays are "fields", "field_log_weights", "log_weights" and "history/NAME"; the array "facts" is JSON text.
        Units are those of the lattice: everything is dimensionless.

        Args:
            path: a name that ends in .npz.

        Raises:
            ValueError: if the name ends otherwise.
        """
        path = as_path(path)
        arrays = {"fields": self.fields} | {f"history/{name}": values for name, values in self.history.items()}
        for name in ("log_weights", "field_log_weights"):
            if (values := getattr(self, name)) is not None:
                arrays[name] = values
        contents: dict[str, Any] = {name: values.numpy() for name, values in arrays.items()}
        if path.suffix == ".npz":
            with replacing(path) as temporary, temporary.open("wb") as file:
                np.savez(file, facts=np.array(json.dumps(self.facts)), **contents)
        else:
            raise InputError("the name of a file .npz", str(path))

    def __repr__(self) -> str:
        counts = "" if self.is_complete else f"{self.facts['samples']:,} samples were asked for\n"
        return f"{counts}{self.result!r}"

    def _repr_png_(self) -> bytes | None:
        """The picture of the result."""
        return self.result._repr_png_()


def load_chain(path: str | PathLike[str]) -> Measurement:
    """Load what `measure`, or `mera measure`, has kept; also while it goes on.

    Args:
        path: the folder of the measurement.

    Raises:
        FileNotFoundError: if the folder holds no measurement.
        ValueError: if the measurement has too few draws yet, or a file is damaged or missing.
        FloatingPointError: if a weight is not finite.

    Warns:
        UserWarning: with the verdict, if averages with weights are wrong or their errors mean nothing.
    """
    storage = Storage(path)
    facts = storage.facts()
    read = [part.read(facts["warmup"]) for part in storage.parts()]
    parts = [(series, last) for series, last in read if "_rates" in series]
    draws = [len(series["_rates"]) for series, _ in parts]
    functions = averages_of(facts["shape"][1:], facts["periodic"], facts["inverse_temperature"])
    if facts["sampler"] == "reweighting":
        if not parts:
            raise InputError("a measurement with samples", f"none yet in {storage.path}")
        names = dict.fromkeys(name for part, _ in parts for name in part)
        series = {
            name: torch.cat([part[name].flatten(0, 1) for part, _ in parts if name in part])
            for name in names
            if name != "_rates"
        }
        of_target = facts["target_log_weights"]
        target_log_weights = None if of_target is None else torch.tensor(of_target, dtype=torch.float64)
        report = report_of(observables_in(series), series["_log_weights"], functions, target_log_weights)
        history = histories_in(series, 1)
        return Measurement(facts, *_kept(facts, series), history, report.log_weights, report)
    if not parts or min(draws) < LEAST:
        raise InputError(f"a measurement with at least {LEAST} draws of each chain", f"fewer yet in {storage.path}")
    chains = _chains(parts, min(draws))
    result = chains_of(
        chains, torch.cat([last["last"] for _, last in parts]), functions,
        sum(last["seconds"].item() for _, last in parts), _step([last for _, last in parts]),
    )  # fmt: skip
    return Measurement(facts, *_kept(facts, chains), result.history, result.log_weights, result)


def _chains(parts: list[tuple[Series, dict[str, Tensor]]], draws: int) -> Series:
    """The series of all chains side by side, (draws, K, ...); acceptance rates are averages over the parts."""
    series = {
        name: torch.cat([part[name][:draws] for part, _ in parts], 1)
        for name in parts[0][0]
        if name not in {"_rates", "_fields", "_field_log_weights"}
    }
    series["_rates"] = torch.stack([part["_rates"][:draws] * len(last["last"]) for part, last in parts]).sum(0)
    series["_rates"] /= sum(len(last["last"]) for _, last in parts)
    for name in ("_fields", "_field_log_weights"):
        if all(name in part for part, _ in parts):
            kept = min(len(part[name]) for part, _ in parts)
            series[name] = torch.cat([part[name][:kept] for part, _ in parts], 1)
    return series


def _kept(facts: Mapping[str, Any], series: Series) -> tuple[Tensor, Tensor | None]:
    """The fields that were kept, (N, C, *shape), and their log-weights, (N,); no fields if there are none."""
    fields = series.get("_fields", torch.empty(0)).reshape(-1, *facts["shape"])
    log_weights = series.get("_field_log_weights", fields.new_empty(0)).flatten()
    return fields, log_weights if "_log_weights" in series else None


def _step(last: list[dict[str, Tensor]]) -> float | None:
    """The mean of the step sizes over the chains; None for samplers without a step size."""
    if "step" not in last[0]:
        return None
    return sum(part["step"].item() * len(part["last"]) for part in last) / sum(len(part["last"]) for part in last)
