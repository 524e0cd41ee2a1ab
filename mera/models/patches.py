"""What the models of patches share: bijectors for each RG step, and the steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mera._utils.errors import InputError
from mera.bijectors.registry import Named, factory, named, takes
from mera.graph import Layout, Port
from mera.models.geometry import options_per_step
from mera.models.options import BijectorLike, Hidden, PerStep

__all__ = ["add_layers", "add_steps", "bijectors_per_step"]

Rows = Sequence[tuple[str, int]]
"""The bijectors of an RG step, from the data on: the role that names each, and its offset."""


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
    """What makes the bijectors of each RG step, finest first: affine couplings unless said otherwise.

    A registered bijector gets those of the options that it has, unless it comes with its own.

    Raises:
        ValueError: if an option has a value that makes no sense, or there is no such bijector.
    """
    for_all_steps: dict[str, Any] = (
        {"conditioner": conditioner} if norm is None else {"conditioner": conditioner, "norm": norm}
    )
    options_of_steps = [options | for_all_steps for options in options_per_step(steps, layers, residual_blocks, hidden)]
    match bijector:
        case None | str():
            return [_named(bijector or "coupling", {}, options) for options in options_of_steps]
        case Mapping():
            own = {key: value for key, value in bijector.items() if key != "name"}
            return [_named(bijector.get("name", ""), own, options) for options in options_of_steps]
    if not callable(bijector):
        raise InputError("a bijector's name, a name with options, or what makes one", repr(bijector))
    return [bijector] * steps


def _named(name: str, own: Mapping[str, Any], options: Mapping[str, Any]) -> Named:
    """A registered bijector with its own options, and those of the others that it has."""
    made_by = factory(name)
    return named(name, {key: value for key, value in options.items() if takes(made_by, key)} | dict(own))


def add_layers(
    layout: Layout, x: Port, bijector: Callable[..., Any], rows: Rows, kernel: int, suffix: str, share: bool = False
) -> Port:
    """One RG step's bijectors on patches of `kernel` sites, each named by its role and the suffix.

    Between open borders, a lattice one patch wide has no room for a patch at an offset, which is left out.
    """
    for role, offset in rows:
        if offset and any(n == kernel and not wraps for n, wraps in zip(x.shape, x.lattice.periodic, strict=True)):
            continue
        name = f"{role}{suffix}"
        x = layout.local(x, bijector, kernel=kernel, offset=offset, share=role if share else None, name=name)
    return x


def add_steps(
    layout: Layout, bijectors: Sequence[Callable[..., Any]], rows: Rows, kernel: int, stride: int,
    share: bool = False,
) -> None:  # fmt: skip
    """RG steps (paper, Eq. 2 to 5): bijectors, then decimation by `stride`; the last step sends everything out."""
    x = layout.input
    for h, bijector in enumerate(bijectors):
        x = add_layers(layout, x, bijector, rows, kernel, str(h), share)
        if h + 1 < len(bijectors):
            x, fine = layout.decimate(x, stride, name=f"decimate{h}")
            layout.latent(fine, name=f"z{h}")
    layout.latent(x, name=f"z{len(bijectors) - 1}")
