"""Local field bijectors on boxes of a lattice, at the cost of the box and of the sites around it that they read."""

from __future__ import annotations

from torch import Tensor

from mera._utils.errors import InputError
from mera.bijectors.base import Bijector
from mera.bijectors.boxes import Box
from mera.bijectors.local import evaluate
from mera.graph.lattice import Lattice


def is_local(bijector: Bijector, lattice: Lattice) -> bool:
    """Return whether a field bijector can be evaluated on boxes of a lattice, which may cross periodic borders.

    A convolution that ends at the borders of a periodic lattice reads other sites there than in a box.
    """
    parts = [part for part in bijector.modules() if isinstance(part, Bijector) and not part.is_composite]
    ends = any(max(part.receptive_kernel or (1,)) > 1 and not part.circular for part in parts)
    return bijector.is_local and not (ends and any(lattice.periodic))


def run_on_box(
    bijector: Bijector,
    lattice: Lattice,
    values: Tensor,
    box: Box,
    target: Box,
    context: Tensor | None = None,
    inverse: bool = False,
) -> tuple[Tensor, Tensor]:
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
    if not values.shape[2:] == log_det.shape[1:] == sites.shape:
        got = f"{tuple(values.shape)}, {tuple(log_det.shape)}"
        raise InputError(
            f"values and log-dets of sites {sites.shape}", got, where=f"{type(bijector).__name__}.on_sites"
        )
    return target.crop(values, sites), target.crop(log_det, sites)
