"""A conditioner that makes a coupling odd; a flow of odd couplings gives x and -x the same density."""

from __future__ import annotations

import torch
from torch import Tensor

from mera.bijectors.conditioners.base import Conditioner, ConditionerFactory, Shape, contract
from mera.bijectors.univariate import Univariate


class OddConditioner(Conditioner):
    r"""A conditioner c that makes a coupling odd: :math:`f(-x_2; c(-x_1)) = -f(x_2; c(x_1))`.

    It averages the parameters that a network n computes from :math:`x` and, mirrored, from :math:`-x`:

    .. math:: c(x) = \frac{1}{2} \big( n(x) + M n(-x) \big), \qquad f(x; M p) = -f(-x; p).

    Args:
        network: makes the network n; see `mera.bijectors.Coupling`.
        transform: the transform f of the coupling; its method `mirrored` is M.
        in_shape: shape of the half that is read.
        out_shape: shape of the half that is transformed.
        n_params: number of parameters for each variable.

    Raises:
        ValueError: if the transform has no mirror image.
    """

    def __init__(
        self, network: ConditionerFactory, transform: Univariate, in_shape: Shape, out_shape: Shape, n_params: int
    ) -> None:
        super().__init__()
        transform.mirrored(torch.zeros(1, n_params))  # raises the error for a missing mirror image at construction
        self.network, self.mirrored = network(in_shape, out_shape, n_params), transform.mirrored
        for name in ("radius", "circular", "shared_between_halves"):
            setattr(self, name, getattr(contract(self.network), name))

    def forward(self, x: Tensor, *half: int) -> Tensor:
        """Map the half that is read, (B, *in_shape), to parameters, (B, n_params, *out_shape)."""
        parameters, opposite = self.network(torch.cat([x, -x]), *half).chunk(2)
        mean: Tensor = (parameters + self.mirrored(opposite)) / 2
        return mean
