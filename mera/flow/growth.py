"""Larger lattices from smaller ones: the weights of a trained flow initialise a flow for twice the edge."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from mera._utils.checks import check_choice, check_type
from mera._utils.errors import InputError
from mera.bijectors import BlockSpins
from mera.flow.density import Density
from mera.flow.flow import Flow


@torch.no_grad()
def grow(flow: Density, copy: str = "coarse") -> Density:
    """Make a flow for a lattice of twice the edge, with one more level, initialised with the weights of a trained flow.

    Args:
        flow: the trained flow, made by `mera.build` with an option `L`; it does not change.
        copy: the levels that keep their number of sites: "coarse" for the coarsest levels, for a critical theory (each
            level moves up by one, and the finest level is duplicated); "fine" for the finest levels, for a correlation
            length much shorter than the edge (the coarsest level is duplicated).

    Returns:
        The larger flow, with dtype, device and `checkpoint` of the trained flow; of a `mera.Symmetrized` flow another
        one.

    Raises:
        ValueError: if the flow was not made by `mera.build` with an edge `L`, its levels have different bijectors, or
            it scales Fourier modes of the whole lattice.

    >>> import mera
    >>> from mera import physics
    >>> small = mera.build("rgflow", L=8, m=4, channels=1, hidden=(8,), prior="gaussian")
    >>> physics.grow(small).plan.input.shape
    (16, 16)
    """
    check_type(flow, Density, "a flow")
    check_choice(copy, ("coarse", "fine"), "levels to keep")
    trained: Flow = flow.flow
    if trained.recipe is None or "L" not in trained.recipe.options:
        raise InputError("a flow that mera.build made with an edge L", type(flow).__name__)
    options = trained.recipe.options
    if isinstance(next(iter(options.get("hidden") or ()), None), (list, tuple)):
        raise InputError("hidden layers of the same widths at all levels", f"widths by level, {options['hidden']}")
    changes: dict[str, Any] = {"L": tuple(2 * n for n in trained.plan.input.shape)}
    if options.get("levels") is not None:
        changes["levels"] = options["levels"] + 1
    if isinstance(options.get("m"), (list, tuple)):  # the larger lattice chooses patches by level anew
        changes["m"] = None
    larger = trained.recipe.rebuild(**changes).to(trained.device, trained.dtype)
    small, large = ([[*one.level(h)] for h in range(len(one.plan.latents))] for one in (trained, larger))
    for level, targets in enumerate(large):
        numbers = (level - 1, level) if copy == "coarse" else (level, level - 1)  # first the same scale
        candidates = (_pairs(targets, small[number]) for number in numbers if 0 <= number < len(small))
        pairs = next(filter(None, candidates), None)
        if pairs is None:
            raise InputError("levels with the same bijectors", f"another level {level}")
        for target, source in pairs:
            target.load_state_dict(source.state_dict())
    larger.checkpoint = trained.checkpoint
    larger.context_encoder.load_state_dict(trained.context_encoder.state_dict())
    return flow.with_flow(larger)


def _pairs(targets: list[nn.Module], sources: list[nn.Module]) -> list[tuple[nn.Module, nn.Module]]:
    """The bijectors of a level with those of a trained level; empty if they have other parameters."""
    if len(targets) != len(sources):  # the coarsest level of rgflow has no block spins, since it keeps no sites
        targets, sources = ([b for b in group if not isinstance(b, BlockSpins)] for group in (targets, sources))
    shapes = [[{k: v.shape for k, v in b.state_dict().items()} for b in group] for group in (targets, sources)]
    return list(zip(targets, sources, strict=True)) if shapes[0] == shapes[1] else []
