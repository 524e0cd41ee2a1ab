"""Means with their standard errors."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence


def with_error(values: Sequence[float], digits: int = 3, sign: bool = False) -> str:
    """The mean of independent values with its standard error, as text; the mean alone for a single value.

    Args:
        sign: whether a positive mean begins with +.

    >>> with_error([2.51, 2.53]), with_error([2.5], sign=True)
    ('2.520 ± 0.010', '+2.500')
    """
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return plus_minus(statistics.fmean(values), error, digits, sign)


def plus_minus(value: float, error: float, digits: int = 3, sign: bool = False) -> str:
    """A value with its standard error as text, with at least one digit of the error; the value alone if it is NaN.

    >>> plus_minus(2.5, 0.01), plus_minus(2.5, 0.00004), plus_minus(2.5, float("nan"))
    ('2.500 ± 0.010', '2.50000 ± 0.00004', '2.500')
    """
    if 0 < error < 0.5 * 10.0**-digits:
        digits = -math.floor(math.log10(error))
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    return text if math.isnan(error) else f"{text} ± {error:.{digits}f}"
