"""A pass over a large image on disk, in arrays of zarr: the lattices that are needed next, and the maps of log p."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera._utils.files import write_atomically
from mera._utils.manifest import Manifest
from mera.cones.stages import Stage, run_stage, stages_of
from mera.graph.bijectors_of_plan import structure_of
from mera.graph.boxes import Box, pieces, tiles
from mera.graph.lattice import Lattice
from mera.graph.runner import Runner

JOURNAL = "tiles.jsonl"
"""The file of the tiles that are done."""
DATA = -1
"""In place of the number of a stage, the tiles of the data."""


class Tile(NamedTuple):
    """A tile: the number of its stage, or `DATA`; its own number; its box of outputs; the sites of one output."""

    stage: int
    number: int
    box: Box
    weight: int


class Store:
    """The store that `Flow.stream` makes.

    Lattices, at the entries of stages, are (C, *sites), in the dtype of the flow; lattice 0 holds the data in the
    flow's own space. A lattice is removed when the next one is complete. Maps, one for each level of latents, are
    (*sites of the entry of its stage), in nats. What a tile computes is one file of each array. The journal has a line
    for each tile that is done: the sums of its maps in double precision, or the log-det of the preprocessing, and a
    digest of each of its files by name, so that a file that is damaged, missing or another's is never read as values.

    Args:
        path: the folder, which has a manifest.
        runner: the flow's plan with its bijectors.
        context: the encoded context of the image, (1, K); None for a flow without context.
    """

    def __init__(self, path: Path, runner: Runner, context: Tensor | None = None) -> None:
        self.manifest, self.stages, self.runner = Manifest(path, "stream"), stages_of(runner), runner
        self.path = path
        self.context = None if context is None else context.to(runner.reference.dtype)
        self.facts = self.manifest.facts()
        zarr: Any = import_module("zarr")  # late: it takes a third of a second
        self.folder = zarr.storage.LocalStore(path / "arrays")  # lives as long as any of its arrays
        self.work = list(self._tiles())
        self.done = {tuple(line["tile"]): line for line in self.manifest.entries(JOURNAL)}
        self.digests = {file: value for line in self.done.values() for file, value in line["files"].items()}

    def edges(self, stage: Stage) -> tuple[int, ...]:
        """The edges of a tile of the outputs of a stage."""
        return tuple(max(1, self.facts["tile"] // c) for c in stage.cell)

    def _tiles(self) -> Iterator[Tile]:
        """All tiles, in the order in which they are computed."""
        data = self.stages[0].lattice
        for i, box in enumerate(tiles(data, [self.facts["tile"]] * data.dim)):
            yield Tile(DATA, i, box, 0)
        for stage in self.stages:
            lattice = Lattice(1, stage.coarse, stage.lattice.periodic)
            for i, box in enumerate(tiles(lattice, self.edges(stage))):
                yield Tile(stage.number, i, box, math.prod(stage.cell))

    # Finished tiles

    def add(self, tile: Tile, sums: dict[str, float], files: dict[str, str]) -> None:
        """Write down that a tile is done."""
        line = {"tile": [tile.stage, tile.number], "sums": sums, "files": files}
        self.manifest.append(JOURNAL, line)
        self.done[tile.stage, tile.number] = line
        self.digests |= files

    def verify(self) -> None:
        """Forget the tiles of which a file is damaged or missing, and those whose lattice is needed to repeat them."""
        valid, needed = {}, False
        for _, stage in itertools.groupby(reversed(self.work), key=lambda tile: tile.stage):
            undone = False
            for tile in stage:
                line = self.done.get((tile.stage, tile.number), {"files": [""]})
                if all(self._is_intact(file) for file in line["files"] if needed or "lattice" not in file):
                    valid[tile.stage, tile.number] = line
                else:
                    undone = True
            needed = undone
        self.done = valid
        self.manifest.rewrite(JOURNAL, valid.values())

    def sums(self) -> list[float]:
        """The log-det of the preprocessing, and the part of log p of each level, in nats.

        Raises:
            FileNotFoundError: if the folder was deleted.
            ValueError: if tiles are not done.
        """
        self.manifest.facts()
        if len(self.done) < len(self.work):
            raise InputError("a store whose tiles are all done; stream it with resume=True", "tiles that are missing")
        names = ["data", *map(str, range(len(self.runner.plan.latents)))]
        return [math.fsum(line["sums"].get(name, 0.0) for line in self.done.values()) for name in names]

    # Arrays

    def stage_of(self, level: int) -> Stage:
        """The stage in which the latents of a level leave; the map of the level is on the lattice at its entry."""
        return next(stage for stage in self.stages if level in dict(stage.leaving))

    def _form(self, name: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The shape of an array, and that of the part of it in one file."""
        number = int(name.removeprefix("lattice").removeprefix("map"))
        if name.startswith("lattice"):
            lattice = self.stages[number].lattice
            edges = self.edges(self.stages[number - 1]) if number else (self.facts["tile"],) * lattice.dim
            return lattice.event_shape, (lattice.channels, *edges)
        stage = self.stage_of(number)
        return stage.lattice.shape, tuple(e * c for e, c in zip(self.edges(stage), stage.cell, strict=True))

    def array(self, name: str) -> Any:
        """The array of a name; its description, of which nothing is read, is written if it is not as it must be."""
        shape, parts = self._form(name)
        description = {
            "zarr_format": 3, "node_type": "array", "shape": shape, "data_type": self.facts["dtype"],
            "chunk_grid": {
                "name": "regular",
                "configuration": {"chunk_shape": [min(c, n) for c, n in zip(parts, shape, strict=True)]},
            },
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": "NaN", "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
            "attributes": {},
        }  # fmt: skip
        path, content = self.path / "arrays" / name / "zarr.json", json.dumps(description).encode()
        if not path.is_file() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content)
        zarr: Any = import_module("zarr")
        return zarr.open_array(self.folder, path=name, mode="r+", zarr_format=3)

    def intact(self, name: str) -> Any:
        """The array of a name, all of whose files were checked.

        Raises:
            ValueError: if one of them is damaged or missing.
        """
        self._check(file for file in self.digests if file.startswith(f"arrays/{name}/"))
        return self.array(name)

    def read(self, name: str, box: Box) -> Tensor:
        """The values of an array in a box of sites, (C, *sites) or (*sites).

        Raises:
            ValueError: if a file with some of them is damaged or missing.
        """
        array = self.array(name)
        channels = array.shape[: array.ndim - len(box.start)]
        values = np.empty((*channels, *box.shape), dtype=array.dtype)
        every = (slice(None),) * len(channels)
        for here, there in pieces(box, array.shape[len(channels) :]):
            edges = array.chunks[len(channels) :]
            ranges = [range(s.start // edge, -(-s.stop // edge)) for s, edge in zip(here, edges, strict=True)]
            self._check(_file(name, (0,) * len(channels) + place) for place in itertools.product(*ranges))
            values[(*every, *there)] = array[(*every, *here)]
        return torch.from_numpy(values)

    def write(self, name: str, box: Box, values: Tensor) -> dict[str, str]:
        """Write the values of a tile into an array; returns the file, with its digest.

        Raises:
            ValueError: if the values are not finite.
        """
        if not values.isfinite().all():
            got = f"infinite values or NaN in the box {box.start} to {box.stop} of {name}"
            raise InputError("finite values", got)
        array, data = self.array(name), values.detach().cpu().numpy()
        start = (0,) * (array.ndim - len(box.start)) + box.start
        array[tuple(slice(a, a + n) for a, n in zip(start, data.shape, strict=True))] = data
        file = _file(name, tuple(a // edge for a, edge in zip(start, array.chunks, strict=True)))
        return {file: _digest(self.path / file)}

    def _is_intact(self, file: str) -> bool:
        return file in self.digests and _digest(self.path / file) == self.digests[file]

    def _check(self, files: Iterable[str]) -> None:
        """Refuse files that are not as they were written."""
        for file in files:
            if not self._is_intact(file):
                got = "one that is damaged or missing; stream it again with resume=True"
                raise InputError("a file as mera wrote it for this stream", got, where=str(self.path / file))

    @torch.no_grad()
    def compute(self, tile: Tile) -> None:
        """Compute a tile of the outputs of a stage from the lattice at its entry, and write it; see `run_stage`."""
        stage = self.stages[tile.stage]
        block = self.read(f"lattice{tile.stage}", stage.needed(tile.box)[0]).to(self.runner.reference)
        outputs, maps = run_stage(stage, self.runner, block, tile.box, self.context)
        files = {} if stage.kept is None else self.write(f"lattice{tile.stage + 1}", tile.box, outputs[stage.kept])
        sums = {}
        for level, values in maps.items():
            written = values.to(outputs)
            files |= self.write(f"map{level}", tile.box.refined(stage.cell), written)
            sums[str(level)] = written.double().sum().item()
        self.add(tile, sums, files)


def fingerprint(runner: Runner) -> str:
    """A short text that changes with the plan, and with any parameter or option of the bijectors of a flow."""
    digest = hashlib.sha256(repr((runner.plan, runner.prior, runner.reference.dtype)).encode())
    for name, module in [*sorted(runner.bijectors.items()), ("contexts", runner.context_encoder)]:
        digest.update(f"{name}: {structure_of(module)}".encode())
        for value in (*module.parameters(), *module.buffers()):
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


def _file(name: str, place: tuple[int, ...]) -> str:
    """The name of the file of a part of an array, as zarr names it."""
    return "/".join(("arrays", name, "c", *map(str, place)))


def _digest(file: Path) -> str:
    """A digest of the content of a file; nothing if it cannot be read."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()[:32]
    except OSError:
        return ""
