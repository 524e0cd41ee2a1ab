"""Functions that the models of patches share: the bijectors of each RG step, and the steps in a layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mera._utils.errors import InputError
from mera.bijectors.registry import Named, factory, name_and_options, named, takes
from mera.graph import Layout, Port
from mera.models.geometry import options_per_step
from mera.models.options import BijectorLike, Hidden, PerStep

__all__ = ["add_layers", "add_steps", "bijectors_per_step"]

Rows = Sequence[tuple[str, int]]
"""The rows of bijectors of an RG step, in the order from data to latents: for each its role and its offset."""


def bijectors_per_step(
    steps: int,
    *,
    bijector: BijectorLike | None,
    conditioner: str,
    layers: PerStep,
    residual_blocks: PerStep,
    hidden: Hidden,
    norm: bool | None,
) -> list[Callable[..., Any]]:
    """For each RG step, finest first, a callable that makes its bijectors.

    A registered bijector gets those of the options `conditioner`, `layers`, `residual_blocks`, `hidden` and `norm` that
    it has; options in its own dict take precedence.

    Args:
        steps: the number of RG steps.
        bijector: the bijector of all steps; affine couplings if None.
        conditioner: the networks of couplings, "joint", "paper" or "authors".
        layers: one number for all RG steps, or one for each.
        residual_blocks: one number for all RG steps, or one for each.
        hidden: widths for all RG steps, or a sequence of widths for each.
        norm: whether there is an ActNorm before each coupling; None for the default of the bijector.

    Raises:
        ValueError: if the value of an option is invalid, or no bijector is registered under the name.
    """
    for_all_steps: dict[str, Any] = (
        {"conditioner": conditioner} if norm is None else {"conditioner": conditioner, "norm": norm}
    )
    options_of_steps = [options | for_all_steps for options in options_per_step(steps, layers, residual_blocks, hidden)]
    if bijector is None or isinstance(bijector, (str, Mapping)):
        name, explicit = name_and_options("coupling" if bijector is None else bijector)
        return [_named(name, explicit, options) for options in options_of_steps]
    if not callable(bijector):
        raise InputError("a bijector's name, a name with options, or a callable that makes a bijector", repr(bijector))
    return [bijector] * steps


def _named(name: str, explicit: Mapping[str, Any], options: Mapping[str, Any]) -> Named:
    """A registered bijector with explicit options, and with those of the other options that its factory takes."""
    make = factory(name)
    return named(name, {key: value for key, value in options.items() if takes(make, key)} | dict(explicit))


def add_layers(
    layout: Layout, x: Port, bijector: Callable[..., Any], rows: Rows, kernel: int, suffix: str, share: bool = False
) -> Port:
    """Add the bijectors of one RG step to a layout.

    Between open borders, a lattice that is one patch wide has no room for a patch at an offset; such rows are left out.

    Args:
        layout: the layout.
        x: the output of an earlier node.
        bijector: a callable that makes the bijectors.
        rows: the role and the offset of each row.
        kernel: the width of the patches.
        suffix: the end of the names of nodes, behind the role.
        share: whether all nodes with the same role use one module.

    Returns:
        The output of the last node.
    """
    for role, offset in rows:
        sizes = zip(x.shape, x.lattice.periodic, strict=True)
        if offset and any(n == kernel and not periodic for n, periodic in sizes):
            continue
        name = f"{role}{suffix}"
        x = layout.local(x, bijector, kernel=kernel, offset=offset, share=role if share else None, name=name)
    return x


def add_steps(
    layout: Layout, bijectors: Sequence[Callable[..., Any]], rows: Rows, kernel: int, stride: int,
    share: bool = False, source: Port | None = None,
) -> None:  # fmt: skip
    """Add RG steps to a layout: bijectors, then a decimation (RG-Flow, Eq. 2 to 5, https://arxiv.org/abs/2010.00029).

    All variables leave after the bijectors of the last step.

    Args:
        layout: the layout.
        bijectors: for each RG step, finest first, a callable that makes its bijectors.
        rows: the role and the offset of each row of bijectors in a step.
        kernel: the width of the patches.
        stride: the edge of the cells of which a decimation keeps one site.
        share: whether all levels use the same modules.
        source: the output of an earlier node to begin with; the input of the layout if None.
    """
    x = layout.input if source is None else source
    for h, bijector in enumerate(bijectors):
        x = add_layers(layout, x, bijector, rows, kernel, str(h), share)
        if h + 1 < len(bijectors):
            x, fine = layout.decimate(x, stride, name=f"decimate{h}")
            layout.latent(fine, name=f"z{h}")
    layout.latent(x, name=f"z{len(bijectors) - 1}")
