"""Saving and loading flows: architecture and weights in one safetensors file, no pickled code."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize

from mera import priors
from mera.files import write_atomically
from mera.flow import Flow
from mera.models import build

__all__ = ["describe", "load", "save"]

KEY = "mera"
WEIGHTS = "flow.safetensors"
"""The name of a flow's file in the folder of a run."""
FORMAT = 1
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32, "float64": torch.float64}


def save(flow: Flow, path: str | PathLike[str]) -> None:
    """Write a flow that `mera.build` made: how it was built, and its weights, in their dtype.

    The file appears whole or not at all.

    Raises:
        ValueError: if the flow was made by hand, so that nobody could build it again; save its `state_dict` then.
    """
    description = describe(flow) | {"format": FORMAT, "dtype": str(flow.dtype).removeprefix("torch.")}
    tensors = {name: tensor.detach().contiguous() for name, tensor in flow.state_dict().items()}
    write_atomically(path, serialize(tensors, metadata={KEY: json.dumps(description)}))


def describe(flow: Flow) -> dict[str, Any]:
    """How a flow was built, as JSON can hold it: the model and all of its options.

    Raises:
        ValueError: if the flow was made by hand, or its prior is one that plain numbers do not describe.
    """
    if flow.recipe is None:
        raise ValueError("Expected a flow from mera.build; got one made by hand: save its state_dict() instead")
    options = flow.recipe.options | {"prior": priors.describe(flow.prior.distribution)}
    return {"model": flow.recipe.model, "options": options}


def load(path: str | PathLike[str]) -> Flow:
    """Build a flow that `save` wrote, in its dtype, on the CPU; from its file, or from the folder of a run.

    Raises:
        ValueError: if the file is damaged or was not written by `save`.
    """
    path = Path(path)
    path = path / WEIGHTS if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"Expected a file that mera.save wrote; got {path}, which is not there")
    try:
        with safe_open(path, framework="pt") as file:
            description = json.loads((file.metadata() or {})[KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a dict
        return _build(description, tensors)
    except (SafetensorError, KeyError, TypeError, RuntimeError, ValueError) as error:
        raise ValueError(f"{path}: Expected a flow that mera.save wrote; got {error}") from error


def _build(description: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Flow:
    if description["format"] != FORMAT:
        raise ValueError(f"format {description['format']}, where this version reads {FORMAT}")
    flow = build(description["model"], **description["options"]).to(DTYPES[description["dtype"]])
    flow.load_state_dict(tensors)
    return flow
