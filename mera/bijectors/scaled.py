"""A learnt scale and shift in front of a map of single variables."""

from __future__ import annotations

from torch import Tensor

from mera.bijectors.univariate import Affine, Univariate, in_single


class Scaled(Univariate):
    r"""A map f of single variables behind a learnt scale and shift, :math:`y = f(x \, e^s + t)`.

    A spline acts on an interval and is the identity beyond it. With a scale and a shift, the interval moves to where
    the data is, and the tails beyond it are lines with a learnt slope, so that no region of the data is out of reach.
    The parameters are those of an `Affine` map, followed by those of f.

    Args:
        inner: f.
        max_log_scale: the bound of :math:`|s|`; see `Affine`.

    Raises:
        ValueError: if the bound is not a number above 0, up to 20.
    """

    def __init__(self, inner: Univariate, max_log_scale: float = 2.0) -> None:
        super().__init__()
        self.outer, self.inner = Affine(max_log_scale), inner
        self.n_params = self.outer.n_params + inner.n_params

    @in_single
    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and shift, then apply the map."""
        outer, inner = self._split(params)
        scaled, log_scale = self.outer(x, outer)
        y, log_slope = self.inner(scaled, inner)
        return y, log_scale + log_slope

    @in_single
    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Undo the map, then the shift and the scale."""
        outer, inner = self._split(params)
        scaled, log_slope = self.inner.inverse(y, inner)
        x, log_scale = self.outer.inverse(scaled, outer)
        return x, log_slope + log_scale

    def _split(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """The parameters of the scale and the shift, and those of the map."""
        outer, inner = params.tensor_split([self.outer.n_params], dim=1)
        return outer, inner
