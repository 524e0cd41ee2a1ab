"""Local field bijectors on boxes of a lattice, at the cost of the box and of the sites around it that they read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn.functional import pad

from mera.bijectors.base import Bijector, zero_log_det
from mera.bijectors.compose import Chain
from mera.graph.boxes import Box
from mera.graph.lattice import Lattice


def is_local(bijector: Bijector, lattice: Lattice) -> bool:
    """Whether a field bijector can be evaluated on boxes of a lattice, which may cross periodic borders.

    A convolution that ends at the borders of a periodic lattice reads other sites there than in a box.
    """
    reading = [layer for layer in bijector.layers if max(layer.receptive_kernel or (1,)) > 1]
    return bijector.is_local and (not any(lattice.periodic) or all(layer.circular for layer in reading))


def on_lattice(bijector: Bijector, shape: tuple[int, ...]) -> Bijector:
    """A bijector with the same parameters for events of a shape; of another lattice only if the bijector is local."""
    if bijector.event_shape in (None, shape):
        return bijector
    return Chain(layer.on_box([0] * (len(shape) - 1), shape[1:]) for layer in bijector.layers)


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
    total = values.new_zeros(values.shape[0], *target.shape, dtype=zero_log_det(values).dtype)
    layers = bijector.layers[::-1] if inverse else bijector.layers
    for layer, _, here, needed in _shrinking(layers, lattice, box, target):
        values, log_det = _layer_on_box(layer, here, lattice).by_site(values, context, inverse)
        total = total + crop(log_det, target, here)
        values, context = crop(values, needed, here), _crop_context(context, needed, here)
    return values, total


class Around:
    """A local field bijector on a box of which only the sites of an entry change, layer by layer.

    What the layers make of the other sites is computed once. A layer then evaluates the sites that its changed inputs
    reach, and not the whole box.

    Args:
        bijector: the bijector of the whole lattice, which `is_local`.
        lattice: the lattice.
        values: values in the box, (1, C, *box.shape), of which those of the entry do not matter.
        box: the box, which has all sites that the target depends on.
        entry: the sites that change.
        target: the box of the results: the entry, grown by what all layers read.
        context: the context of the event, (1, K) or (1, K, *box.shape); None for a bijector without context.
    """

    def __init__(
        self, bijector: Bijector, lattice: Lattice, values: Tensor, box: Box, entry: Box, target: Box,
        context: Tensor | None = None,
    ) -> None:  # fmt: skip
        self.box, self.entry, self.target = box, entry, target
        self._layers: list[tuple[Bijector, Box, Box, Tensor, Tensor]] = []
        changed = entry
        with torch.no_grad():
            for layer, radius, here, needed in _shrinking(bijector.layers, lattice, box, target):
                reached = changed.grown(radius, lattice).overlap(here)
                read = reached.grown(radius, lattice).overlap(here)
                outputs, log_det = _layer_on_box(layer, here, lattice).by_site(values, context, False)
                constants = crop(values, read, here), crop(log_det, target, here)
                self._layers.append((_layer_on_box(layer, read, lattice), reached, read, *constants))
                values, context = crop(outputs, needed, here), _crop_context(context, needed, here)
                changed = reached
        self._outputs = values

    def __call__(self, values: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From values in the box (B, C, *box.shape) to values in the target, and the log-det of each of its sites."""
        changed, x = self.entry, crop(values, self.entry, self.box)
        total = x.new_zeros(x.shape[0], *self.target.shape, dtype=zero_log_det(x).dtype)
        for layer, reached, read, inputs, log_det in self._layers:
            x = _paste(x, changed, inputs, read)
            x, change = layer.by_site(x, _crop_context(context, read, self.box), False)
            x, changed = crop(x, reached, read), reached
            total = total + _paste(crop(change, reached, read), reached, log_det, self.target)
        return _paste(x, changed, self._outputs, self.target), total


def _layer_on_box(layer: Bijector, box: Box, lattice: Lattice) -> Bijector:
    """A layer on a box of the lattice."""
    ends = [*zip(box.start, box.stop, lattice.shape, lattice.periodic, strict=True)]
    cut = [end for a, b, n, wraps in ends[::-1] for end in ((b - a != n,) * 2 if wraps else (a > 0, b < n))]
    return layer.on_box(box.start, box.shape, cut)


def _shrinking(
    layers: Sequence[Bijector], lattice: Lattice, box: Box, target: Box
) -> Iterator[tuple[Bijector, list[int], Box, Box]]:
    """Each layer, how many sites it reads on each side, its box, and the part of it that the layers after it need."""
    radii = [[width // 2 for width in layer.receptive_kernel or (1,) * lattice.dim] for layer in layers]
    behind = accumulate(radii[:0:-1], lambda needed, radius: needed.grown(radius, lattice), initial=target)
    for layer, radius, needed in zip(layers, radii, [*behind][::-1], strict=True):
        yield layer, radius, box, needed.overlap(box)
        box = needed.overlap(box)


def _crop_context(context: Tensor | None, box: Box, outer: Box) -> Tensor | None:
    """The context of the events in a box."""
    return context if context is None or context.ndim == 2 else crop(context, box, outer)


def _paste(values: Tensor, box: Box, into: Tensor, outer: Box) -> Tensor:
    """The values of a box among those of a box around it, (1, ..., *outer.shape)."""
    if box == outer:
        return values
    ends = zip(box.start, box.stop, outer.start, outer.stop, strict=True)
    widths = [width for a, b, first, last in reversed(list(ends)) for width in (a - first, last - b)]
    inside = pad(torch.ones(box.shape, dtype=torch.bool, device=values.device), widths)
    return torch.where(inside, pad(values, widths), into)


def crop(values: Tensor, box: Box, outer: Box) -> Tensor:
    """The values of a box, from those of a box around it, (..., *sites)."""
    for axis, (start, stop, first) in enumerate(zip(box.start, box.stop, outer.start, strict=True), -len(box.start)):
        values = values.narrow(axis, start - first, stop - start)
    return values
