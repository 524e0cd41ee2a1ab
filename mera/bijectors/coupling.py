"""Coupling layers with any partition, any elementwise transform and any conditioner."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

from torch import Tensor, nn

from mera._utils.errors import InputError
from mera._utils.torch_private import is_called_plainly
from mera.bijectors.base import Bijector, as_rows, in_dtype, log_det_dtype
from mera.bijectors.compose import Chain
from mera.bijectors.conditioners.base import ConditionerFactory, contract, make_network, prepare
from mera.bijectors.context import join, joined_shape
from mera.bijectors.partition import Partition
from mera.bijectors.univariate import Affine, Univariate, transform


class Coupling(Bijector):
    r"""A coupling layer: each half of an event is transformed in turn, with parameters that depend on the other half.

    Coupling layers are due to Dinh et al. (2017), https://arxiv.org/abs/1605.08803. As in RG-Flow, Eq. 10 and Fig. 7
    (https://arxiv.org/abs/2010.00029), one layer updates both halves:

    .. math:: x_2 \leftarrow f(x_2; c(x_1)), \qquad x_1 \leftarrow f(x_1; c'(x_2)),

    where :math:`f` is monotone in each variable, so that :math:`\ln |\det J|` is the sum of
    :math:`\ln \partial f / \partial x` over all variables.

    Args:
        partition: the two halves of an event; its `event_shape` is the shape of an event.
        conditioner: makes the networks :math:`c` and :math:`c'`, or one network shared between both halves; see
            `Conditioner`.
        transform: :math:`f`; an affine map if None.
        context_shape: shape of a context that the networks also read; None for no context.

    Raises:
        ValueError: if the conditioner cannot make a network for these halves.
    """

    of_angles = None

    def __init__(
        self, partition: Partition, conditioner: ConditionerFactory, transform: Univariate | None = None,
        context_shape: tuple[int, ...] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(partition.event_shape, context_shape)
        self.partition = partition
        self.transform = transform if transform is not None else Affine()
        first, second = partition.shapes

        def make(read: tuple[int, ...], changed: tuple[int, ...]) -> nn.Module:
            return make_network(conditioner, joined_shape(read, context_shape), changed, self.transform.n_params)

        networks = [make(first, second)]
        self.shared_between_halves = contract(networks[0]).shared_between_halves
        if not self.shared_between_halves:
            networks.append(make(second, first))
        self.networks = nn.ModuleList(networks)
        self.circular = any(contract(network).circular for network in networks)

    @property
    def receptive_kernel(self) -> tuple[int, ...] | None:
        """The window of both conditioners together if they are convolutions, else None."""
        first, second = (contract(self.networks[index]).radius for index in (0, -1))
        if first is None or second is None:
            return None
        return (1 + 2 * (first + second),) * (len(self.partition.event_shape) - 1)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Transform the second half, then the first."""
        return _apply([self], x, context, inverse=False)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Transform the first half back, then the second."""
        return _apply([self], y, context, inverse=True)


class Couplings(Chain):
    """Couplings over one partition: an event is split once for all of them, and their networks are prepared together.

    If a member is compiled, has hooks, or was replaced by another bijector, members are called one by one as modules.

    Args:
        couplings: the members, in the order from data to latents.

    Raises:
        ValueError: if there is no member, or the members have different partitions.
    """

    def __init__(self, couplings: Iterable[Coupling]) -> None:
        members = list(couplings)
        super().__init__(members)
        if any(member.partition is not members[0].partition for member in members):
            raise InputError("couplings over one partition", "several")

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Apply the members from the first to the last."""
        if not self._applied_together:
            return super().forward(x, context)
        return _apply(self.bijectors, x, context, inverse=False)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Apply the inverses of the members from the last to the first."""
        if not self._applied_together:
            return super().inverse(y, context)
        return _apply(self.bijectors, y, context, inverse=True)

    @property
    def _applied_together(self) -> bool:
        """Whether all members can be applied without calling them as modules."""
        partition = getattr(self.members[0], "partition", None)
        return all(
            isinstance(member, Coupling) and member.partition is partition and is_called_plainly(member)
            for member in self.members
        )


def _apply(bijectors: Sequence[Bijector], x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor]:
    """Apply couplings over one partition in order, or their inverses in reverse order: events and log-det (B,)."""
    couplings = [cast(Coupling, bijector) for bijector in (reversed(bijectors) if inverse else bijectors)]
    partition = couplings[0].partition
    halves = list(partition.split(x))
    log_slopes: list[Any] = [None, None]
    for coupling in couplings:
        networks = [prepare(network, x.shape[0]) for network in coupling.networks]
        for changed in (0, 1) if inverse else (1, 0):
            read = 1 - changed
            given = join(halves[read], context, coupling.context_shape)
            params = networks[0](given, read) if coupling.shared_between_halves else networks[read](given)
            value, log_slope = transform(coupling.transform, halves[changed], params, inverse)
            # discard values at the positions of the other half
            halves[changed] = partition.confine(value, changed)
            log_slope = in_dtype(partition.confine(log_slope, changed), log_det_dtype(x))
            log_slopes[changed] = log_slope if log_slopes[changed] is None else log_slopes[changed] + log_slope
    first, second = (as_rows(log_slope).sum(1) for log_slope in log_slopes)
    return partition.merge(*halves), first + second
