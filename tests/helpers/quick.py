"""Rows of a test of which the default tests run some, and `pytest -m slow` the others."""

from collections.abc import Container, Iterable
from typing import Any

import pytest


def quick_of(values: Iterable[Any], quick: Container[Any]) -> list[Any]:
    """All values of one parameter of a test, of which those that are not in `quick` are slow."""
    return [value if value in quick else pytest.param(value, marks=pytest.mark.slow) for value in values]
