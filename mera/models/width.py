"""Models with a given number of parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mera._utils.checks import check_count
from mera._utils.errors import InputError
from mera._utils.options import options_of
from mera.graph.summary import count_parameters
from mera.models.by_name import build, builder


def fit_width(model: str, parameters: int, options: Mapping[str, Any]) -> dict[str, Any]:
    """Fit the width of a model's hidden layers to a number of parameters, and return its options.

    All hidden layers get the same even width. The number of hidden layers is taken from the options or the model.

    Args:
        model: name of a model with the option `hidden`.
        parameters: number of parameters to come closest to.
        options: other options of the model.

    Raises:
        ValueError: if the model has no option `hidden`, or the width does not change the number of parameters.

    >>> import mera
    >>> options = fit_width("rgflow", 100_000, {"L": 16})
    >>> options["hidden"]
    (18,)
    """
    check_count(parameters, "parameters")
    if "hidden" not in options_of(builder(model)):
        raise InputError(f"a model with hidden layers, whose option is hidden, to fit {parameters:,} parameters", model)
    recipe = build(model, **options).recipe
    declared = recipe.options["hidden"] if recipe is not None else ()
    layers = len(declared[0]) if declared and not isinstance(declared[0], int) else len(declared)

    def with_width(width: int) -> dict[str, Any]:
        return {**options, "hidden": (width,) * layers}

    def count(width: int) -> int:
        return count_parameters(build(model, **with_width(width)))

    if count(4) == count(2):
        raise InputError("a model whose number of parameters grows with the width", f"{model} with {dict(options)}")
    low, high = 1, 2  # half widths
    while count(2 * high) <= parameters:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(2 * middle) <= parameters else (low, middle)
    return with_width(min((2 * low, 2 * high), key=lambda width: abs(count(width) - parameters)))
