"""The models of a comparison: names with options, as texts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mera import models
from mera._utils.errors import InputError
from mera.flow import Flow
from mera.names.calls import parse_call
from mera.names.options import options_of

EXAMPLE = "rgflow(prior=gaussian)"


@dataclass(frozen=True)
class Contestant:
    """A model of a comparison.

    Args:
        text: the model as a user writes it, "rgflow(prior=gaussian)".
        model: the name of the model.
        options: all options that differ from the model's own defaults.
    """

    text: str
    model: str
    options: Mapping[str, Any]

    @property
    def folder(self) -> str:
        """The name of the folder of the contestant's runs."""
        return re.sub(r"[^\w.=,+-]+", "_", self.text).strip("_")

    def build(self) -> Flow:
        """A flow with new weights."""
        return models.build(self.model, **self.options)


def contestants(
    texts: Iterable[str], common: Mapping[str, Any] | None = None, parameters: int | None = None
) -> list[Contestant]:
    """The models of a comparison, from texts.

    Args:
        texts: names of models with or without options, "rgflow(prior=gaussian)".
        common: options of all models, such as the lattice and the channels; each model gets those that it has.
        parameters: if given, hidden layers get the width that comes closest to this number of parameters, in models
            whose text does not set the width.

    Raises:
        ValueError: if a text has another form or names no model, two texts are the same, or there is none.

    >>> [c.options["hidden"] for c in contestants(["rgflow", "realnvp"], {"L": 16}, parameters=100_000)]
    [(30,), (14,)]
    """
    found = [_contestant(text.strip(), common or {}, parameters) for text in texts]
    folders = [contestant.folder for contestant in found]
    if len(set(folders)) < len(folders) or not found:
        raise InputError("one or more models, each of them once", ", ".join(c.text for c in found) or "none")
    return found


def _contestant(text: str, common: Mapping[str, Any], parameters: int | None) -> Contestant:
    """The model that a text names."""
    model, values, options = parse_call(text, EXAMPLE)
    if values:
        raise InputError(f"options by name, such as {EXAMPLE}", repr(text))
    known = options_of(models.builder(model))
    options = {name: value for name, value in common.items() if name in known} | options
    if parameters is not None and "hidden" not in options:
        options = models.fit_width(model, parameters, options)
    return Contestant(text, model, options)
