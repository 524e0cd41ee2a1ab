"""Means with their standard errors."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """The mean of independent values, and its standard error; NaN for a single value.

    >>> mean_and_error([1.0, 3.0])
    (2.0, 1.0)
    """
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return statistics.fmean(values), error


def with_error(values: Sequence[float], digits: int = 3, sign: bool = False) -> str:
    """The mean of independent values with its standard error, as text; the mean alone for a single value.

    Args:
        sign: whether a positive mean begins with +.

    >>> with_error([2.51, 2.53]), with_error([2.5], sign=True)
    ('2.520 ± 0.010', '+2.500')
    """
    mean, error = mean_and_error(values)
    text = f"{mean:{'+' if sign else ''}.{digits}f}"
    return text if math.isnan(error) else f"{text} ± {error:.{digits}f}"
