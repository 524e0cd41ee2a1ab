"""Flows in files and in the package: architecture and weights, or a layout; without code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from mera._utils.checks import check_choice
from mera._utils.errors import InputError, closest, with_notes
from mera._utils.files import as_path, write_atomically
from mera._utils.manifest import Manifest
from mera._utils.random import restored_states
from mera.flow import Density, Flow, Symmetrized
from mera.graph import Layout, LayoutError
from mera.graph.layout_error import within
from mera.graph.toml import dumps, loads
from mera.models.archive import read_archive, write_archive
from mera.models.by_name import build

FOLDER = Path(__file__).parent / "weights"
"""The folder of weight files and cards of trained flows."""
WEIGHTS = "flow.safetensors"
"""The name of a flow's file in the folder of a run."""
FORMAT = 3
"""The version of the description in files."""


def save(flow: Density, path: str | PathLike[str]) -> None:
    """Write a flow to a file: its model and options, or else its layout, and its weights in their dtype.

    The file appears whole or not at all.

    Args:
        flow: the flow.
        path: the file; if it is a symbolic link, its target is replaced.

    Raises:
        ValueError: if the flow could not be loaded again, because of a bijector that is not registered under a name or
            was replaced, or replaced preprocessing; save `flow.state_dict()` instead.
    """
    write_flow(flow, path)


def write_flow(flow: Density, path: str | PathLike[str], seal: str = "") -> None:
    """Write a flow to a file, see `save`; in the folder of a run, with the seal of the file, see `Manifest`."""
    description = describe_flow(flow)
    if flow.plan.context is not None and not flow.flow.needs_context:
        raise InputError("a flow without a fixed context, which a file cannot hold: save the flow itself", "flow.given")
    description |= {"dtype": str(flow.dtype).removeprefix("torch.")} | ({"seal": seal} if seal else {})
    write_archive(as_path(path), description, flow.state_dict())


def describe_flow(flow: Density) -> dict[str, Any]:
    """Describe a flow in values of JSON: its model and all options, or its layout as TOML.

    Returns:
        A dict with "format", "options", and "model" or "layout"; for a `mera.Symmetrized` flow also "symmetrized", its
        group, and "elements" if it uses only a part of the group. `rebuild_empty` builds the flow again.
    """
    if isinstance(flow, Symmetrized):
        elements = {} if flow.options["elements"] is None else {"elements": flow.options["elements"]}
        return describe_flow(flow.flow) | {"symmetrized": flow.group} | elements
    if not isinstance(flow, Flow):
        raise InputError("a Flow", str(type(flow).__name__))
    if replaced := ", ".join(flow.replaced):
        got = f"others in {replaced}: build it from a layout of them, or save its state_dict() instead"
        raise InputError("a flow of the bijectors with which it was built, which a file names", got)
    prior, recipe = flow.prior.describe(), flow.recipe
    if recipe is not None and not _has_function(recipe.options.get("bijector")):
        options = recipe.options | ({"prior": prior} if "prior" in recipe.options else {})
        return {"format": FORMAT, "model": recipe.model, "options": options}
    try:
        options = {"prior": prior, "classes": flow.context_encoder.classes}
        return {"format": FORMAT, "layout": dumps(flow.layout), "options": options}
    except LayoutError as error:
        got = f"one made by hand: {with_notes(error)}; save its state_dict() instead"
        raise InputError("a flow from mera.build, or a layout of bijectors by name", got) from error


def _has_function(value: Any) -> bool:
    """Return whether a value is a function or a class, or an option of a bijector by name is one."""
    return any(map(_has_function, value.values())) if isinstance(value, Mapping) else callable(value)


def load(path: str | PathLike[str]) -> Any:
    """Load a flow in its dtype, on the CPU: one that `save` wrote, of a run, or a trained one of the package.

    Args:
        path: the file, the folder of a run, or the name of a trained flow (see `load_pretrained`).

    Raises:
        ValueError: if the file is damaged or was not written by `save`, or its weights are infinite or NaN.
    """
    path = as_path(path)
    file, name = path / WEIGHTS if path.is_dir() else path, str(path)
    if not file.is_file() and name in pretrained():  # commands write pictures into folders of such names
        return load_pretrained(name)
    if not file.is_file():
        known = f"the folder of a run, or a trained flow ({', '.join(pretrained())})"
        raise FileNotFoundError(
            f"Expected a file that mera.save wrote, {known}; got {path}{closest(name, pretrained())}"
        )
    description, tensors = read_archive(file)
    if path.is_dir() and (run := Manifest(path, "run")) and (run.exists or "seal" in description):
        run.check(WEIGHTS, description.get("seal"))
    try:
        return rebuild(description, tensors)
    except Exception as error:  # entries may have any types
        raise InputError("a flow that mera.save wrote", with_notes(error), where=str(file)) from error


@dataclass(frozen=True)
class Card:
    """The card of a trained flow.

    Args:
        name: name for `mera.load_pretrained`.
        model: name of the model.
        parameters: number of parameters.
        data: arguments of `mera.data.load` for the training data.
        command: command that trained the flow.
        bits_per_dim: bits per dimension on the test images.
        test_images: number of test images.
        steps: number of training steps.
        minutes: training time in minutes.
        machine: hardware of the training.
        seed: seed of the weights, the order of the data, and the noise.
        licence: licence of the weights, and source of the data.
    """

    name: str
    model: str
    parameters: int
    data: dict[str, Any]
    command: str
    bits_per_dim: float
    test_images: int
    steps: int
    minutes: float
    machine: str
    seed: int
    licence: str

    @property
    def weights(self) -> Path:
        """The file of the weights."""
        return FOLDER / f"{self.name}.safetensors"


@cache
def pretrained() -> dict[str, Card]:
    """The trained flows that come with the package, by name; `mera.load_pretrained(name)` loads one.

    >>> from mera.models import pretrained
    >>> pretrained()["msds1"].data["name"]
    'msds1'
    """
    cards = (Card(**json.loads(path.read_text())) for path in sorted(FOLDER.glob("*.json")))
    return {card.name: card for card in cards}


def load_pretrained(name: str) -> Flow:
    """Load a trained flow that comes with the package, on the CPU.

    Args:
        name: one of the names in `mera.models.pretrained()`, whose cards describe the training data.

    >>> import mera
    >>> flow = mera.load_pretrained("msds1")
    >>> flow.to_images(flow.sample(2, temperature=0.6)).shape
    torch.Size([2, 3, 32, 32])
    """
    card = pretrained()[check_choice(name, pretrained(), "a pretrained flow")]
    description, tensors = read_archive(card.weights)  # large matrices in half precision
    return rebuild(description, {key: x.float() if x.is_floating_point() else x for key, x in tensors.items()})


def rebuild(description: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Any:
    """Build a flow from a description and a state dict."""
    with restored_states(), torch.inference_mode(False):  # new weights are drawn, and replaced
        flow = rebuild_empty(description).to(getattr(torch, description["dtype"]))
    for name, expected in flow.state_dict().items():
        value = tensors.get(name, expected)
        if value.dtype != expected.dtype:
            raise InputError(f"{name} of {expected.dtype}, as the file says", str(value.dtype))
        if value.is_floating_point() and not value.isfinite().all():
            raise InputError("finite weights", f"infinite values or NaN in {name}")
    flow.load_state_dict(tensors)
    return flow


def rebuild_empty(description: dict[str, Any]) -> Any:
    """Build a flow from a description, with new weights; refuses one of an earlier or later version."""
    if (got := description.get("format", FORMAT)) != FORMAT:
        mend = "load it with the version that wrote it, or train the flow again"
        raise InputError(f"a flow of format {FORMAT}", f"format {got}: {mend}")
    options = description["options"]
    if "layout" in description:
        flow = Flow(loads(description["layout"]), **options)
    else:
        flow = build(description["model"], **options)
    group = description.get("symmetrized")
    return Symmetrized(flow, group, description.get("elements")) if group else flow


def save_layout(layout: Layout, path: str | PathLike[str]) -> None:
    """Write a layout to a TOML file, which appears whole or not at all.

    Args:
        layout: a layout of registered bijectors; see `mera.bijectors.register`.
        path: the file.
    """
    write_atomically(as_path(path), dumps(layout).encode())


def load_layout(path: str | PathLike[str]) -> Layout:
    """Read a layout from a TOML file, which cannot hold code.

    Args:
        path: a file, written by `save_layout` or by hand; `mera.graph.toml` describes its tables. A `LayoutError` names
            the file, the node and the field of a mistake.
    """
    path = as_path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise LayoutError("TOML", f"a file that is not UTF-8 text: {path}: {error}") from None
    return loads(text, str(path))


def load_layout_flow(path: str | PathLike[str], prior: Any = "gaussian", classes: int | None = None) -> Flow:
    """Make a flow of the layout in a file, whose name an error begins with; see `load_layout` and `mera.Flow`."""
    layout = load_layout(path)
    with within(str(path)):
        return Flow(layout, prior, classes=classes)
