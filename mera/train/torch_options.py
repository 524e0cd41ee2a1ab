"""Options of torch's optimisers and schedules, checked before a run starts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

from mera._utils.errors import InputError

__all__ = ["accepted_options", "check_names", "check_values"]


def accepted_options(constructor: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the options that a constructor has a parameter for.

    Args:
        constructor: a class of torch.
        options: values by the name of a parameter.
    """
    return {name: value for name, value in options.items() if name in inspect.signature(constructor).parameters}


def check_names(
    label: str,
    options: Mapping[str, Any],
    constructor: Callable[..., Any],
    excluded: Collection[str],
    supplied: Collection[str] = (),
) -> None:
    """Refuse options that a constructor has no parameter for, and options that lack a required parameter.

    Args:
        label: the name of the options in messages.
        options: what a user passed.
        constructor: a class of torch.
        excluded: parameters that are no options, because the library sets them from other settings.
        supplied: parameters that the library fills in if the options lack them.

    Raises:
        ValueError: if the options are no dict, or a name is unknown or missing.
    """
    if not isinstance(options, Mapping):
        raise InputError(f"{label} as a dict", repr(options))
    parameters = inspect.signature(constructor).parameters
    names = sorted(set(parameters) - set(excluded))
    required = [name for name in names if parameters[name].default is inspect.Parameter.empty]
    if missing := [name for name in required if name not in supplied and name not in options]:
        raise InputError(f"{label} with {', '.join(missing)}", "none")
    if unknown := sorted(set(options) - set(names)):
        raise InputError(f"{label} among {', '.join(names) or 'none'}", str(", ".join(map(str, unknown))))


def check_values(label: str, options: Mapping[str, Any], trial: Callable[[], object]) -> None:
    """Refuse option values with which torch fails in a trial: most of torch's checks come late, as any kind of error.

    Args:
        label: the name of the options in messages.
        options: what a user passed.
        trial: a function that uses the options once.

    Raises:
        ValueError: if the trial fails; the message has the options and torch's own message.
    """
    try:
        trial()
    except Exception as error:
        raise InputError(f"{label} that torch can use", f"{dict(options)}: {error}") from error
