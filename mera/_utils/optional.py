"""Packages of extras, which are imported only when they are needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from mera._utils.errors import InputError


def import_optional(name: str, extra: str) -> Any:
    """Import a package of an extra."""
    try:
        return import_module(name)
    except ImportError:
        raise InputError(f'the package {name} (pip install "mera-flow[{extra}]")', "none") from None
