"""The base class of measurements: fields with the histories of their observables."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from mera._utils.checks import check_choice
from mera._utils.errors import InputError
from mera._utils.files import as_path, replacing
from mera.physics.observables import Average, Quantity, summarize
from mera.physics.verdicts import Verdict, worst
from mera.sampling.diagnostics import gamma_method

MAX_BINS = 500
"""The most bins of a jackknife over independent samples."""


@dataclass(frozen=True, repr=False, kw_only=True)
class Measured(ABC):
    """What `hmc`, `metropolis`, `estimate` and `anneal` return.

    Args:
        fields: the fields that are kept, (N, C, *shape).
        history: by name, the observable of each draw; see `Observables`.
        observables: by name, the value and its standard error.
        verdicts: by name, whether the value and its error can be trusted.
        correlator: the two-point function with its errors, (r,) each; None for open borders.
        log_weights: the log-weights of the draws; None if they have none.
    """

    fields: Tensor
    history: Mapping[str, Tensor]
    observables: Mapping[str, Quantity]
    verdicts: Mapping[str, Verdict]
    correlator: tuple[Tensor, Tensor] | None
    log_weights: Tensor | None = None
    bins: ClassVar[int] = MAX_BINS

    @property
    def verdict(self) -> Verdict:
        """Whether averages and errors can be trusted: the worst verdict on a quantity."""
        return worst(self.verdicts)

    def derive(self, function: Average | str) -> Quantity:
        r"""A function of averages, with an error that has all correlations between the averages.

        The error along chains is that of the Gamma method, by linear expansion. That of weighted samples is from a
        jackknife over bins of samples, or over the populations of `anneal`.

        Args:
            function: a differentiable function from the averages by name, tensors without dimensions, to one number;
                or the name of one of `observables`.

        Raises:
            ValueError: if the function is something else, or returns something else.

        Warns:
            UserWarning: with the verdict, if averages are wrong or errors mean nothing.

        >>> from mera import physics
        >>> chain = physics.hmc((1, 4, 4), physics.FreeField(4.0), draws=200)
        >>> chain.derive(lambda mean: mean["m4"] / mean["m2"] ** 2).error < 1
        True
        """
        self.verdict.warn()
        if isinstance(function, str):
            return self.observables[check_choice(function, self.observables, "an observable")]
        means = {name: values.double().mean() for name, values in self.history.items()}
        found: Any = function(means) if callable(function) else function
        if not isinstance(found, Tensor) or found.numel() != 1:
            got = f"a tensor {tuple(found.shape)}" if isinstance(found, Tensor) else repr(found)[:80]
            raise InputError("a function from averages, tensors by name, to a tensor with one number", got)
        if self.log_weights is None or next(iter(self.history.values())).ndim == 2:
            error = lambda centred: gamma_method(centred).error  # noqa: E731
            verdicts = dict.fromkeys(self.history, self.verdict)
            return summarize(self.history, {"_": function}, torch.mean, error, verdicts)[0]["_"]
        weights = (self.log_weights - self.log_weights.max()).exp()
        bins = min(self.bins, len(weights))
        sums = {name: binned((weights * values)[:, None], bins) for name, values in self.history.items()}
        total = binned(weights[:, None], bins)
        with torch.no_grad():
            value = function({name: parts.sum() / total.sum() for name, parts in sums.items()}).item()
            averages = {name: (parts.sum() - parts) / (total.sum() - total) for name, parts in sums.items()}
            left_out = torch.stack([function({name: row[i] for name, row in averages.items()}) for i in range(bins)])
        return Quantity(value, jackknife_error(left_out).item())

    def _repr_png_(self) -> bytes:
        """What shows whether the measurement can be trusted, and the two-point function."""
        from mera.analysis.drawing.physics import FIGURES  # late: matplotlib takes a second

        return FIGURES[type(self)](self)._repr_png_()

    def save(self, path: str | PathLike[str]) -> None:
        """Write fields and histories into one file .npz for other programs.

        The arrays are "fields", "history/NAME", "log_weights", and for samples of a flow "field_log_weights", the
        log-weights of the fields that are kept. Units are those of the lattice: everything is dimensionless.
        """
        path = as_path(path)
        if path.suffix != ".npz":
            raise InputError("the name of a file .npz", str(path))
        arrays = {"fields": self.fields} | {f"history/{name}": values for name, values in self.history.items()}
        for name in ("log_weights", "field_log_weights"):
            if (weights := getattr(self, name, None)) is not None:
                arrays[name] = weights
        contents: dict[str, Any] = {name: values.cpu().numpy() for name, values in arrays.items()}
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **contents)


def binned(values: Tensor, bins: int) -> Tensor:
    """The sums over bins of successive draws of each chain, from (draws, K, ...) to (bins * K, ...)."""
    return torch.cat([part.sum(0) for part in values.tensor_split(bins)])


def jackknife_error(left_out: Tensor) -> Tensor:
    """The standard errors of quantities (bins, ...) of which each bin was left out once."""
    return (left_out.var(0, correction=0) * (len(left_out) - 1)).sqrt()
