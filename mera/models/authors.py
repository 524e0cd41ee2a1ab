"""Checkpoints that the RG-Flow authors' code wrote, https://github.com/hongyehu/RG-Flow."""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera._utils.files import as_path
from mera.bijectors import Gather, checkerboard
from mera.flow import Flow
from mera.models.by_name import build
from mera.names.flow_options import PriorLike

# Names of tensors in the authors' checkpoints. They number the blocks (two in an RG step), the coupling layers in a
# block, the residual blocks in a network, and the modules in a residual block. The networks of the log-scale are called
# s_layers, those of the translation t_layers.
BLOCK = re.compile(r"layers\.(?P<block>\d+)\.(?P<rest>.+)")
WEIGHT = re.compile(r"(?P<net>[st])_layers\.(?P<layer>\d+)\.res_blocks\.(?P<res>\d+)\.(?P<module>\d+)\.(?P<name>\w+)")
SCALE = re.compile(r"(?P<net>[st])_layers\.(?P<layer>\d+)\.scale\.scale")
CONSTANT = re.compile(r"mask_left|mask_right|[st]_layers\.\d+\.scale\.saved_(mean|var)")


def load_rgflow_checkpoint(path: str | PathLike[str], prior: PriorLike | None = None) -> Flow:
    """Load a `.state` file of the RG-Flow authors' code as a flow of "rgflow" with `preset="authors"`.

    Lattice, kernel, channels, depths, widths and dtype are those of the file. No code in the file is run.

    Args:
        path: the file.
        prior: the prior of the flow; None for that of the file. A file holds the scale of its prior only: scale 1 is
            taken for the Gaussian, 1/sqrt(2) for the Laplacian.

    Returns:
        The flow, in the dtype of the file.

    Raises:
        ValueError: if the file is damaged, holds anything but tensors, or is no checkpoint of an RG-Flow.
    """
    state = _read(as_path(path))
    try:
        flow = build("rgflow", **_options(state, prior))
        _check_weights({name: tensor for name, tensor in state.items() if _location(name) is not None})
        weights = _ordered_by_halves(_stacked(state), state["layers.0.mask_left"] != 0)
        flow = flow.to(next(iter(weights.values())).dtype)
        flow.load_state_dict(weights)
    except KeyError as error:
        raise InputError("a checkpoint of the authors' RG-Flow", f"none with {error}", where=str(path)) from error
    except (TypeError, RuntimeError, ValueError) as error:
        raise ValueError(f"{path}: Expected a checkpoint of the authors' RG-Flow; {error}") from error
    return flow


def _check_weights(weights: Mapping[str, Tensor]) -> None:
    """Refuse weights that are not floats of one dtype, or not finite."""
    dtypes = {tensor.dtype for tensor in weights.values()}
    if len(dtypes) != 1 or not next(iter(dtypes)).is_floating_point:
        raise ValueError(f"weights of one floating-point dtype are expected; got {sorted(map(str, dtypes))}")
    for name, tensor in weights.items():
        if not tensor.isfinite().all():
            raise ValueError(f"finite weights are expected; got infinite or NaN ones in {name}")


def _read(path: Path) -> dict[str, Tensor]:
    """The state dict in a file; no code in the file is run."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if zipfile.is_zipfile(path) and (broken := zipfile.ZipFile(path).testzip()):  # torch does not check checksums
            raise ValueError(f"{broken} has a wrong checksum")
    except OSError:
        raise
    except Exception as error:  # an unpickler raises any kind of error for bytes that are no checkpoint
        raise ValueError(
            f"{path}: Expected a checkpoint of tensors; it is damaged or holds other objects, and nothing in it was run"
        ) from error
    state = content.get("flow") if isinstance(content, Mapping) else None
    if (
        not isinstance(state, Mapping)
        or not state
        or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items())
    ):
        raise InputError("a dict with the state dict of a flow under 'flow'", "something else", where=str(path))
    return dict(state)


def _options(state: Mapping[str, Tensor], prior: PriorLike | None) -> dict[str, Any]:
    """The options of `mera.build`, read off the names and shapes of the tensors."""
    blocks = 1 + max((int(match["block"]) for name in state if (match := BLOCK.fullmatch(name))), default=-1)
    if blocks == 0 or blocks % 2:
        raise ValueError(f"two blocks an RG step are expected; got {blocks} blocks")
    channels, *sites = state["layers.0.mask_left"].shape
    if len(sites) != 2 or sites[0] != sites[1]:
        raise ValueError(f"masks of square patches are expected; got shape {(channels, *sites)}")
    even = checkerboard((channels, *sites))
    for block in range(blocks):
        for side, mask in (("left", even), ("right", ~even)):
            if not torch.equal(
                state[f"layers.{block}.mask_{side}"], mask.to(state[f"layers.{block}.mask_{side}"].dtype)
            ):
                raise ValueError(f"mask_{side} of block {block} is expected to be a checkerboard, the first site left")
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
    rows = {}  # (layer, residual block, module) -> number of rows of the linear layer's weight
    for name, tensor in state.items():
        match = BLOCK.fullmatch(name)
        weight = WEIGHT.fullmatch(match["rest"]) if match and int(match["block"]) == block else None
        if weight and weight["name"] == "weight_v":
            rows[int(weight["layer"]), int(weight["res"]), int(weight["module"])] = tensor.shape[0]
    first = sorted(key for key in rows if key[:2] == (0, 0))
    hidden = tuple(rows[key] for key in first[:-1])
    return 1 + max(key[0] for key in rows), 1 + max(key[1] for key in rows), hidden


def _prior(scale: Tensor) -> str:
    """The name of the prior, from its scale."""
    for name, scale_of_unit_variance in (("gaussian", 1.0), ("laplace", 1 / math.sqrt(2))):
        if scale.numel() == 1 and math.isclose(scale.item(), scale_of_unit_variance, rel_tol=1e-6):
            return name
    raise ValueError(f"a prior of scale 1 or 1/sqrt(2) is expected; got {scale.tolist()}: say which with prior=")


def _stacked(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of the flow, whose tensors hold all residual blocks and networks, (blocks, networks, ...).

    The authors' checkpoints have a tensor of each residual block and network.
    """
    parts: dict[str, dict[tuple[int, int], Tensor]] = {}
    for authors_name, tensor in state.items():
        if (location := _location(authors_name)) is not None:
            name, block, network = location
            parts.setdefault(name, {})[block, network] = tensor.T if tensor.ndim == 2 else tensor[None]
    weights = {}
    for name, tensors in parts.items():
        blocks = range(1 + max(block for block, _ in tensors))
        stacked = torch.stack([torch.stack([tensors[block, network] for network in (0, 1)]) for block in blocks])
        weights[name] = stacked[0] if name.endswith(".scale") else stacked
    return weights


def _ordered_by_halves(weights: Mapping[str, Tensor], mask: Tensor) -> dict[str, Tensor]:
    """The weights with the features of a patch in another order: those of the first half, then those of the second.

    In the authors' checkpoints, features are in the order (channel, *site) of the patch.
    """
    order = Gather(mask).order
    depth = {name.partition(".linears.")[0]: 0 for name in weights if ".linears." in name}
    for name in weights:
        network, _, rest = name.partition(".linears.")
        if rest:
            depth[network] = max(depth[network], int(rest.split(".")[0]))
    ordered = {}
    for name, tensor in weights.items():
        network, part = re.split(r"(?<=networks\.0\.networks)\.", name)
        axes = {"scale": -1, "swishes.0.slope": -1, "linears.0.weight_v": -2}
        axes |= {f"linears.{depth[network]}.{kind}": -1 for kind in ("weight_v", "weight_g", "bias")}
        ordered[name] = tensor.index_select(axes[part], order) if part in axes else tensor
    return ordered


def _location(authors_name: str) -> tuple[str, int, int] | None:
    """Where a tensor of the authors' checkpoint goes in the flow; None for a tensor that is not learnt.

    Returns:
        The name in the flow's state dict, the index of the residual block, and that of the network.
    """
    if authors_name == "prior.scale":
        return None
    match = BLOCK.fullmatch(authors_name)
    if match is None:
        raise ValueError(f"a tensor of that name is not expected: {authors_name!r}")
    if CONSTANT.fullmatch(match["rest"]):
        return None
    block = int(match["block"])
    node = f"bijectors.{('disentangler', 'decimator')[block % 2]}{block // 2}"
    if weight := WEIGHT.fullmatch(match["rest"]):
        layer, is_linear = divmod(int(weight["module"]), 2)
        tail = f"linears.{layer}.{weight['name']}" if is_linear else f"swishes.{layer}.slope"
        residual = int(weight["res"])
    elif weight := SCALE.fullmatch(match["rest"]):
        tail, residual = "scale", 0
    else:
        raise ValueError(f"a tensor of that name is not expected: {authors_name!r}")
    return f"{node}.members.{weight['layer']}.networks.0.networks.{tail}", residual, "st".index(weight["net"])
