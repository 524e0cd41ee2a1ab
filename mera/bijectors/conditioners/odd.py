"""A conditioner that makes a coupling odd, so that a flow of such couplings gives x and -x the same density."""

from __future__ import annotations

import torch
from torch import Tensor

from mera.bijectors.conditioners.base import Conditioner, ConditionerFactory, Shape, contract
from mera.bijectors.univariate import Univariate


class OddConditioner(Conditioner):
    r"""Parameters of which the coupling is odd: :math:`f(-x_2; c(-x_1)) = -f(x_2; c(x_1))`.

    They are the mean of those that a network gives for the half that it reads, and of those that it gives for the
    opposite half, mirrored:

    .. math:: c(x) = \frac{1}{2} \big( n(x) + M n(-x) \big), \qquad f(x; M p) = -f(-x; p).

    Args:
        network: makes the network n; see `mera.bijectors.Coupling`.
        transform: the transform f of the coupling, which knows M.
        in_shape: the shape of the half that is read.
        out_shape: the shape of the half that is transformed.
        n_params: the number of parameters of a variable.

    Raises:
        ValueError: if the transform has no mirror image.
    """

    def __init__(
        self, network: ConditionerFactory, transform: Univariate, in_shape: Shape, out_shape: Shape, n_params: int
    ) -> None:
        super().__init__()
        transform.mirrored(torch.zeros(1, n_params))  # the error of one that has no mirror image comes early
        self.network, self.mirrored = network(in_shape, out_shape, n_params), transform.mirrored
        for name in ("radius", "circular", "shared_between_halves"):
            setattr(self, name, getattr(contract(self.network), name))

    def forward(self, x: Tensor, *half: int) -> Tensor:
        """The parameters, (B, n_params, *out_shape), for a half (B, *in_shape)."""
        parameters, opposite = self.network(torch.cat([x, -x]), *half).chunk(2)
        mean: Tensor = (parameters + self.mirrored(opposite)) / 2
        return mean
