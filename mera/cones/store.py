"""A pass over a large image on disk, in files of numpy: the lattices that are needed next, and the maps of log p."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera._utils.files import sum_of
from mera.bijectors.boxes import Box, tiles
from mera.cones.stages import Stage, run_stage, stages_of
from mera.executor.plan_module import PlanModule
from mera.graph.lattice import Lattice

DATA = -1
"""In place of the number of a stage or of a level, the data."""


class Tile(NamedTuple):
    """A tile: the number of its stage, or `DATA`; its own number; its box of outputs; the sites of one output."""

    stage: int
    number: int
    box: Box
    weight: int


class Store:
    """The folder of arrays that `Flow.stream` fills.

    Lattices, at the entries of stages, are (C, *sites), in the dtype of the flow; lattice 0 holds the data in the
    flow's own space. A lattice is removed when the next one is complete. Maps, one for each level of latents, are
    (*sites of the entry of its stage), in nats. Each array is a file .npy, whose space is reserved at the start.

    Args:
        path: the folder.
        flow: the flow.
        tile: the edge of a tile in pixels.
        context: the encoded context of the image, (1, K); None for a flow without context.

    Attributes:
        parts: for each level, and for `DATA`, the sums of its maps, or the log-dets of the preprocessing, in nats, one
            for each tile that is done.
        lock: the lock of a temporary folder, which lasts as long as the store; None for a folder of the user.
    """

    def __init__(self, path: Path, flow: PlanModule, tile: int, context: Tensor | None = None) -> None:
        self.path, self.flow, self.tile, self.stages = path, flow, tile, stages_of(flow)
        self.context = None if context is None else context.to(flow.reference.dtype)
        self.parts: dict[int, list[float]] = {level: [] for level in range(DATA, len(flow.plan.latents))}
        self.lock: object = None
        self._sums: dict[str, str] = {}
        self._checked: dict[str, tuple[int, int]] = {}
        dtype = np.dtype(str(flow.reference.dtype).removeprefix("torch."))
        for stage in self.stages:
            shapes = {f"lattice{stage.number}": stage.lattice.event_shape}
            shapes |= {f"map{level}": stage.lattice.shape for level, _ in stage.leaving}
            for name, shape in shapes.items():
                np.lib.format.open_memmap(self.file(name), "w+", dtype, shape)
                if hasattr(os, "posix_fallocate"):  # a full disk is an error here, and a signal in a write to a map
                    with self.file(name).open("r+b") as file:
                        os.posix_fallocate(file.fileno(), 0, self.file(name).stat().st_size)

    def file(self, name: str) -> Path:
        """The file of an array."""
        return self.path / f"{name}.npy"

    def work(self) -> Iterator[Tile]:
        """All tiles, in the order in which they are computed."""
        data = self.stages[0].lattice
        for i, box in enumerate(tiles(data, [self.tile] * data.dim)):
            yield Tile(DATA, i, box, 0)
        for stage in self.stages:
            lattice = Lattice(1, stage.coarse, stage.lattice.periodic)
            for i, box in enumerate(tiles(lattice, [max(1, self.tile // c) for c in stage.cell])):
                yield Tile(stage.number, i, box, math.prod(stage.cell))

    def sums(self) -> list[float]:
        """The log-det of the preprocessing, and the part of log p of each level, in nats."""
        return [math.fsum(self.parts[level]) for level in range(DATA, len(self.flow.plan.latents))]

    def stage_of(self, level: int) -> Stage:
        """The stage in which the latents of a level leave; the map of the level is on the lattice at its entry."""
        return next(stage for stage in self.stages if level in dict(stage.leaving))

    def read(self, name: str, box: Box) -> Tensor:
        """The values of an array in a box of sites, (C, *sites) or (*sites)."""
        array = np.load(self.file(name), mmap_mode="r")
        edges = zip(box.start, box.stop, array.shape[-len(box.start) :], strict=True)
        places = np.ix_(*(np.arange(start, stop) % n for start, stop, n in edges))
        return torch.from_numpy(array[(..., *places)])

    def write(self, name: str, box: Box, values: Tensor) -> None:
        """Write the values of a tile into an array.

        Raises:
            ValueError: if the values are not finite.
        """
        if not values.isfinite().all():
            got = f"infinite values or NaN in the box {box.start} to {box.stop} of {name}"
            raise InputError("finite values", got)
        array = np.load(self.file(name), mmap_mode="r+")
        array[(..., *(slice(a, b) for a, b in zip(box.start, box.stop, strict=True)))] = values.detach().cpu().numpy()

    def seal(self) -> None:
        """Keep the checksums of the maps, which are complete."""
        self._sums = {path.name: sum_of(path) for path in self.path.glob("map*.npy")}

    def check(self, name: str) -> Path:
        """The file of a complete map, which must be as it was written; it is read again if the system says it changed.

        Raises:
            FileNotFoundError: if the file is gone.
            ValueError: if its content is another one.
        """
        path = self.file(name)
        state = path.stat().st_mtime_ns, path.stat().st_ino
        if self._checked.get(name) != state:
            if sum_of(path) != self._sums[path.name]:
                raise InputError("the map that this stream wrote", "one that was changed or replaced", where=str(path))
            self._checked[name] = state
        return path

    @torch.no_grad()
    def compute(self, tile: Tile) -> None:
        """Compute a tile of the outputs of a stage from the lattice at its entry, and write it; see `run_stage`."""
        stage = self.stages[tile.stage]
        block = self.read(f"lattice{tile.stage}", stage.needed(tile.box)[0]).to(self.flow.reference)
        outputs, maps = run_stage(stage, self.flow, block, tile.box, self.context)
        if stage.kept is not None:
            self.write(f"lattice{tile.stage + 1}", tile.box, outputs[stage.kept])
        for level, values in maps.items():
            written = values.to(outputs)
            self.write(f"map{level}", tile.box.refined(stage.cell), written)
            self.parts[level].append(written.double().sum().item())
