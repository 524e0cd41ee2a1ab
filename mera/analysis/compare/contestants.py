"""Models of a comparison, parsed from names with options."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mera import models
from mera._utils.calls import parse_call
from mera._utils.errors import InputError
from mera._utils.options import options_of
from mera.flow.flow import Flow

EXAMPLE = "rgflow(prior=gaussian)"


@dataclass(frozen=True)
class Contestant:
    """A model of a comparison.

    Args:
        text: the model as the user wrote it, "rgflow(prior=gaussian)".
        model: the name of the model.
        options: all options that differ from the defaults of the model.
    """

    text: str
    model: str
    options: Mapping[str, Any]

    @property
    def folder(self) -> str:
        """The name of the folder of the contestant's runs."""
        return re.sub(r"[^\w.=,+-]+", "_", self.text).strip("_")

    def build(self) -> Flow:
        """Build a flow with new weights."""
        return models.build(self.model, **self.options)


def contestants(
    texts: Iterable[str], common: Mapping[str, Any] | None = None, parameters: int | None = None
) -> list[Contestant]:
    """Parse the models of a comparison.

    Args:
        texts: names of models with or without options, "rgflow(prior=gaussian)".
        common: options of all models, such as the lattice and the channels; a model ignores options that it lacks.
        parameters: if not None, the number of parameters to approximate by the width of hidden layers, in models whose
            text does not set the width.

    Raises:
        ValueError: if a text is not a model with options, two texts are the same, or there are no texts.

    >>> [c.options["hidden"] for c in contestants(["rgflow", "realnvp"], {"L": 16}, parameters=100_000)]
    [(18,), (14,)]
    """
    parsed = [_contestant(text.strip(), common or {}, parameters) for text in texts]
    if not parsed or len({contestant.folder for contestant in parsed}) < len(parsed):
        raise InputError("one or more models, each of them once", ", ".join(c.text for c in parsed) or "none")
    return parsed


def _contestant(text: str, common: Mapping[str, Any], parameters: int | None) -> Contestant:
    """Parse one model with options."""
    model, values, options = parse_call(text, EXAMPLE)
    if values:
        raise InputError(f"options by name, such as {EXAMPLE}", repr(text))
    declared = options_of(models.builder(model))
    options = {name: value for name, value in common.items() if name in declared} | options
    if parameters is not None and "hidden" not in options:
        options = models.fit_width(model, parameters, options)
    return Contestant(text, model, options)
