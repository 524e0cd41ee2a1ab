"""The base class of measurements: fields with the histories of their observables."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mera._utils.checks import check_choice
from mera._utils.errors import InputError
from mera._utils.files import as_path, replacing
from mera.physics.averaging import Averaging
from mera.physics.observables import Average, Quantity, summarize
from mera.sampling.verdict import Verdict, worst


@dataclass(frozen=True, repr=False, kw_only=True)
class Measured(ABC):
    """What `hmc`, `metropolis`, `estimate` and `anneal` return.

    Args:
        fields: the fields that are kept, (N, C, *shape).
        series: by name, the observables of each draw; those of `history`, the two-point function, and what the
            derived quantities take.
        averaging: how the draws are averaged, and the standard error of an average.
        observables: by name, the value and its standard error.
        verdicts: by name, whether the value and its error can be trusted.
        correlator: the two-point function with its errors, (r,) each; None for open borders.
        periodic: for each direction, whether the lattice is periodic.
        log_weights: the log-weights of the draws; None if they have none.
    """

    fields: Tensor
    series: Mapping[str, Tensor]
    averaging: Averaging
    observables: Mapping[str, Quantity]
    verdicts: Mapping[str, Verdict]
    correlator: tuple[Tensor, Tensor] | None
    periodic: tuple[bool, ...]
    log_weights: Tensor | None = None

    @property
    def history(self) -> dict[str, Tensor]:
        """By name, the observable of each draw, (n,) of samples or (draws, K) of chains; see `Observables`."""
        shown = {name: values for name, values in self.series.items() if not name.startswith("_")}
        return {name: values for name, values in shown.items() if name != "correlator"}

    @property
    def verdict(self) -> Verdict:
        """Whether averages and errors can be trusted: the worst verdict on a quantity."""
        return worst(self.verdicts)

    def derive(self, function: Average | str) -> Quantity:
        r"""A function of averages, with an error that has all correlations between the averages.

        The error is that of `observables`: by linear expansion, along chains, over samples or over populations.

        Args:
            function: a differentiable function from the averages by name, tensors without dimensions and the two-point
                function "correlator", (r,), to one number; or the name of one of `observables`.

        Raises:
            ValueError: if the function is something else, or returns something else.

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
        if isinstance(function, str):
            return self.observables[check_choice(function, self.observables, "an observable")]
        shown = {name: values for name, values in self.series.items() if not name.startswith("_")}
        means = {name: values.double().mean().requires_grad_() for name, values in self.history.items()}
        if self.correlator is not None:
            means["correlator"] = self.correlator[0].clone().requires_grad_()
        with torch.enable_grad():
            found: Any = function(means) if callable(function) else function
        if not isinstance(found, Tensor) or found.numel() != 1 or found.is_complex() or not found.requires_grad:
            got = f"a tensor {tuple(found.shape)}, {found.dtype}" if isinstance(found, Tensor) else repr(found)[:80]
            raise InputError("a differentiable function from averages, tensors by name, to one real number", got)
        verdicts = dict.fromkeys(shown, self.verdict)
        return summarize(shown, {"_": function}, self.averaging, verdicts)[0]["_"]

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
