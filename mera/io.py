"""Saving and loading flows: architecture and weights in one safetensors file, no pickled code."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import torch

from mera import priors
from mera.archive import read_archive, write_archive
from mera.flow import Flow
from mera.models import build

__all__ = ["describe", "load", "rebuild", "save"]

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
    write_archive(path, description, flow.state_dict())


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
    description, tensors = read_archive(path)
    try:
        return rebuild(description, tensors)
    except (KeyError, TypeError, RuntimeError, ValueError) as error:
        raise ValueError(f"{path}: Expected a flow that mera.save wrote; got {error}") from error


def rebuild(description: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Flow:
    """A flow from its description, with its format and dtype, and its state dict."""
    if description["format"] != FORMAT:
        raise ValueError(f"format {description['format']}, where this version reads {FORMAT}")
    flow = build(description["model"], **description["options"]).to(DTYPES[description["dtype"]])
    flow.load_state_dict(tensors)
    return flow
