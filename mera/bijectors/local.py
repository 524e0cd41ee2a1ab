"""Local bijectors: each output depends on a window of sites, so that a part of a lattice can be evaluated by itself."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING, cast

from torch import Tensor

from mera._utils.errors import InputError
from mera._utils.torch_private import is_called_plainly
from mera.bijectors.base import Bijector, context_arguments
from mera.bijectors.boxes import Box

if TYPE_CHECKING:
    from mera.graph.lattice import Lattice


class LocalBijector(Bijector):
    """A bijector that is written as one map, `on_sites`; `forward` and `inverse` evaluate the map on whole events.

    If the map has a `receptive_kernel`, it can be evaluated on a part of a lattice, and on lattices of any size.
    A subclass that overrides `forward` and `inverse` is evaluated on whole lattices only, as is a module with hooks.
    """

    @abstractmethod
    def on_sites(self, x: Tensor, context: Tensor | None, inverse: bool, sites: Box | None) -> tuple[Tensor, Tensor]:
        """Map data to latents, or latents to data.

        Args:
            x: the values at the sites, (B, C, *sites.shape); or whole events, (B, *event_shape).
            context: the context of each event, (B, K) or (B, K, *sites.shape); None for a map that takes none.
            inverse: whether to map latents to data.
            sites: the sites; None for whole events, of patches or lattices.

        Returns:
            The values, and a log-det for each site, (B, *sites). Values within the `radius` of an end that is interior
            to the lattice are not used, and may be left out. For whole events the log-det may also be (B,).
        """

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map data to latents."""
        if x.shape[1:] != self.event_shape:
            self.check_events(x)
        y, log_det = self.on_sites(x, context, False, None)
        return y, log_det if log_det.ndim == 1 else log_det.flatten(1).sum(1)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map latents to data."""
        if y.shape[1:] != self.event_shape:
            self.check_events(y)
        x, log_det = self.on_sites(y, context, True, None)
        return x, log_det if log_det.ndim == 1 else log_det.flatten(1).sum(1)

    @property
    def fits_any_lattice(self) -> bool:
        """Return whether the map has a window, and no parameters for single sites."""
        inner = [part for part in self.modules() if isinstance(part, Bijector) and part is not self]
        return self.receptive_kernel is not None and all(part.fits_any_lattice for part in inner)


def evaluate(
    bijector: Bijector, x: Tensor, context: Tensor | None, inverse: bool, sites: Box | None = None
) -> tuple[Tensor, Tensor]:
    """Apply a bijector, or its inverse, to whole events; or a local bijector to sites, for values of the shrunk box."""
    if sites is None:
        return (bijector.inverse if inverse else bijector)(x, *context_arguments(bijector, context))
    y, log_det = cast(LocalBijector, bijector).on_sites(x, context, inverse, sites)
    inner = sites.shrunk(bijector.radius)
    if y.shape[2:] == log_det.shape[1:] == sites.shape:
        return inner.crop(y, sites), inner.crop(log_det, sites)
    if not y.shape[2:] == log_det.shape[1:] == inner.shape:  # else the map returned the shrunk box itself
        got = f"{tuple(y.shape)}, {tuple(log_det.shape)}"
        raise InputError(
            f"values and log-dets of sites {sites.shape}", got, where=f"{type(bijector).__name__}.on_sites"
        )
    return y, log_det


def is_local(bijector: Bijector, lattice: Lattice) -> bool:
    """Return whether a field bijector can be evaluated on boxes of a lattice, which may cross periodic borders.

    A convolution that ends at the borders of a periodic lattice reads other sites there than in a box.
    """
    parts = [part for part in bijector.modules() if isinstance(part, Bijector)]
    are_maps = all(isinstance(part, LocalBijector) and _is_one_map(part) for part in parts)
    ends = any(max(part.receptive_kernel or (1,)) > 1 and not part.circular for part in parts)
    is_plain = bijector.fits_any_lattice and are_maps and all(map(is_called_plainly, bijector.modules()))
    return is_plain and not (ends and any(lattice.periodic))


def run_on_box(
    bijector: Bijector, lattice: Lattice, values: Tensor, box: Box, target: Box, context: Tensor | None = None,
    inverse: bool = False,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Apply a bijector of the whole lattice, which `is_local`, to a box.

    Args:
        values: the values in the box, (B, C, *box.shape).
        box: the box, which has all sites that the target depends on.
        target: the box of the results.
        context: the context of each event, (B, K) or (B, K, *box.shape); None for a bijector without context.

    Returns:
        The values in the target, (B, C, *target.shape); and the log-det of each of its sites, (B, *target.shape).
    """
    sites = box.on(lattice)
    values, log_det = evaluate(bijector, values, context, inverse, sites)
    sites = sites.shrunk(bijector.radius)
    return target.crop(values, sites), target.crop(log_det, sites)


def equal_log_dets(log_det: Tensor, x: Tensor, inverse: bool, sites: Box | None, of_site: bool = True) -> Tensor:
    """The log-dets of a map that changes all volumes by one factor: (B, *sites), or (B,) for whole events.

    `log_det`, (), is that of the forward direction, of one site if `of_site`, else of an event; for x see `on_sites`.
    """
    log_det = -log_det if inverse else log_det
    if sites is not None:
        return log_det.expand(x.shape[0], *x.shape[2:])
    return (log_det * math.prod(x.shape[2:]) if of_site else log_det).expand(x.shape[0])


def _is_one_map(bijector: Bijector) -> bool:
    """Return whether `forward` and `inverse` are those that derive from `on_sites`, or of the same class as it."""
    owners = [next(k for k in type(bijector).__mro__ if name in vars(k)) for name in ("forward", "inverse", "on_sites")]
    return {"forward", "inverse"}.isdisjoint(vars(bijector)) and {*owners[:2]} <= {LocalBijector, owners[2]}
