"""Checkpoints of the RG-Flow authors' own code."""

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

from mera.bijectors import Gather, checkerboard
from mera.flow import Flow
from mera.models.registry import build
from mera.priors import PriorLike

__all__ = ["load_rgflow_checkpoint"]

# Their names and ours. Theirs count blocks (two in an RG step), then layers, residual blocks and the modules within;
# s_layers and t_layers are the networks of log-scale and translation.
BLOCK = re.compile(r"layers\.(?P<block>\d+)\.(?P<rest>.+)")
WEIGHT = re.compile(r"(?P<net>[st])_layers\.(?P<layer>\d+)\.res_blocks\.(?P<res>\d+)\.(?P<module>\d+)\.(?P<name>\w+)")
SCALE = re.compile(r"(?P<net>[st])_layers\.(?P<layer>\d+)\.scale\.scale")
NOT_LEARNT = re.compile(r"mask_left|mask_right|[st]_layers\.\d+\.scale\.saved_(mean|var)")


def load_rgflow_checkpoint(path: str | PathLike[str], prior: PriorLike | None = None) -> Flow:
    """Load a `.state` file of the authors' code (github.com/hongyehu/RG-Flow) as a flow of `preset="authors"`.

    Lattice, kernel, channels, depths, widths, dtype and prior are read off the file. Its prior is known by the
    scale alone: 1 is taken for the Gaussian, 1/sqrt(2) for the Laplacian.

    Args:
        path: the file.
        prior: the prior, if the file should not be asked.

    Raises:
        ValueError: if the file is damaged, holds anything but tensors (none of it is run), or is no such checkpoint.
    """
    state = _read(Path(path))
    try:
        flow = build("rgflow", **_options(state, prior))
        _check_weights({name: tensor for name, tensor in state.items() if _place(name) is not None})
        weights = _by_halves(_stacked(state), state["layers.0.mask_left"] != 0)
        flow = flow.to(next(iter(weights.values())).dtype)
        flow.load_state_dict(weights)
    except KeyError as error:
        raise ValueError(f"{path}: Expected a checkpoint of the authors' RG-Flow; got none with {error}") from error
    except (TypeError, RuntimeError, ValueError) as error:
        raise ValueError(f"{path}: Expected a checkpoint of the authors' RG-Flow; {error}") from error
    return flow


def _check_weights(weights: Mapping[str, Tensor]) -> None:
    """Refuse weights that no training leaves behind."""
    dtypes = {tensor.dtype for tensor in weights.values()}
    if len(dtypes) != 1 or not next(iter(dtypes)).is_floating_point:
        raise ValueError(f"weights of one floating-point dtype are expected; got {sorted(map(str, dtypes))}")
    for name, tensor in weights.items():
        if not tensor.isfinite().all():
            raise ValueError(f"finite weights are expected; got infinite or NaN ones in {name}")


def _read(path: Path) -> dict[str, Tensor]:
    """The state dict in a file, read without running anything that the file may hold."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if zipfile.is_zipfile(path) and (broken := zipfile.ZipFile(path).testzip()):  # torch does not check the sums
            raise ValueError(f"{broken} has a wrong checksum")
    except OSError:
        raise
    except Exception as error:  # whatever an unpickler makes of bytes that are no checkpoint
        raise ValueError(
            f"{path}: Expected a checkpoint of tensors; it is damaged or holds other objects, and nothing in it was run"
        ) from error
    state = content.get("flow") if isinstance(content, Mapping) else None
    if (
        not isinstance(state, Mapping)
        or not state
        or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items())
    ):
        raise ValueError(f"{path}: Expected a dict with the state dict of a flow under 'flow'; got something else")
    return dict(state)


def _options(state: Mapping[str, Tensor], prior: PriorLike | None) -> dict[str, Any]:
    """What to build, read off the names and shapes."""
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
    """Coupling layers, residual blocks, and hidden widths of a block."""
    rows = {}  # (layer, residual block, module) -> rows of the linear layer's weight
    for name, tensor in state.items():
        match = BLOCK.fullmatch(name)
        weight = WEIGHT.fullmatch(match["rest"]) if match and int(match["block"]) == block else None
        if weight and weight["name"] == "weight_v":
            rows[int(weight["layer"]), int(weight["res"]), int(weight["module"])] = tensor.shape[0]
    first = sorted(key for key in rows if key[:2] == (0, 0))
    hidden = tuple(rows[key] for key in first[:-1])
    return 1 + max(key[0] for key in rows), 1 + max(key[1] for key in rows), hidden


def _prior(scale: Tensor) -> str:
    """The prior's name, from its scale."""
    for name, known in (("gaussian", 1.0), ("laplace", 1 / math.sqrt(2))):
        if scale.numel() == 1 and math.isclose(scale.item(), known, rel_tol=1e-6):
            return name
    raise ValueError(f"a prior of scale 1 or 1/sqrt(2) is expected; got {scale.tolist()}: say which with prior=")


def _stacked(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our state dict: what they keep for each residual block and network, in one tensor (blocks, networks, ...)."""
    parts: dict[str, dict[tuple[int, int], Tensor]] = {}
    for old, tensor in state.items():
        if (place := _place(old)) is not None:
            name, block, network = place
            parts.setdefault(name, {})[block, network] = tensor.T if tensor.ndim == 2 else tensor[None]
    weights = {}
    for name, tensors in parts.items():
        blocks = range(1 + max(block for block, _ in tensors))
        stacked = torch.stack([torch.stack([tensors[block, network] for network in (0, 1)]) for block in blocks])
        weights[name] = stacked[0] if name.endswith(".scale") else stacked
    return weights


def _by_halves(weights: Mapping[str, Tensor], mask: Tensor) -> dict[str, Tensor]:
    """The same with the features of a patch in our order, which is that of its halves; theirs is as the patch lies."""
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


def _place(old: str) -> tuple[str, int, int] | None:
    """Our name of a tensor of theirs, its residual block and its network; None for what is not learnt."""
    if old == "prior.scale":
        return None
    match = BLOCK.fullmatch(old)
    if match is None:
        raise ValueError(f"a tensor of that name is not expected: {old!r}")
    if NOT_LEARNT.fullmatch(match["rest"]):
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
        raise ValueError(f"a tensor of that name is not expected: {old!r}")
    return f"{node}.members.{weight['layer']}.networks.0.networks.{tail}", residual, "st".index(weight["net"])
