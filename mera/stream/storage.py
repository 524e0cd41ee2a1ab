"""The store of a large image on disk: its lattices, latents and maps of log p, in arrays of zarr."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera._utils.files import replacing
from mera.stream.boxes import Box, pieces
from mera.stream.stages import Stage

FACTS, JOURNAL = "facts.json", "update.npz"
"""The names of the file of facts, and of the file of an update that has begun."""


def zarr_module() -> Any:
    """The package zarr, which is imported only when it is needed."""
    try:
        import zarr
    except ImportError:
        raise InputError('the package zarr (pip install "mera-flow[large]")', "none") from None
    return zarr


def read_facts(path: Path) -> dict[str, Any]:
    """What the store in a folder was made for; a ValueError if the folder holds no store, or a damaged one."""
    if not (path / FACTS).is_file():
        raise InputError("the folder of a store that stream made", "none", where=str(path))
    try:
        facts: dict[str, Any] = json.loads((path / FACTS).read_text())
    except ValueError as error:
        raise InputError("an intact store", f"{FACTS}: {error}", where=str(path)) from error
    return facts


class Storage:
    """The arrays of a store.

    Lattices and latents are (C, *sites), in the dtype of the flow; lattice 0 holds the data in the flow's own space.
    Maps are (*sites of the entry of a stage), in nats. `parts` has the sum of the map over each tile in double
    precision, and NaN for a tile that is not done; first, for the data, the log-det of the preprocessing. Chunks have
    checksums. `totals` has the sums of the parts, and NaN until all tiles are done.

    Args:
        path: the folder.
        stages: the stages of the flow's plan.
        facts: what the store was made for; None to open a store that exists.

    Raises:
        ValueError: if zarr is not installed, or the folder holds no store, or one of something else.
    """

    def __init__(self, path: Path, stages: Sequence[Stage], facts: Mapping[str, Any] | None = None) -> None:
        self.path, self.stages = path, stages
        zarr = zarr_module()
        if facts is not None and not (path / FACTS).exists():
            self._create(zarr, facts)
        self.facts = read_facts(path)
        try:
            group = zarr.open_group(str(path / "arrays"), mode="r+")
            self.lattices = [group[f"lattice{stage.number}"] for stage in stages]
            self.latents = {level: group[f"latents{level}"] for stage in stages for level, _ in stage.leaving}
            self.maps = [group[f"map{stage.number}"] for stage in stages]
            self.parts = [group["parts_of_data"], *(group[f"parts{stage.number}"] for stage in stages)]
            self.totals = group["totals"]
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise InputError("an intact store", f"{type(error).__name__}: {error}", where=str(path)) from error
        self.folder = group.store  # lives as long as any of its arrays

    def tile(self, stage: Stage) -> tuple[int, ...]:
        """The edges of a tile of the outputs of a stage."""
        return tuple(max(1, self.facts["tile"] // c) for c in stage.cell)

    def read(self, array: Any, box: Box) -> Tensor:
        """The values of an array in a box of sites, (C, *sites) or (*sites).

        Raises:
            ValueError: if values are missing or damaged.
        """
        channels = array.shape[: array.ndim - len(box.start)]
        values = np.empty((*channels, *box.shape), dtype=array.dtype)
        every = (slice(None),) * len(channels)
        try:
            for here, there in pieces(box, array.shape[len(channels) :]):
                values[(*every, *there)] = array[(*every, *here)]
        except (ValueError, RuntimeError, OSError) as error:
            raise InputError("an intact store", f"{array.name}: {error}", where=str(self.path)) from error
        if np.isnan(values.sum(dtype=np.float64)):
            raise InputError(
                "an intact store", f"values of {array.name} that are missing or not finite", where=str(self.path)
            )
        return torch.from_numpy(values)

    def values(self, array: Any) -> np.ndarray:
        """All values of a small array; a ValueError if it is damaged."""
        try:
            return np.asarray(array[:])
        except (ValueError, RuntimeError, OSError) as error:
            raise InputError("an intact store", f"{array.name}: {error}", where=str(self.path)) from error

    def part(self, row: int, index: int) -> float:
        """The part of a tile, NaN if it is not done; row 0 is that of the data."""
        try:
            return float(self.parts[row][index])
        except (ValueError, RuntimeError, OSError) as error:
            raise InputError("an intact store", f"{self.parts[row].name}: {error}", where=str(self.path)) from error

    def mark_updated(self) -> None:
        """Note in the facts that pixels have changed since the source was read."""
        if not self.facts.get("updated"):
            self.facts["updated"] = True
            with replacing(self.path / FACTS) as temporary:
                temporary.write_text(json.dumps(self.facts))

    def write(self, array: Any, box: Box, values: Tensor) -> None:
        """Write values into a box of sites."""
        every = (slice(None),) * (array.ndim - len(box.start))
        data = values.detach().cpu().numpy()
        for here, there in pieces(box, array.shape[len(every) :]):
            array[(*every, *here)] = data[(*every, *there)]

    def total(self) -> dict[str, float]:
        """log p and the log-det of the preprocessing, in nats; NaN if not all tiles are done."""
        preprocessing, *levels = self.sums()
        return {"log_prob": math.fsum(levels), "preprocessing": preprocessing}

    def levels(self) -> list[float]:
        """The part of log p of each stage, in nats."""
        return self.sums()[1:]

    def sums(self) -> list[float]:
        """The log-det of the preprocessing, and the part of log p of each stage, in nats; NaN until all are done."""
        return self.values(self.totals).tolist()

    def add_up(self) -> None:
        """Make the totals of the parts, once all tiles are done."""
        self.totals[:] = [math.fsum(self.values(part)) for part in self.parts]

    def _create(self, zarr: Any, facts: Mapping[str, Any]) -> None:
        """Make all arrays, then the file of facts, which makes them a store."""
        tile, dtype = facts["tile"], facts["dtype"]
        group = zarr.open_group(str(self.path / "arrays"), mode="w")

        def make(name: str, shape: tuple[int, ...], chunks: tuple[int, ...], dtype: str) -> None:
            group.create_array(
                name, shape=shape, chunks=tuple(min(c, n) for c, n in zip(chunks, shape, strict=True)), dtype=dtype,
                fill_value=np.nan, compressors=[zarr.codecs.Crc32cCodec()], filters=None,
            )  # fmt: skip

        for stage in self.stages:
            sites, edge = stage.lattice.shape, tuple(max(1, tile // c) for c in stage.cell)
            entry = (tile,) * len(sites) if stage.number == 0 else self._edges_before(stage, tile)
            make(f"lattice{stage.number}", stage.lattice.event_shape, (stage.lattice.channels, *entry), dtype)
            make(f"map{stage.number}", sites, tuple(e * c for e, c in zip(edge, stage.cell, strict=True)), "float32")
            counts = math.prod(-(-n // e) for n, e in zip(stage.coarse, edge, strict=True))
            make(f"parts{stage.number}", (counts,), (1,), "float64")
            for level, channels in stage.leaving:
                number = channels.stop - channels.start
                make(f"latents{level}", (number, *stage.coarse), (number, *edge), dtype)
        counts = math.prod(-(-n // tile) for n in self.stages[0].lattice.shape)
        make("parts_of_data", (counts,), (1,), "float64")
        make("totals", (1 + len(self.stages),), (1 + len(self.stages),), "float64")
        with replacing(self.path / FACTS) as temporary:
            temporary.write_text(json.dumps(facts))

    def _edges_before(self, stage: Stage, tile: int) -> tuple[int, ...]:
        """The edges of the tiles in which the stage before writes the lattice of a stage."""
        return tuple(max(1, tile // c) for c in self.stages[stage.number - 1].cell)
