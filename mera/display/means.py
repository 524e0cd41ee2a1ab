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
    text = f"{statistics.fmean(values):{'+' if sign else ''}.{digits}f}"
    return text if len(values) < 2 else f"{text} ± {statistics.stdev(values) / math.sqrt(len(values)):.{digits}f}"
