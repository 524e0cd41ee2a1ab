"""Checkpoints of the RG-Flow authors' code, https://github.com/hongyehu/RG-Flow."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera._utils.files import as_path
from mera._utils.flow_options import PriorLike
from mera._utils.random import restored_states
from mera.bijectors import checkerboard
from mera.flow import Flow
from mera.models.archive import unpack_tensors
from mera.models.by_name import build

# Names of tensors in the authors' checkpoints. They contain the index of the block (two in a level), of the coupling
# layer in the block, of the residual block in the network, and of the module in the residual block. The networks of the
# log-scale are called s_layers, the networks of the translation t_layers.
BLOCK = re.compile(r"layers\.(\d+)\..+")
LEARNT = re.compile(
    r"layers\.(?P<block>\d+)\.(?P<net>[st])_layers\.(?P<layer>\d+)\."
    r"(res_blocks\.(?P<res>\d+)\.(?P<module>\d+)\.(?P<name>\w+)|scale\.scale)"
)
CONSTANT = re.compile(r"prior\.scale|layers\.\d+\.(mask_left|mask_right|[st]_layers\.\d+\.scale\.saved_(mean|var))")


def load_rgflow_checkpoint(path: str | PathLike[str], prior: PriorLike | None = None) -> Flow:
    """Load a checkpoint of the RG-Flow authors' code as a flow of "rgflow" with `preset="authors"`.

    Lattice, kernel, channels, depths, widths and dtype are read from the file. No code in the file is run.

    Args:
        path: the file.
        prior: prior of the flow; None for a Gaussian if the scale in the file is 1, a Laplacian if it is 1/sqrt(2).

    Raises:
        ValueError: if the file is damaged, holds objects other than tensors, or is not a checkpoint of an RG-Flow.
    """
    state = _read(as_path(path))
    try:
        with restored_states():  # new weights are drawn, and replaced
            flow = build("rgflow", **_options(state, prior))
        weights = _ordered_by_halves(_stacked(state), flow)
        flow = flow.to(next(iter(weights.values())).dtype)
        flow.load_state_dict(weights)
    except (KeyError, AttributeError, TypeError, RuntimeError, ValueError) as error:
        got = f"a file with an error: {type(error).__name__}: {error}"
        raise InputError("a checkpoint of the authors' RG-Flow", got, where=str(path)) from error
    return flow


def _read(path: Path) -> dict[str, Tensor]:
    """Read the state dict in a file; no code in the file is run."""
    content = unpack_tensors(as_path(path).read_bytes(), path)
    state = content.get("flow") if isinstance(content, Mapping) else None
    items = state.items() if isinstance(state, Mapping) else ()
    if not items or not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in items):
        raise InputError("a dict with the state dict of a flow under 'flow'", "something else", where=str(path))
    return dict(items)


def _options(state: Mapping[str, Tensor], prior: PriorLike | None) -> dict[str, Any]:
    """The options of `mera.build`, from the names and shapes of the tensors."""
    blocks = 1 + max((int(match[1]) for name in state if (match := BLOCK.fullmatch(name))), default=-1)
    if blocks == 0 or blocks % 2:
        raise InputError("two blocks for each level", f"{blocks} blocks")
    channels, *sites = state["layers.0.mask_left"].shape
    if len(sites) != 2 or sites[0] != sites[1]:
        raise InputError("masks of square patches", f"shape {(channels, *sites)}")
    even = checkerboard((channels, *sites))
    for block in range(blocks):
        for side, mask in (("left", even), ("right", ~even)):
            saved = state[f"layers.{block}.mask_{side}"]
            if not torch.equal(saved, mask.to(saved.dtype)):
                raise InputError(
                    f"a checkerboard, the first site left, as mask_{side} of block {block}", "another mask"
                )
    layers, residual_blocks, hidden = zip(*(_depths(state, 2 * h) for h in range(blocks // 2)), strict=True)
    return {
        "preset": "authors",
        "L": sites[0] * 2 ** (blocks // 2 - 1),
        "m": sites[0],
        "channels": channels,
        "layers": layers,
        "residual_blocks": residual_blocks,
        "hidden": hidden,
        "prior": prior if prior is not None else _prior(state["prior.scale"]),
    }


def _depths(state: Mapping[str, Tensor], block: int) -> tuple[int, int, tuple[int, ...]]:
    """The number of coupling layers, the number of residual blocks, and the hidden widths of a block."""
    rows = {}  # (layer, residual block, module) -> number of rows of the weight of a linear layer
    for name, tensor in state.items():
        match = LEARNT.fullmatch(name)
        if match and int(match["block"]) == block and match["name"] == "weight_v":
            rows[int(match["layer"]), int(match["res"]), int(match["module"])] = tensor.shape[0]
    first = sorted(key for key in rows if key[:2] == (0, 0))
    hidden = tuple(rows[key] for key in first[:-1])
    return 1 + max(key[0] for key in rows), 1 + max(key[1] for key in rows), hidden


def _prior(scale: Tensor) -> str:
    """The name of the prior, from its scale."""
    for name, scale_of_unit_variance in (("gaussian", 1.0), ("laplace", 1 / math.sqrt(2))):
        if scale.numel() == 1 and math.isclose(scale.item(), scale_of_unit_variance, rel_tol=1e-6):
            return name
    raise InputError(
        "a prior of scale 1 or 1/sqrt(2), or the argument prior=", f"the scale {scale.flatten()[:4].tolist()}"
    )


def _stacked(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Stack the tensors of single residual blocks and networks to the tensors of the flow, (blocks, networks, ...)."""
    parts: dict[str, dict[tuple[int, int], Tensor]] = {}
    for authors_name, tensor in state.items():
        if (location := _location(authors_name)) is not None:
            if not (tensor.is_floating_point() and tensor.isfinite().all()):
                raise InputError("finite weights", f"others in {authors_name}")
            name, block, network = location
            parts.setdefault(name, {})[block, network] = tensor.T if tensor.ndim == 2 else tensor[None]
    if len(dtypes := {str(tensor.dtype) for tensors in parts.values() for tensor in tensors.values()}) != 1:
        raise InputError("weights of one dtype", str(sorted(dtypes)))
    weights = {}
    for name, tensors in parts.items():
        blocks = range(1 + max(block for block, _ in tensors))
        stacked = torch.stack([torch.stack([tensors[block, network] for network in (0, 1)]) for block in blocks])
        weights[name] = stacked[0] if name.endswith(".scale") else stacked
    return weights


def _ordered_by_halves(weights: Mapping[str, Tensor], flow: Flow) -> dict[str, Tensor]:
    """Reorder the features of a patch from (channel, *site) to the first half, then the second half."""
    ordered = {}
    for name, tensor in weights.items():
        coupling, part = name.split(".networks.0.networks.")
        last = len(flow.get_submodule(f"{coupling}.networks.0.networks.linears")) - 1  # type: ignore[arg-type]
        axes = {"scale": -1, "swishes.0.slope": -1, "linears.0.weight_v": -2}
        axes |= {f"linears.{last}.{kind}": -1 for kind in ("weight_v", "weight_g", "bias")}
        order: Any = flow.get_submodule(f"{coupling}.partition").order
        ordered[name] = tensor.index_select(axes[part], order) if part in axes else tensor
    return ordered


def _location(authors_name: str) -> tuple[str, int, int] | None:
    """The (name in the flow's state dict, residual block, network) of a tensor; None if the tensor is not learnt."""
    if CONSTANT.fullmatch(authors_name):
        return None
    match = LEARNT.fullmatch(authors_name)
    if match is None:
        raise InputError("names of tensors of an RG-Flow", repr(authors_name))
    block = int(match["block"])
    layer, is_linear = divmod(int(match["module"] or 0), 2)
    tail = f"linears.{layer}.{match['name']}" if is_linear else f"swishes.{layer}.slope"
    coupling = f"bijectors.{('disentangler', 'decimator')[block % 2]}{block // 2}.members.{match['layer']}"
    name = f"{coupling}.networks.0.networks.{tail if match['module'] else 'scale'}"
    return name, int(match["res"] or 0), "st".index(match["net"])
