"""Local field bijectors on boxes of a lattice, at the cost of the box and of the sites around it that they read."""

from __future__ import annotations

from torch import Tensor

from mera.bijectors.base import Bijector, zero_log_det
from mera.graph.boxes import Box
from mera.graph.lattice import Lattice


def is_local(bijector: Bijector, lattice: Lattice) -> bool:
    """Whether a field bijector can be evaluated on boxes of a lattice, which may cross periodic borders.

    A convolution that ends at the borders of a periodic lattice reads other sites there than in a box.
    """
    reading = [layer for layer in bijector.layers if max(layer.receptive_kernel or (1,)) > 1]
    return bijector.is_local and (not any(lattice.periodic) or all(layer.circular for layer in reading))


def run_on_box(
    bijector: Bijector,
    lattice: Lattice,
    values: Tensor,
    box: Box,
    target: Box,
    context: Tensor | None = None,
    inverse: bool = False,
) -> tuple[Tensor, Tensor]:
    """Apply a local field bijector to a box, layer by layer; the box shrinks with each layer by what the layer reads.

    Args:
        bijector: the bijector of the whole lattice, which `is_local`.
        lattice: the lattice.
        values: the values in the box, (B, C, *box.shape).
        box: the box, which has all sites that the target depends on.
        target: the box of the results.
        context: the context of each event, (B, K) or (B, K, *box.shape); None for a bijector without context.
        inverse: whether to map latents to data.

    Returns:
        The values in the target, (B, C, *target.shape); and the log-det of each of its sites, (B, *target.shape).
    """
    layers = bijector.layers[::-1] if inverse else bijector.layers
    radii = [[width // 2 for width in layer.receptive_kernel or (1,) * lattice.dim] for layer in layers]
    total = values.new_zeros(len(values), *target.shape, dtype=zero_log_det(values).dtype)
    for number, layer in enumerate(layers):
        values, log_det = layer.on_box(box.start, box.shape).by_site(values, context, inverse)
        total = total + crop(log_det, target, box)
        later = [sum(radius) for radius in zip(*radii[number + 1 :], strict=True)] or [0] * lattice.dim
        smaller = target.grown(later, lattice).overlap(box)
        values = crop(values, smaller, box)
        context = context if context is None or context.ndim == 2 else crop(context, smaller, box)
        box = smaller
    return values, total


def crop(values: Tensor, box: Box, outer: Box) -> Tensor:
    """The values of a box, from those of a box around it, (..., *sites)."""
    for axis, (start, stop, first) in enumerate(zip(box.start, box.stop, outer.start, strict=True), -len(box.start)):
        values = values.narrow(axis, start - first, stop - start)
    return values
