"""Coupling layers with any partition, any elementwise transform and any conditioner."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from mera._utils.checks import MAX_LAYERS, check_count, check_flag
from mera.bijectors.base import Bijector
from mera.bijectors.boxes import Box
from mera.bijectors.compose import Chain
from mera.bijectors.conditioners.base import ConditionerFactory, join, joined_shape, metadata
from mera.bijectors.linear import LULinear
from mera.bijectors.local import LocalBijector
from mera.bijectors.normalization import ActNorm
from mera.bijectors.partition import Partition
from mera.bijectors.univariate import Affine, Univariate, map_variables


class Coupling(LocalBijector):
    r"""A coupling layer: each half of an event is transformed in turn, with parameters that depend on the other half.

    Coupling layers are due to Dinh et al. (2017), https://arxiv.org/abs/1605.08803. As in RG-Flow, Eq. 10 and Fig. 7
    (https://arxiv.org/abs/2010.00029), one layer updates both halves:

    .. math:: x_2 \leftarrow f(x_2; c(x_1)), \qquad x_1 \leftarrow f(x_1; c'(x_2)),

    where :math:`f` is monotone in each variable, so that :math:`\ln |\det J|` is the sum of
    :math:`\ln \partial f / \partial x` over all variables.

    Args:
        partition: the two halves of an event, copied if it has buffers; its `event_shape` is the shape of an event.
        conditioner: makes the networks :math:`c` and :math:`c'`, or one network shared between both halves; see
            `Conditioner`. Of angles it reads cosines and sines.
        transform: :math:`f`; an affine map if None.
        context_shape: shape of a context that the networks also read; None for no context.
    """

    of_angles = None

    def __init__(
        self, partition: Partition, conditioner: ConditionerFactory, transform: Univariate | None = None,
        context_shape: tuple[int, ...] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(partition.event_shape, context_shape)
        # torch.func.functional_call breaks buffers that a module has in two places
        self.partition = copy.deepcopy(partition) if list(partition.buffers()) else partition
        self.transform = transform if transform is not None else Affine()
        first, second = partition.shapes

        def make(read: tuple[int, ...], changed: tuple[int, ...]) -> nn.Module:
            read = (2 * read[0], *read[1:]) if self.transform.of_angles else read
            return conditioner(joined_shape(read, context_shape), changed, self.transform.n_params)

        networks = [make(first, second)]
        self.shared_between_halves = metadata(networks[0]).shared_between_halves
        if not self.shared_between_halves:
            networks.append(make(second, first))
        self.networks = nn.ModuleList(networks)
        self.circular = any(metadata(network).circular for network in networks)

    @property
    def receptive_kernel(self) -> tuple[int, ...] | None:
        """The window of both conditioners together if they are convolutions, else None."""
        radii = [metadata(self.networks[index]).radius for index in (0, -1)]  # of the network of each half
        finite = [radius for radius in radii if radius is not None]
        return (1 + 2 * sum(finite),) * (len(self.partition.event_shape) - 1) if len(finite) == 2 else None

    def on_sites(self, x: Tensor, context: Tensor | None, inverse: bool, sites: Box | None) -> tuple[Tensor, Tensor]:
        """Transform the second half, then the first; or transform the first back, then the second."""
        partition, transform, networks = self.partition, self.transform, list(self.networks)
        halves = list(partition.split(x, sites))
        log_dets: list[Tensor] = []
        for read in (1, 0) if inverse else (0, 1):
            changed, values = 1 - read, halves[read]
            values = torch.cat([values.cos(), values.sin()], dim=1) if transform.of_angles else values
            values = values if self.context_shape is None else join(values, context, self.context_shape)
            index, half = (0, (read,)) if self.shared_between_halves else (read, ())
            value, log_slope = map_variables(transform, halves[changed], networks[index](values, *half), inverse)
            # discard values at the positions of the other half
            halves[changed] = partition.confine(value, changed, sites)
            log_slope = partition.confine(log_slope, changed, sites)
            log_dets.append(log_slope.flatten(1).sum(1) if sites is None else log_slope.sum(1))
        return partition.merge(*halves), log_dets[0] + log_dets[1]


def couplings(
    partition: Partition, conditioner: ConditionerFactory, transform: Univariate,
    *, layers: int, norm: bool, norm_per_channel: bool = False, mix: bool = False,
    context_shape: tuple[int, ...] | None = None,
) -> Chain:  # fmt: skip
    """Stack couplings over one partition; for `partition`, `conditioner`, `transform` and the context see `Coupling`.

    Args:
        layers: number of couplings.
        norm: whether there is an ActNorm before each coupling.
        norm_per_channel: whether all sites of a channel share the parameters of an ActNorm.
        mix: whether a linear map of the channels of each site follows each coupling, if there are several channels.
    """
    shape = partition.event_shape
    norm, mix = check_flag(norm, "norm"), check_flag(mix, "mix_channels") and shape[0] > 1
    steps: list[Bijector] = []
    for _ in range(check_count(layers, "layers", most=MAX_LAYERS)):
        if norm:
            steps.append(ActNorm(shape, norm_per_channel))
        steps.append(Coupling(partition, conditioner, transform, context_shape))
        if mix:
            steps.append(LULinear(shape, identity=True))
    return Chain(steps)
