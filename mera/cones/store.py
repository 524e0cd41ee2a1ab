"""A pass over a large image on disk, in files of numpy: the values that are needed next, and the maps of log p."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera.bijectors.boxes import Box
from mera.bijectors.local import run_on_box
from mera.executor.passes import spread_evenly
from mera.executor.plan_module import PlanModule
from mera.graph.lattice import Lattice
from mera.graph.plan import Step


class Store:
    """The folder of arrays that `Flow.stream` fills, step by step of the plan.

    A value between two steps is (C, *sites), in the dtype of the flow; value 0 is the data in the flow's own space, and
    a value is removed when the step that reads it is done. Maps, one for each level of latents, are in nats, on the
    lattice at which the level begins: the data, or what the cut before the level leaves. Each array is a file .npy.

    Args:
        path: the folder.
        flow: the flow.
        context: the encoded context of the image, (1, K); None for a flow without context.

    Attributes:
        lattices: for each level, the lattice of its map.
        levels: for each level, its parts of log p in nats.
        change: the log-dets of the preprocessing of images, in nats.
    """

    def __init__(self, path: Path, flow: PlanModule, context: Tensor | None = None) -> None:
        self.path, self.flow = path, flow
        self.context = None if context is None else context.to(flow.reference.dtype)
        self.levels: list[list[float]] = [[] for _ in flow.plan.latents]
        self.change: list[float] = []
        self._level_of = {latent.value: level for level, latent in enumerate(flow.plan.latents)}
        entries = {0: flow.plan.input}
        for step in flow.plan.steps:
            is_cut = len(step.targets) > 1
            for target, lattice in zip(step.targets, step.operation.outputs, strict=True):
                goes_on = is_cut and target not in self._level_of
                entries[target] = lattice if goes_on else entries[step.source]
        self.lattices = [replace(entries[latent.value], channels=1) for latent in flow.plan.latents]
        for level, lattice in enumerate(self.lattices):
            self._make(f"map{level}", lattice.shape)

    def file(self, name: str) -> Path:
        """The file of an array."""
        return self.path / f"{name}.npy"

    def read(self, name: str, box: Box) -> Tensor:
        """The values of an array in a box of sites, (C, *sites) or (*sites)."""
        array = np.load(self.file(name), mmap_mode="r")
        edges = list(zip(box.start, box.stop, array.shape[-len(box.start) :], strict=True))
        if all(start >= 0 and stop <= n for start, stop, n in edges):  # slices are faster than indices
            return torch.from_numpy(array[(..., *_slices(box))].copy())
        return torch.from_numpy(array[(..., *np.ix_(*(np.arange(start, stop) % n for start, stop, n in edges)))])

    def begin(self, targets: Sequence[int], lattices: Sequence[Lattice]) -> None:
        """Make the arrays of values that are not latents."""
        for target, lattice in zip(targets, lattices, strict=True):
            if target not in self._level_of:
                self._make(f"value{target}", lattice.event_shape)

    def put(self, value: int, lattice: Lattice, box: Box, values: Tensor) -> None:
        """Write a box (C, *sites) of a value, or count its log-density if the value is a level of latents.

        Raises:
            ValueError: if the values are not finite.
        """
        if not values.isfinite().all():
            raise InputError("finite values", f"infinite values or NaN in the box {box.start} to {box.stop} of {value}")
        if value in self._level_of:
            self._add(self._level_of[value], lattice, box, self.flow.prior.log_density(values[None])[0])
        else:
            np.load(self.file(f"value{value}"), mmap_mode="r+")[(..., *_slices(box))] = values.cpu().numpy()

    @torch.no_grad()
    def compute(self, step: Step, box: Box) -> None:
        """Compute a box of the outputs of a step."""
        operation, here = step.operation, step.operation.needed(box)
        values = self.read(f"value{step.source}", here).to(self.flow.reference)[None]
        if step.module:
            changed, by_site = self._apply(step, values, here, box)
            self._add(step.level, operation.lattice, box, by_site)
            outputs: tuple[Tensor, ...] = (changed,)
        else:
            outputs = step.move.forward(values)
        for target, lattice, output in zip(step.targets, operation.outputs, outputs, strict=True):
            self.put(target, lattice, box, output[0])

    def _apply(self, step: Step, values: Tensor, here: Box, box: Box) -> tuple[Tensor, Tensor]:
        """Apply the bijector of a step to values (1, C, *sites) in a box; the values and log-dets in a box within."""
        bijector, operation = self.flow.bijector(step), step.apply.on_box(here)
        context = None if bijector.context_shape is None else self.context
        if step.apply.is_field:
            return run_on_box(bijector, step.apply.lattice, values, here, box, context)
        if not operation.events:
            return box.crop(values, here), values.new_zeros(1, *box.shape)
        events, outer = operation.gather(values)
        transform = self.flow.transform(lambda _: None if context is None else context.expand(len(events), -1))
        events, log_det = transform(step, events)
        by_site = spread_evenly(operation, log_det.double(), 1)
        return box.crop(operation.scatter(events, outer, 1), here), box.crop(by_site, here)

    def _add(self, level: int, lattice: Lattice, box: Box, nats: Tensor) -> None:
        """Add nats (n, *sites) in a box of a lattice to the map of a level, spread evenly over the cells of sites."""
        nats = nats.sum(0, dtype=torch.float64)
        self.levels[level].append(nats.sum().item())
        cell = [fine // coarse for fine, coarse in zip(self.lattices[level].shape, lattice.shape, strict=True)]
        for axis, edge in enumerate(cell):
            nats = nats.repeat_interleave(edge, axis)
        array = np.load(self.file(f"map{level}"), mmap_mode="r+")
        array[_slices(box.refined(cell))] += (nats / math.prod(cell)).cpu().numpy().astype(array.dtype)

    def _make(self, name: str, shape: Sequence[int]) -> None:
        """Make an array of zeros."""
        dtype = np.dtype(str(self.flow.reference.dtype).removeprefix("torch."))
        np.lib.format.open_memmap(self.file(name), "w+", dtype, tuple(shape))
        if hasattr(os, "posix_fallocate"):  # a full disk is an error here, and a signal in a write to a map
            with self.file(name).open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, self.file(name).stat().st_size)


def _slices(box: Box) -> tuple[slice, ...]:
    """The slices of a box within the lattice."""
    return tuple(slice(start, stop) for start, stop in zip(box.start, box.stop, strict=True))
