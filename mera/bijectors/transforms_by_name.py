"""The monotone maps of couplings by name, for models and files."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature

from mera._utils.checks import check_choice
from mera._utils.errors import InputError
from mera.bijectors.logistic_mixture import LogisticMixture
from mera.bijectors.scaled import Scaled
from mera.bijectors.spline import RationalQuadratic
from mera.bijectors.univariate import Additive, Affine, Univariate
from mera.names.calls import parse_call


def spline_transform(max_log_scale: float = 2.0, bins: int = 8, bound: float = 4.0) -> Univariate:
    """A rational-quadratic spline behind a learnt scale and shift."""
    return Scaled(RationalQuadratic(bins, bound), max_log_scale)


TRANSFORMS: dict[str, Callable[..., Univariate]] = {
    "affine": Affine,
    "additive": Additive,
    "spline": spline_transform,
    "logistic-mixture": LogisticMixture,
}


def transform_of(text: str, max_log_scale: float) -> Univariate:
    """The monotone map of a coupling, from its name, with or without options.

    Args:
        text: a name of `TRANSFORMS`, with or without options, such as "spline" or "spline(bins=4)".
        max_log_scale: the bound of the log-scale, for the maps that have one.

    Raises:
        ValueError: if the name or an option is unknown, or the value of an option is invalid.

    >>> transform_of("spline(bins=4)", 2.0).n_params
    13
    """
    if not isinstance(text, str):
        raise InputError("the name of a transform", repr(text))
    name, values, options = parse_call(text, "spline(bins=4)")
    make = TRANSFORMS[check_choice(name, TRANSFORMS, "a transform")]
    try:
        call = signature(make).bind(*values, **options)
    except TypeError as error:
        raise InputError(f"options of the transform {name!r}", str(error)) from error
    if "max_log_scale" in call.signature.parameters:
        call.arguments.setdefault("max_log_scale", max_log_scale)
    return make(*call.args, **call.kwargs)
