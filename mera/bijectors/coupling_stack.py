"""Stacks of couplings with or without ActNorms."""

from __future__ import annotations

from mera._utils.checks import DEEPEST, check_count, check_flag
from mera.bijectors.actnorm import ActNorm
from mera.bijectors.base import Bijector
from mera.bijectors.compose import Chain
from mera.bijectors.conditioners.base import ConditionerFactory
from mera.bijectors.coupling import Coupling, Couplings
from mera.bijectors.linear import LULinear
from mera.bijectors.partition import Partition
from mera.bijectors.univariate import Univariate

Shape = tuple[int, ...]


def couplings(
    partition: Partition, conditioner: ConditionerFactory, transform: Univariate,
    *, layers: int, norm: bool, norm_per_channel: bool = False, mix: bool = False, context_shape: Shape | None = None,
) -> Chain:  # fmt: skip
    """Stack couplings over one partition; for `partition`, `conditioner`, `transform` and the context see `Coupling`.

    Args:
        layers: number of couplings.
        norm: whether there is an ActNorm before each coupling.
        norm_per_channel: whether all sites of a channel share the parameters of an ActNorm.
        mix: whether a linear map of the channels of each site follows each coupling, if there are several channels.

    Raises:
        ValueError: if the number of layers is not a positive integer, or `norm` or `mix` is not a bool.
    """
    members = [
        Coupling(partition, conditioner, transform, context_shape)
        for _ in range(check_count(layers, "layers", most=DEEPEST))
    ]
    shape = partition.event_shape
    mix = check_flag(mix, "mix_channels") and shape[0] > 1
    if not check_flag(norm, "norm") and not mix:
        return Couplings(members)
    steps: list[Bijector] = []
    for member in members:
        steps += [ActNorm(shape, norm_per_channel), member] if norm else [member]
        if mix:
            steps.append(LULinear(shape, identity=True))
    return Chain(steps)
