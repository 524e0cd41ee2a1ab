"""A pass over a large image on disk, in arrays of zarr: the lattices that are needed next, and the maps of log p."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera._utils.files import write_atomically
from mera.cones.stages import Stage, run_stage, stages_of
from mera.graph.bijectors_of_plan import structure_of
from mera.graph.boxes import Box, pieces
from mera.graph.lattice import Lattice
from mera.graph.runner import Runner

FACTS = "facts.json"
"""The name of the file of facts."""


@contextmanager
def intact(path: Path, name: str) -> Iterator[None]:
    """A context in which an error while an array or a file of a store is read becomes a ValueError with their names."""
    try:
        yield
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, RuntimeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError("an intact store", f"{name}: {error}", where=str(path)) from error


def check_store(path: Path) -> None:
    """Raise a ValueError if a folder holds no store."""
    if not (path / FACTS).is_file():
        raise InputError("the folder of a store that stream made", "none", where=str(path))


def read_facts(path: Path) -> dict[str, Any]:
    """What the store in a folder was made for; a ValueError if the folder holds no store, or a damaged one."""
    check_store(path)
    with intact(path, FACTS):
        facts: dict[str, Any] = json.loads((path / FACTS).read_text())
    return facts


class Store:
    """The store that `Flow.stream` makes.

    Lattices, at the entries of stages, are (C, *sites), in the dtype of the flow; lattice 0 holds the data in the
    flow's own space. A lattice is removed when the next one is complete. Maps, one for each level of latents, are
    (*sites of the entry of its stage), in nats. `parts` has the sum of the map over each tile in double precision, and
    NaN for a tile that is not done; first, for the data, the log-det of the preprocessing. Chunks have checksums.
    `totals` has the sums of the parts, and NaN until all tiles are done.

    Args:
        path: the folder.
        runner: the flow's plan with its bijectors.
        context: the encoded context of the image, (1, K); None for a flow without context.
        facts: what the store is made for; None to open a store that exists.

    Raises:
        ValueError: if the folder holds no store, or one of something else.
    """

    def __init__(
        self, path: Path, runner: Runner, context: Tensor | None = None, facts: Mapping[str, Any] | None = None
    ) -> None:
        self.path, self.stages, self.runner = path, stages_of(runner), runner
        self.context = None if context is None else context.to(runner.reference.dtype)
        zarr: Any = import_module("zarr")  # late: it takes a third of a second
        if facts is not None and not (path / FACTS).exists():
            self.facts = dict(facts)
            self._create(zarr)
        self.facts = read_facts(path)
        with intact(path, "arrays"):
            group = zarr.open_group(str(path / "arrays"), mode="r+")
            levels = range(len(runner.plan.latents))
            self.lattices = {stage.number: group.get(f"lattice{stage.number}") for stage in self.stages}
            self.maps = [group[f"map{level}"] for level in levels]
            self.parts = [group["parts_of_data"], *(group[f"parts{level}"] for level in levels)]
            self.totals = group["totals"]
        self.folder = group.store  # lives as long as any of its arrays

    def tile(self, stage: Stage) -> tuple[int, ...]:
        """The edges of a tile of the outputs of a stage."""
        return tuple(max(1, self.facts["tile"] // c) for c in stage.cell)

    def lattice_of(self, level: int) -> Lattice:
        """The lattice of the map of a level: that at the entry of the stage in which its latents leave."""
        return next(stage.lattice for stage in self.stages if level in dict(stage.leaving))

    def read(self, array: Any, box: Box) -> Tensor:
        """The values of an array in a box of sites, (C, *sites) or (*sites).

        Raises:
            ValueError: if values are missing or damaged.
        """
        if array is None:
            raise InputError("an intact store", "a lattice that is missing", where=str(self.path))
        channels = array.shape[: array.ndim - len(box.start)]
        values = np.empty((*channels, *box.shape), dtype=array.dtype)
        every = (slice(None),) * len(channels)
        with intact(self.path, array.name):
            for here, there in pieces(box, array.shape[len(channels) :]):
                values[(*every, *there)] = array[(*every, *here)]
        if np.isnan(values.sum(dtype=np.float64)):
            raise InputError(
                "an intact store", f"values of {array.name} that are missing or not finite", where=str(self.path)
            )
        return torch.from_numpy(values)

    def values(self, array: Any) -> np.ndarray:
        """All values of a small array; a ValueError if it is damaged."""
        with intact(self.path, array.name):
            return np.asarray(array[:])

    def is_done(self, number: int, index: int) -> bool:
        """Whether a tile of a stage is done; of the data if the number is -1."""
        parts = [1 + level for level, _ in self.stages[number].leaving] if number >= 0 else [0]
        with intact(self.path, self.parts[parts[-1]].name):
            return not any(np.isnan(self.parts[part][index]) for part in parts)

    def remove(self, number: int) -> None:
        """Remove the lattice at the entry of a stage, which no tile needs any more."""
        shutil.rmtree(self.path / "arrays" / f"lattice{number}", ignore_errors=True)
        self.lattices[number] = None

    def write(self, array: Any, box: Box, values: Tensor) -> None:
        """Write values into a box of sites."""
        every = (slice(None),) * (array.ndim - len(box.start))
        data = values.detach().cpu().numpy()
        for here, there in pieces(box, array.shape[len(every) :]):
            array[(*every, *here)] = data[(*every, *there)]

    def _create(self, zarr: Any) -> None:
        """Make all arrays, then the file of facts, which makes them a store."""
        tile, dtype = self.facts["tile"], self.facts["dtype"]
        group = zarr.open_group(str(self.path / "arrays"), mode="w")

        def make(name: str, shape: tuple[int, ...], chunks: tuple[int, ...], dtype: str) -> None:
            group.create_array(
                name, shape=shape, chunks=tuple(min(c, n) for c, n in zip(chunks, shape, strict=True)), dtype=dtype,
                fill_value=np.nan, compressors=[zarr.codecs.Crc32cCodec()], filters=None,
            )  # fmt: skip

        entry: tuple[int, ...] = (tile,) * len(self.stages[0].lattice.shape)  # the tiles that write the lattice
        for stage in self.stages:
            sites, edge = stage.lattice.shape, self.tile(stage)
            make(f"lattice{stage.number}", stage.lattice.event_shape, (stage.lattice.channels, *entry), dtype)
            counts = math.prod(-(-n // e) for n, e in zip(stage.coarse, edge, strict=True))
            for level, _ in stage.leaving:
                make(f"map{level}", sites, tuple(e * c for e, c in zip(edge, stage.cell, strict=True)), dtype)
                make(f"parts{level}", (counts,), (1,), "float64")
            entry = edge
        counts = math.prod(-(-n // tile) for n in self.stages[0].lattice.shape)
        make("parts_of_data", (counts,), (1,), "float64")
        levels = len(self.runner.plan.latents)
        make("totals", (1 + levels,), (1 + levels,), "float64")
        write_atomically(self.path / FACTS, json.dumps(self.facts).encode())

    def sums(self) -> list[float]:
        """The log-det of the preprocessing, and the part of log p of each level, in nats; NaN until all are done."""
        return self.values(self.totals).tolist()

    @property
    def is_complete(self) -> bool:
        """Whether all tiles are done."""
        return not np.isnan(self.values(self.totals)).any()

    @torch.no_grad()
    def compute(self, stage: Stage, box: Box) -> tuple[Tensor, dict[int, Tensor]]:
        """Compute a box of the outputs of a stage from the lattice at its entry; see `run_stage`."""
        block = self.read(self.lattices[stage.number], stage.needed(box)[0]).to(self.runner.reference)
        return run_stage(stage, self.runner, block, box, self.context)

    def check_complete(self) -> None:
        """Raise a ValueError if the folder was deleted, as zarr would read NaN, or if tiles are missing."""
        check_store(self.path)
        if not self.is_complete:
            raise InputError("a store whose tiles are all done; stream it with resume=True", "tiles that are missing")


def fingerprint(runner: Runner) -> str:
    """A short text that changes with the plan, and with any parameter or option of the bijectors of a flow."""
    digest = hashlib.sha256(repr((runner.plan, runner.prior, runner.reference.dtype)).encode())
    for name, module in [*sorted(runner.bijectors.items()), ("contexts", runner.context_encoder)]:
        digest.update(f"{name}: {structure_of(module)}".encode())
        for value in (*module.parameters(), *module.buffers()):
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]
