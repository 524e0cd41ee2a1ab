"""Errors of functions of averages, from series that were measured: linear expansion, jackknife and bootstrap."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from mera._utils.checks import check_choice, check_count
from mera._utils.errors import InputError
from mera._utils.random import seeded
from mera.chains.gamma import gamma_method
from mera.physics.observables import Average, Quantity, summarize

METHODS = ("gamma", "jackknife", "bootstrap")
RESAMPLES = 1000
"""The number of samples of a bootstrap."""
TIMES = 20
"""The length of a bin in units of the longest autocorrelation time, for jackknife and bootstrap."""
FEWEST, ENOUGH = 8, 30
"""The smallest number of bins, and that for which shorter bins are taken."""
CHUNK = 50
"""The number of resamples of a bootstrap that are made at once."""


def function_of_averages(
    history: Mapping[str, Tensor],
    function: Average,
    log_weights: Tensor | None = None,
    method: str = "gamma",
    bin_size: int | None = None,
) -> Quantity:
    r"""A function of averages, with an error that has all correlations between the averages.

    Args:
        history: by name, the values along chains, (draws, K).
        function: a differentiable function from the averages by name, scalars, to a scalar.
        log_weights: the logarithms of the weights of the draws, (draws, K); None for equal weights.
        method: "gamma" for linear expansion, with the error of the Gamma method (with weights: of independent draws);
            "jackknife" or "bootstrap" for averages without, or of random, bins of successive draws.
        bin_size: the number of draws in a bin; if None, 20 autocorrelation times of the slowest series, or less where
            there would be fewer than 30 bins, so that the error is a little too small; 1 with weights, whose draws are
            independent.

    Raises:
        ValueError: if there are fewer than 8 bins, or the function does not return one number.
    """
    check_choice(method, METHODS, "a method")
    if not callable(function):
        raise InputError("a function of the averages", repr(function))
    first = next(iter(history.values()))
    w = torch.ones_like(first) if log_weights is None else (log_weights - log_weights.max()).exp()
    if method == "gamma":
        share = w / w.sum()

        def error(centred: Tensor) -> float:
            of_weights = (share * centred).square().sum().sqrt().item()
            return gamma_method(centred).error if log_weights is None else of_weights

        return summarize(history, {"_": _checked(function)}, lambda values: (share * values).sum(), error)[0]["_"]
    if bin_size is None and log_weights is None:
        tau = max(gamma_method(values).tau for values in history.values())
        bin_size = max(1, min(math.ceil(TIMES * tau) if tau > 0.6 else 1, len(w) // -(-ENOUGH // w.shape[1])))
    elif bin_size is None:
        bin_size = 1
    check_count(bin_size, "draws in a bin")
    bins = len(w) // bin_size
    if bins * w.shape[1] < FEWEST:
        raise InputError(f"at least {FEWEST} bins of {bin_size} draws", f"{w.numel()} draws")
    weight = binned(w, bins)
    sums = {name: binned(w * values, bins) for name, values in history.items()}
    with torch.no_grad():
        whole = _checked(function)({name: values.sum() / weight.sum() for name, values in sums.items()}).item()
    resampled = _of_jackknife if method == "jackknife" else _of_bootstrap
    return Quantity(whole, resampled(function, sums, weight))


def _of_jackknife(function: Average, sums: Mapping[str, Tensor], weight: Tensor) -> float:
    """The error by jackknife, from averages that leave out one bin each; `sums` and `weight` are of bins, (bins,)."""
    left = {name: (values.sum() - values) / (weight.sum() - weight) for name, values in sums.items()}
    return jackknife_error(_for_each(function, left)).item()


def jackknife_error(left_out: Tensor) -> Tensor:
    """The standard errors of quantities (bins, ...) of which each bin was left out once."""
    return (left_out.var(0, correction=0) * (len(left_out) - 1)).sqrt()


def _of_bootstrap(function: Average, sums: Mapping[str, Tensor], weight: Tensor) -> float:
    """The error by bootstrap: the spread over bins that are drawn with replacement."""
    found = []
    with seeded(0):
        for _ in range(0, RESAMPLES, CHUNK):
            drawn = torch.randint(len(weight), (CHUNK, len(weight)))
            total = weight[drawn].sum(1)
            found.append(_for_each(function, {name: values[drawn].sum(1) / total for name, values in sums.items()}))
    return torch.cat(found).std().item()


def _for_each(function: Average, averages: Mapping[str, Tensor]) -> Tensor:
    """The function at each of n sets of averages, given by name as tensors (n,)."""
    n = len(next(iter(averages.values())))
    return torch.stack([function({name: row[i] for name, row in averages.items()}) for i in range(n)])


def binned(values: Tensor, bins: int) -> Tensor:
    """The sums over bins of successive draws of each chain, from (draws, K, ...) to (bins * K, ...)."""
    return torch.cat([part.sum(0) for part in values.tensor_split(bins)])


def _checked(function: Average) -> Average:
    """The function, with a check that it returns one number."""

    def checked(mean: Mapping[str, Tensor]) -> Tensor:
        try:
            value = function(mean)
        except KeyError as error:
            known = ", ".join(name for name in mean if not name.startswith("_"))
            raise InputError(f"averages among {known}", str(error)) from None
        if not isinstance(value, Tensor) or value.numel() != 1 or (torch.is_grad_enabled() and not value.requires_grad):
            raise InputError("a function that returns one number, made of the averages by torch", repr(value))
        return value.reshape(())

    return checked
