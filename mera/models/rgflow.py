"""RG-Flow (Hu et al. 2020, arXiv 2010.00029)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from mera.bijectors import Bijector, Gather, Masked, ResidualMLP, SeparateMLPs, checkerboard
from mera.flow import Flow
from mera.graph import Layout
from mera.graph.lattice import is_integer
from mera.models.blocks import coupling_block
from mera.models.options import (
    Edges,
    Hidden,
    PerStep,
    choice,
    hidden_per_step,
    integers_per_step,
    lattice_shape,
    levels,
)
from mera.models.registry import register

__all__ = ["rgflow"]

Shape = tuple[int, ...]

PRESETS: dict[str, dict[str, Any]] = {
    "default": {
        "order": "paper", "conditioner": "joint", "norm": True, "layers": 2, "residual_blocks": 1, "hidden": (128,),
    },
    "authors": {
        "order": "authors", "conditioner": "authors", "norm": False, "layers": (8, 6, 4, 2), "residual_blocks": 4,
        "hidden": (512, 512),
    },
}  # fmt: skip


@register("rgflow")
def rgflow(
    L: Edges = 32,
    m: int = 4,
    channels: int = 3,
    *,
    preset: str = "default",
    order: str | None = None,
    layers: PerStep | None = None,
    residual_blocks: PerStep | None = None,
    hidden: Hidden | None = None,
    conditioner: str | None = None,
    norm: bool | None = None,
    share_levels: bool = False,
    prior: str | torch.distributions.Distribution = "laplace",
    boundary: str = "periodic",
    dim: int = 2,
) -> Flow:
    r"""RG-Flow: disentanglers and decimators on m-wide patches, the lattice halved at each level (Fig. 2, Eq. 5).

    Level h acts on the lattice of edge L / 2^h. The topmost, m wide, sends everything out as latents.

    Args:
        L: edge of the lattice, or all its edges; each halves to a multiple of m, the smallest to m itself.
        m: kernel size of all blocks, even.
        channels: variables at a site.
        preset: where the options left as None come from. "default": sizes for one to two million parameters at
            L=32. "authors": the published sizes, order and conditioner (100 million parameters at L=32).
        order: "paper": the disentangler at offset m/2, then the decimator at offset 0 (Eq. 5). "authors": the
            first block at offset 0, the second at m/2, as the authors' code has it.
        layers: coupling layers in a block; one layer updates both halves once.
        residual_blocks: residual blocks in a conditioner.
        hidden: widths of the hidden layers in one residual block.
        conditioner: "paper": a scale and a translation network for each half, half a patch in and out (App. A).
            "authors": both networks as wide as the patch, masked, and the same for both halves, as in their code.
            "joint": one network for scale and translation, half a patch in.
        norm: an ActNorm before each coupling layer; see `Flow.initialize`.
        share_levels: all levels use the same disentangler and the same decimator: a scale-invariant flow.
        prior: "laplace", "gaussian", or any univariate torch distribution.
        boundary: "periodic" or "open".
        dim: dimensions of the lattice, if L is one number.

    `layers`, `residual_blocks` and `hidden` take one value for all RG steps or one for each, finest first.

    Raises:
        ValueError: if an option has a value that makes no sense.
        LayoutError: if the geometry is no bijection.
    """
    given = {"order": order, "conditioner": conditioner, "norm": norm, "layers": layers,
             "residual_blocks": residual_blocks, "hidden": hidden}  # fmt: skip
    chosen = PRESETS[choice(preset, list(PRESETS), "a preset")]
    options = chosen | {name: value for name, value in given.items() if value is not None}
    if not is_integer(m) or m < 2 or m % 2:
        raise ValueError(f"Expected an even kernel size m >= 2; got {m!r}")
    shape = lattice_shape(L, dim)
    steps = levels(shape, m)
    if layers is None and isinstance(options["layers"], Sequence):  # a preset's depths, for any number of levels
        options["layers"] = [options["layers"][min(h, len(options["layers"]) - 1)] for h in range(steps)]
    block = BLOCKS[choice(options["conditioner"], list(BLOCKS), "a conditioner")]
    blocks = [
        partial(block, layers=n_layers, residual_blocks=n_blocks, hidden=widths, norm=options["norm"])
        for n_layers, n_blocks, widths in zip(
            integers_per_step(options["layers"], steps, "layers"),
            integers_per_step(options["residual_blocks"], steps, "residual_blocks"),
            hidden_per_step(options["hidden"], steps),
            strict=True,
        )
    ]
    if share_levels:
        if any(b.keywords != blocks[0].keywords for b in blocks):
            raise ValueError("Expected the same layers, residual_blocks and hidden at all levels to share them")
        blocks = blocks[:1] * steps
    offsets = {"paper": (m // 2, 0), "authors": (0, m // 2)}
    first, second = offsets[choice(options["order"], list(offsets), "an order")]

    layout = Layout(shape, channels, boundary)
    x = layout.input
    for h, block in enumerate(blocks):
        for role, offset in (("disentangler", first), ("decimator", second)):
            if offset and m in x.shape and not all(x.lattice.periodic):
                continue  # between open borders, m sites have no room for a patch at an offset
            x = layout.local(x, block, kernel=m, offset=offset, share=role if share_levels else None, name=f"{role}{h}")
        if h + 1 < steps:
            x, fine = layout.decimate(x, name=f"decimate{h}")
            layout.latent(fine, name=f"z{h}")
    layout.latent(x, name=f"z{steps - 1}")
    return Flow(layout, prior)


def _paper(event_shape: Shape, *, residual_blocks: int, hidden: Shape, **block: Any) -> Bijector:
    networks = partial(SeparateMLPs, hidden=hidden, blocks=residual_blocks)
    return coupling_block(event_shape, Gather(checkerboard(event_shape)), networks, max_log_scale=1.0, **block)


def _authors(event_shape: Shape, *, residual_blocks: int, hidden: Shape, **block: Any) -> Bijector:
    networks = partial(SeparateMLPs, hidden=hidden, blocks=residual_blocks)
    partition = Masked(checkerboard(event_shape))
    return coupling_block(event_shape, partition, networks, max_log_scale=1.0, same_networks=True, **block)


def _joint(event_shape: Shape, *, residual_blocks: int, hidden: Shape, **block: Any) -> Bijector:
    network = partial(ResidualMLP, hidden=hidden, blocks=residual_blocks)
    return coupling_block(event_shape, Gather(checkerboard(event_shape)), network, **block)


BLOCKS: dict[str, Callable[..., Bijector]] = {"paper": _paper, "authors": _authors, "joint": _joint}
