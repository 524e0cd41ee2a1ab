"""What a restriction needs to know of a large image, read from its store: only the cone is read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mera.cones.stages import Events, Stage
from mera.cones.store import Store
from mera.cones.subplan import PartialStep, Subplan
from mera.cones.surroundings import Constants, constants_of
from mera.graph.boxes import Box, hull
from mera.graph.indexing import ravel
from mera.graph.lattice import Lattice
from mera.graph.resize import period

MARGIN = 8
"""The least number of sites around a region in its window."""


class StoredImage:
    """An image in a store; see `mera.cones.surroundings.WholeImage` for its methods.

    Args:
        store: the store.

    Raises:
        ValueError: if the store is not complete.
    """

    def __init__(self, store: Store) -> None:
        store.check_complete()
        self.store = store

    def view(self, sites: Tensor) -> tuple[Tensor, Tensor]:
        """A window around sites, with the edges of a lattice that fits the flow; and the sites' indices in it, (n,)."""
        lattice = self.store.runner.plan.input
        coordinates = torch.unravel_index(sites, lattice.shape)
        around = hull([values.unique().tolist() for values in coordinates], lattice)
        spans = []
        sizes = zip(around.start, around.stop, lattice.shape, period(self.store.runner.plan), strict=True)
        for (start, stop, n, unit), wraps in zip(sizes, lattice.periodic, strict=True):
            edge = min(n, -(-(stop - start + 2 * MARGIN) // unit) * unit)
            start -= (edge - (stop - start)) // 2
            start = start if wraps else min(max(start, 0), n - edge)
            spans.append((start, start + edge))
        box = Box.of(spans)
        block = self.store.read(self.store.lattices[0], box).to(self.store.runner.reference)[None]
        return block, ravel(_relative(coordinates, box.start, lattice.shape), box.shape).to(block.device)

    def contexts_of(self, partial: PartialStep) -> Tensor | None:
        """The contexts of the events of a partial step: that of the image."""
        context = self.store.context
        if context is None or self.store.runner.bijector(partial.step).context_shape is None:
            return None
        return context.expand(len(partial.positions), -1)

    @torch.no_grad()
    def of(self, subplan: Subplan) -> Constants:
        """All values that do not change; see `WholeImage.of`.

        The contribution of all events and latents outside of the subplan is that of the whole image less that of the
        subplan, in double precision.
        """
        runner = self.store.runner
        rest = torch.tensor([math.fsum(self.store.sums()[1:])], dtype=torch.float64, device=runner.reference.device)
        constants: list[Tensor] = []
        for stage in self.store.stages:
            partials = [partial for partial in subplan.steps if partial.step in stage.steps]
            if not partials:
                continue
            out = _outputs_around(stage, partials)
            events = {found.step: found for found in self.store.compute(stage, out).events}
            for partial in partials:
                found = events[partial.step]
                if partial.step.apply.is_field:
                    shape = partial.step.apply.lattice.shape
                    whole = Box.of((0, n) for n in shape)
                    _, core, box = partial.boxes or (whole, whole, whole)
                    constants.append(constants_of(partial, box.take(found.inputs, found.box, shape)))
                    rest -= core.take(found.log_det, found.box, shape).sum()
                    continue
                touched = _rows(partial, found)
                constants.append(constants_of(partial, found.inputs[touched]))
                rest -= found.log_det[touched].sum()
        latents = []
        for level, (latent, part) in enumerate(zip(subplan.plan.latents, subplan.levels, strict=True)):
            values = self._values_at(self.store.latents[level], part.sites, latent.lattice)
            latents.append(values)
            constants.append(values.flatten()[(part.source < 0).to(values.device)])
            rest -= runner.prior.log_density(values).sum(dtype=torch.float64)
        return Constants(latents, constants, rest)

    def _values_at(self, array: object, sites: Tensor, lattice: Lattice) -> Tensor:
        """The values of an array at sites with flat indices (n,), from the smallest box around them: (1, C, n)."""
        if not len(sites):
            return self.store.runner.reference.new_empty(1, lattice.channels, 0)
        coordinates = torch.unravel_index(sites, lattice.shape)
        box = hull([values.unique().tolist() for values in coordinates], lattice)
        where: Any = (slice(None), *_relative(coordinates, box.start, lattice.shape))
        return self.store.read(array, box).to(self.store.runner.reference)[where][None]


def _outputs_around(stage: Stage, partials: Sequence[PartialStep]) -> Box:
    """A box of outputs of a stage, for which all events of partial steps of the stage are computed."""
    places: list[set[int]] = [set() for _ in stage.lattice.shape]
    cells = dict(zip((step.node for step in stage.steps), stage.cells[1:], strict=True))
    for partial in partials:
        tiling = partial.step.apply.event_tiling
        boxes = zip(torch.unravel_index(partial.positions, tiling.counts), tiling.box, tiling.offset, strict=True)
        axes = [corner.unique()[:, None] * width + offset + torch.arange(width) for corner, width, offset in boxes]
        if partial.boxes is not None:
            axes = [torch.arange(*ends) for ends in zip(partial.boxes.box.start, partial.boxes.box.stop, strict=True)]
        for sites, found, edge, cell in zip(axes, places, tiling.lattice.shape, cells[partial.step.node], strict=True):
            found.update(((sites % edge).unique()[:, None] * cell + torch.arange(cell)).flatten().tolist())
    return hull([sorted(values) for values in places], stage.lattice).coarsened(stage.cell)


def _rows(partial: PartialStep, found: Events) -> Tensor:
    """The rows of the events of a partial step among the events that were found in a box."""
    whole, part = partial.step.apply, partial.step.apply.within(found.box)
    starts = zip(found.box.start, part.offset, whole.offset, whole.kernel, strict=True)
    first = [(start + inside - offset) // k for start, inside, offset, k in starts]
    corners = torch.unravel_index(partial.positions, whole.patches)
    return ravel(_relative(corners, first, whole.patches), part.patches).to(found.inputs.device)


def _relative(coordinates: Sequence[Tensor], start: Sequence[int], shape: Sequence[int]) -> tuple[Tensor, ...]:
    """Coordinates in an array that begins at `start`, across periodic borders."""
    return tuple((values - first) % n for values, first, n in zip(coordinates, start, shape, strict=True))
