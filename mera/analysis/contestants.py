"""The models of a comparison: registered ones with options, layouts in files, and flows that are already trained."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mera import models
from mera._utils.errors import InputError
from mera._utils.registry import parse_call
from mera.flow import Density
from mera.models.saving import load, load_layout_flow, pretrained

EXAMPLE = "rgflow(prior=gaussian)"


@dataclass(frozen=True)
class Contestant:
    """A model of a comparison.

    Args:
        text: the model as the user wrote it, "rgflow(prior=gaussian)".
        make: builds the flow, with new weights unless the flow is already trained.
        is_trained: whether the flow is evaluated with the weights that it has, and not trained.
    """

    text: str
    make: Callable[[], Density]
    is_trained: bool = False

    @property
    def folder(self) -> str:
        """The name of the folder of the contestant's runs."""
        return re.sub(r"[^\w.=,+-]+", "_", self.text).strip("_")


def contestants(
    texts: Iterable[str | Path], common: Mapping[str, Any] | None = None, parameters: int | None = None
) -> list[Contestant]:
    """Parse the models of a comparison.

    Args:
        texts: a name of a model with or without options, "rgflow(prior=gaussian)", also of a model that was registered
            with `mera.models.register`; the file of a layout, which ends in .toml; or a trained flow, which is
            evaluated as it is: the folder of a run, a file of `mera.save`, or the name of a flow of the package.
        common: options of all models, such as the lattice, the channels and the classes; a model ignores options that
            it lacks, a layout takes the classes alone.
        parameters: if not None, the number of parameters that each model approximates by the width of hidden layers.
            Layouts, trained flows, and models without the option `hidden` have the number that they have.

    Raises:
        ValueError: if a text is none of these, or sets the width although `parameters` does, two texts are the same, or
            `texts` is empty.

    >>> [c.make().recipe.options["hidden"] for c in contestants(["rgflow", "realnvp"], {"L": 16}, parameters=100_000)]
    [(30,), ((8,), (22,), (52,))]
    """
    found = [_contestant(str(text).strip(), common or {}, parameters) for text in texts]
    if not found or len({contestant.folder for contestant in found}) < len(found):
        raise InputError("one or more models, each of them once", ", ".join(c.text for c in found) or "none")
    return found


def _contestant(text: str, common: Mapping[str, Any], parameters: int | None) -> Contestant:
    """Parse one contestant."""
    if text.endswith(".toml"):
        return Contestant(text, partial(load_layout_flow, Path(text), classes=common.get("classes")))
    if text not in models.names() and (text in pretrained() or Path(text).exists()):
        return Contestant(text, partial(load, text), is_trained=True)
    model, values, options = parse_call(text, EXAMPLE)
    if values:
        raise InputError(f"options by name, such as {EXAMPLE}", repr(text))
    takes = inspect.signature(models.builder(model)).parameters
    options = {name: value for name, value in common.items() if name in takes} | options
    if common.get("classes") is not None and "classes" not in takes:
        raise InputError("a model with the option classes, for a comparison that is conditional on classes", text)
    if parameters is not None and "hidden" in takes:
        if "hidden" in options:
            raise InputError(f"no hidden=... in a model whose width gives {parameters:,} parameters", repr(text))
        options = models.fit_width(model, parameters, options)
    return Contestant(text, partial(models.build, model, **options))
