"""The forward pass of a large image, in files of numpy: the values that are needed next, and the maps of log p."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mera._utils.checks import check_count
from mera._utils.errors import InputError
from mera._utils.files import sum_of
from mera._utils.manifest import DAMAGED
from mera.bijectors.boxes import Box, tiles
from mera.bijectors.local import run_on_box
from mera.executor.passes import spread_evenly
from mera.executor.plan_module import PlanModule
from mera.graph.lattice import Lattice
from mera.graph.plan import Step

POOLED = 512
"""The edge of the tiles in which maps are pooled."""


class Streamed:
    """The forward pass of a large image, and its folder of arrays, which `Flow.stream` fills step by step of the plan.

    A value between two steps is (C, *sites), in the dtype of the flow; value 0 is the data in the flow's own space, and
    a value is removed when the step that reads it is done. Maps, one for each level of latents, are in nats, on the
    lattice at which the level begins: the data, or what the cut before the level leaves. Each array is a file .npy.

    Args:
        path: the folder.
        flow: the flow.
        is_image: whether the source has integers of 8 bits.
        context: the encoded context of the image, (1, K); None for a flow without context.

    Attributes:
        lattices: for each level, the lattice of its map.
        parts: for each level, its parts of log p in nats.
        change: the log-dets of the preprocessing of images, in nats.
    """

    def __init__(self, path: Path, flow: PlanModule, is_image: bool, context: Tensor | None = None) -> None:
        self.path, self.flow, self.is_image = path, flow, is_image
        self.context = None if context is None else context.to(flow.reference.dtype)
        self.parts: list[list[float]] = [[] for _ in flow.plan.latents]
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

    @property
    def log_prob(self) -> float:
        """log p of the data in the flow's own space, in nats."""
        return math.fsum(self.levels)

    @property
    def bits_per_dim(self) -> float:
        """Minus log p of the integers of the image, per variable, in bits; NaN if the source had floats."""
        bits = -(self.log_prob + math.fsum(self.change)) / (self.flow.plan.input.variables * math.log(2))
        return bits if self.is_image else math.nan

    @property
    def levels(self) -> list[float]:
        """The part of log p of each level of latents, finest first, in nats; the sum is log p."""
        return [math.fsum(parts) for parts in self.parts]

    def map(self, level: int) -> Any:
        """The part of log p of a level, (*sites of the level), in nats: an array of numpy that is read from its file.

        The log-det of a bijector counts for the finest level of latents that are computed from its values, and is
        spread evenly over the sites of its patch, the log-density of latents over the sites of their cell. The sum over
        the sites is the level's part of log p, as in `analysis.decompose`, whose maps spread the values over pixels.

        Args:
            level: the level, 0 for the finest.

        Raises:
            ValueError: if the level does not exist, or the file has changed since the stream wrote it.
            FileNotFoundError: if the folder is gone.
        """
        return np.load(self.check_map(self.flow.plan.check_level(level)), mmap_mode="c")

    def even_map(self, level: int, box: Box | None = None) -> Tensor:
        """The map of a level, (*sites), averaged over sites that are drawn in turns, in double precision.

        A convolution that draws sites in turns, as the squares of a checkerboard, codes the second ones given the
        first ones, and they cost less wherever they lie. A value is therefore the mean of itself and of the mean of its
        neighbours in each direction, at the distance of the sites that take turns. Borders are reflected.

        Args:
            level: the level, 0 for the finest.
            box: the sites; None for all.
        """
        lattice = self.lattices[self.flow.plan.check_level(level)]
        steps = [
            step.apply.lattice.shape
            for step in self.flow.plan.bijections
            if step.level == level and step.apply.is_field
        ]
        turns = sorted({tuple(n // m for n, m in zip(lattice.shape, shape, strict=True)) for shape in steps})
        if box is None:
            self.check_map(level)
            box = Box.whole(lattice.shape)
        reach = [sum(turn[axis] for turn in turns) for axis in range(lattice.dim)]
        spans = list(zip(box.start, box.stop, lattice.shape, reach, strict=True))
        outer = [np.arange(max(start - r, 0), min(stop + r, n)) for start, stop, n, r in spans]
        array = np.load(self.file(f"map{level}"), mmap_mode="r")
        values = torch.from_numpy(array[tuple(slice(at[0], at[-1] + 1) for at in outer)].astype(np.float64))
        for turn in turns:
            around = sum(_shifted(values, axis, step * edge) for axis, edge in enumerate(turn) for step in (1, -1))
            values = values / 2 + around / (4 * lattice.dim)
        inside = zip(box.start, box.stop, outer, strict=True)
        return values[tuple(slice(start - int(at[0]), stop - int(at[0])) for start, stop, at in inside)]

    def bits(self, edge: int = 256, shape: Sequence[int] | None = None, even: bool = False) -> Tensor:
        """The bits per dimension of each level in the cells of a coarse grid, for a picture.

        The preprocessing of images, a change of units, is shared among the levels by the numbers of their latents: bits
        of a level are then those of its latents in units of grey values, and seldom negative.

        Args:
            edge: the most cells along the longest edge of the image.
            shape: the rows and columns of the image whose cells are returned, from the first on; None for all.
            even: whether maps are those of `even_map`, for a picture without the order of coding; a border keeps
                nearly its bits, and the mean changes by less than a percent.

        Returns:
            For each level, finest first, its bits in each cell per variable of the cell, (levels, *cells). The mean
            over all cells, summed over levels, is `bits_per_dim`, and for floats minus log p per variable.
        """
        channels, *whole = self.flow.plan.input.event_shape
        shape = whole if shape is None else shape
        if len(shape) != len(whole) or not all(0 < m <= n for m, n in zip(shape, whole, strict=True)):
            raise InputError(f"a shape within {tuple(whole)}", str(tuple(shape)))
        longest = min(check_count(edge, "cells of an edge"), max(whole))
        cells = [max(1, round(longest * n / max(whole))) for n in whole]
        levels = torch.stack([_pooled(self, number, cells, even) for number in range(len(self.levels))])
        if self.is_image:
            plan, units = self.flow.plan, math.fsum(self.change) / math.prod(cells)
            shares = torch.tensor([latent.lattice.variables / plan.input.variables for latent in plan.latents])
            levels = levels + units * shares.view(-1, *(1 for _ in cells))
        variables = channels * math.prod(whole) / math.prod(cells)
        inside = [slice(math.ceil(m * n / size)) for m, n, size in zip(cells, shape, whole, strict=True)]
        return -levels[:, *inside] / (variables * math.log(2))

    def __repr__(self) -> str:
        bits = f", {self.bits_per_dim:.4f} bits/dim" if self.is_image else ""
        return f"image {self.flow.plan.input}: log p {self.log_prob:.6g} nats{bits}\nmaps: {self.path}"

    def seal(self) -> None:
        """Keep the checksums of the maps, which are complete."""
        self._sums = [sum_of(self.file(f"map{level}")) for level in range(len(self.lattices))]

    def check_map(self, level: int) -> Path:
        """The file of a map, which is read once to compare its checksum."""
        path = self.file(f"map{level}")
        if sum_of(path) != self._sums[level]:
            raise InputError("a map as this stream wrote it", DAMAGED, where=str(path))
        return path

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
        """Write a box (C, *sites) of a value, or count its log-density if the value is a level of latents."""
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
        run_step = self.flow.step_function(lambda _: None if context is None else context.expand(len(events), -1))
        events, log_det = run_step(step, events)
        by_site = spread_evenly(operation, log_det.double(), 1)
        return box.crop(operation.scatter(events, outer, 1), here), box.crop(by_site, here)

    def _add(self, level: int, lattice: Lattice, box: Box, nats: Tensor) -> None:
        """Add nats (n, *sites) in a box of a lattice to the map of a level, spread evenly over the cells of sites."""
        nats = nats.sum(0, dtype=torch.float64)
        self.parts[level].append(nats.sum().item())
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


def _shifted(values: Tensor, axis: int, step: int) -> Tensor:
    """The neighbours of values at a distance along an axis; beyond a border, those at the same distance within."""
    n = values.shape[axis]
    at = torch.arange(n) + step
    at = torch.where((at < 0) | (at >= n), at - 2 * step, at)
    return values.index_select(axis, at.clamp(0, n - 1))


def _pooled(streamed: Streamed, number: int, cells: list[int], even: bool) -> Tensor:
    """Sum a map of log p over a coarse grid; the value of a site is divided among the cells that it overlaps."""
    lattice = streamed.lattices[number]
    streamed.check_map(number)
    total = torch.zeros(cells, dtype=torch.float64)
    for box in tiles(lattice, [POOLED] * lattice.dim):
        values = streamed.even_map(number, box) if even else streamed.read(f"map{number}", box).double()
        for axis, (start, stop, n, count) in enumerate(zip(box.start, box.stop, lattice.shape, cells, strict=True)):
            ends = torch.arange(start, stop + 1, dtype=torch.float64) * count / n
            edges = torch.arange(count + 1, dtype=torch.float64)
            low, high = torch.maximum(ends[:-1, None], edges[:-1]), torch.minimum(ends[1:, None], edges[1:])
            shares = (high - low).clamp(min=0)
            values = torch.tensordot(values, shares * n / count, dims=([axis], [0])).movedim(-1, axis)
        total += values
    return total


def _slices(box: Box) -> tuple[slice, ...]:
    """The slices of a box within the lattice."""
    return tuple(slice(start, stop) for start, stop in zip(box.start, box.stop, strict=True))
