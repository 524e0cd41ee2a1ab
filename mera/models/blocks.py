"""The bijector of one node of a model: a stack of coupling layers."""

from __future__ import annotations

from mera.bijectors import ActNorm, Affine, Bijector, Chain, Coupling, Partition
from mera.bijectors.conditioners import ConditionerFactory

__all__ = ["coupling_block"]


def coupling_block(
    partition: Partition,
    conditioner: ConditionerFactory,
    *,
    layers: int,
    norm: bool,
    norm_per_channel: bool = False,
    max_log_scale: float = 1.0,
    same_networks: bool = False,
) -> Bijector:
    """Affine couplings over one partition, with or without an ActNorm before each.

    Args:
        partition, conditioner, same_networks: as for `mera.bijectors.Coupling`.
        layers: how many couplings.
        norm: whether there are ActNorms.
        norm_per_channel: whether they treat all sites of a channel alike, as those of a whole lattice should.
        max_log_scale: the bound of the log-scales.
    """
    members: list[Bijector] = []
    for _ in range(layers):
        if norm:
            members.append(ActNorm(partition.event_shape, norm_per_channel))
        members.append(Coupling(partition, conditioner, Affine(max_log_scale), same_networks))
    return Chain(members)
