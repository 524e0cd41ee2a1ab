"""Couplings stacked as a node needs them, with or without normalisation between them, over masks by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mera._utils.checks import check_choice, check_count, check_flag
from mera.bijectors.actnorm import ActNorm
from mera.bijectors.compose import Chain
from mera.bijectors.conditioners.base import ConditionerFactory
from mera.bijectors.coupling import Coupling, Couplings
from mera.bijectors.partition import Partition, checkerboard
from mera.bijectors.univariate import Univariate

__all__ = ["couplings", "mask_of"]

Shape = tuple[int, ...]


def couplings(
    partition: Partition,
    conditioner: ConditionerFactory,
    transform: Univariate,
    *,
    layers: int,
    norm: bool,
    norm_per_channel: bool = False,
    context_shape: Shape | None = None,
) -> Chain:
    """Couplings over one partition, with or without an ActNorm before each.

    Args:
        partition, conditioner, transform, context_shape: as for `Coupling`.
        layers: how many couplings.
        norm: whether there are ActNorms.
        norm_per_channel: whether they treat all sites of a channel alike, as those of a whole lattice should.
    """
    members = [Coupling(partition, conditioner, transform, context_shape) for _ in range(check_count(layers, "layers"))]
    if not check_flag(norm, "norm"):
        return Couplings(members)
    shape = partition.event_shape
    return Chain(step for member in members for step in (ActNorm(shape, norm_per_channel), member))


def mask_of(event_shape: Shape, mask: str | Sequence[Any] | Tensor) -> Tensor:
    """A bool mask of an event: by name, or as a value that broadcasts to it.

    Raises:
        ValueError: if the name is unknown.
    """
    if not isinstance(mask, str):
        try:
            return torch.as_tensor(mask, dtype=torch.bool).expand(event_shape).clone()
        except (TypeError, ValueError, RuntimeError):
            raise ValueError(f"Expected a mask that fills an event {tuple(event_shape)}; got {mask!r}") from None
    if check_choice(mask, ("checkerboard", "channels"), "a mask") == "checkerboard":
        return checkerboard(event_shape)
    first = torch.arange(event_shape[0]) < (event_shape[0] + 1) // 2
    return first.view(-1, *(1 for _ in event_shape[1:])).expand(event_shape).clone()
