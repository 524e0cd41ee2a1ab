"""A large image with its lattices and latents on disk: parts of it are computed, changed and restricted."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera._utils.files import replacing
from mera.bijectors import Bijector
from mera.cones.regions import Span, spans_of
from mera.graph.boxes import Box, pieces
from mera.run.runner import Runner
from mera.stream.stages import Outputs, Stage, run_stage, stages_of
from mera.stream.storage import JOURNAL, Storage, check_store, intact

LARGE = 1e9
"""From this size of a tile's part of log p, in nats, totals are summed anew: differences would lose digits for ever."""


class Store(Storage):
    """The store that `Flow.stream` makes: lattices, latents and maps of a large image, with the flow that made them.

    Args:
        path: the folder.
        runner: the flow's plan with its bijectors.
        context: the encoded context of the image, (1, K); None for a flow without context.
        preprocess: the bijector from integers to the flow's own space; None if the source had floats.
        facts: what the store is made for; None to open a store that exists.
    """

    def __init__(
        self, path: Path, runner: Runner, context: Tensor | None = None, preprocess: Bijector | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(path, stages_of(runner.plan), facts)
        self.runner, self.preprocess = runner, preprocess
        self.context = None if context is None else context.to(runner.reference.dtype)
        self.settle()

    def settle(self) -> None:
        """Write the values of an update that has begun; it may be done again after a kill, or by another process.

        Raises:
            ValueError: if the folder is gone, whose arrays zarr would read as NaN.
        """
        check_store(self.path)
        with intact(self.path, JOURNAL):
            try:
                file = np.load(self.path / JOURNAL)
            except FileNotFoundError:  # there is none, or another process has settled it
                return
            with file:
                written = {name: file[name] for name in file.files}
        self.mark_updated()
        self.write(self.lattices[0], _box(written["box"]), torch.from_numpy(written["pixels"]))
        for stage in self.stages:
            values, total = (torch.from_numpy(written[f"{stage.number} {name}"]) for name in ("values", "map"))
            self.write_outputs(stage, Outputs(_box(written[f"{stage.number} out"]), values, total, ()))
            for tile, part in written[f"{stage.number} parts"].T:
                self.parts[1 + stage.number][int(tile)] = part
        self.totals[:] = written["totals"]
        if not written["is_exact"]:
            self.add_up(written["totals"][0])
        (self.path / JOURNAL).unlink(missing_ok=True)  # another process may have read the store, and settled it

    def sums(self) -> list[float]:
        """The log-det of the preprocessing, and the part of log p of each stage, in nats; NaN until all are done."""
        self.settle()
        return self.values(self.totals).tolist()

    @property
    def is_complete(self) -> bool:
        """Whether all tiles are done."""
        return not np.isnan(self.values(self.totals)).any()

    @torch.no_grad()
    def compute(self, stage: Stage, box: Box, block: Tensor | None = None) -> Outputs:
        """Compute a box of the outputs of a stage from the lattice at its entry.

        Args:
            stage: the stage.
            box: the box of outputs.
            block: the values at the entry in the box `stage.needed(box)[0]`; None for those of the store.
        """
        if block is None:
            block = self.read(self.lattices[stage.number], stage.needed(box)[0]).to(self.runner.reference)
        return run_stage(stage, self.runner, block, box, self.context)

    def write_outputs(self, stage: Stage, found: Outputs) -> None:
        """Write the outputs of a stage, and their map."""
        for level, channels in stage.leaving:
            self.write(self.latents[level], found.box, found.values[channels])
        if stage.kept is not None:
            self.write(self.lattices[stage.number + 1], found.box, found.values[stage.kept])
        self.write(self.maps[stage.number], found.box.refined(stage.cell), found.map.to(found.values))

    def update(self, region: Sequence[Span] | slice, pixels: Tensor) -> float:
        """Replace the pixels of a region, with all lattices, latents and maps that change.

        The cost grows with the region, and with the logarithm of the edge of the image. New values are written to a
        journal first: after a kill, the store is as before or as afterwards.

        Args:
            region: for each dimension a slice, a pair (start, stop) or a single site; a slice for one dimension.
            pixels: the new values in the flow's own space, (C, *region).

        Returns:
            The change of log p, in nats.

        Raises:
            ValueError: if the region reaches outside, the pixels are not finite or of another shape, or the store is
                not complete or damaged.
        """
        lattice = self.stages[0].lattice
        spans = spans_of(region, lattice)
        box = Box.of(spans)
        if tuple(pixels.shape) != (lattice.channels, *box.shape) or not pixels.is_floating_point():
            raise InputError(f"floats {(lattice.channels, *box.shape)}", f"{pixels.dtype} {tuple(pixels.shape)}")
        if not pixels.isfinite().all():
            raise InputError("finite pixels", "infinite values or NaN")
        self.check_flow(self.runner)
        self.check_complete()
        values = pixels.detach().to(self.runner.reference)
        written = {"pixels": values.cpu().numpy(), "box": np.array([box.start, box.stop])}
        sums, change, largest = self.values(self.totals), 0.0, 0.0
        sums[0] += self._log_det(values) - self._log_det(self.read(self.lattices[0], box).to(values))
        for stage in self.stages:
            out = inside(stage.changed(box), stage.coarse, stage.lattice.periodic)
            entry = stage.needed(out)[0]
            before = self.read(self.lattices[stage.number], entry).to(self.runner.reference)
            after = overlaid(before, entry, values, box, stage.lattice.shape)
            found, old = self.compute(stage, out, after), self.compute(stage, out, before)
            change += (found.map - old.map).sum().item()
            self._check_outputs(stage, out)
            parts = self._parts(stage, out, found.map)
            replaced = [self.part(1 + stage.number, tile) for tile in parts]
            sums[1 + stage.number] += math.fsum(parts.values()) - math.fsum(replaced)
            largest = max(largest, *map(abs, replaced), *map(abs, parts.values()))
            written |= {
                f"{stage.number} parts": np.array([list(parts), list(parts.values())]),
                f"{stage.number} out": np.array([out.start, out.stop]),
                f"{stage.number} values": found.values.cpu().numpy(),
                f"{stage.number} map": found.map.cpu().numpy(),
            }
            if stage.kept is not None:
                box, values = out, found.values[stage.kept]
        if not all(np.isfinite(array).all() for array in (sums, *written.values())):
            raise InputError("pixels whose latents and log p are finite", "infinite values or NaN")
        with replacing(self.path / JOURNAL) as temporary, temporary.open("wb") as file:
            np.savez(file, totals=sums, is_exact=largest < LARGE, **written)  # type: ignore[arg-type]
        self.settle()
        return change

    def _parts(self, stage: Stage, out: Box, changed: Tensor) -> dict[int, float]:
        """The parts of log p of the tiles of outputs that a box meets, by number, once the map has changed there."""
        whole, parts, edges = out.refined(stage.cell), {}, self.tile(stage)
        counts = [-(-n // e) for n, e in zip(stage.coarse, edges, strict=True)]
        for place, _ in pieces(out, stage.coarse):
            ranges = [range(s.start // e, -(-s.stop // e)) for s, e in zip(place, edges, strict=True)]
            for index in itertools.product(*ranges):
                spans = [(i * e, min((i + 1) * e, n)) for i, e, n in zip(index, edges, stage.coarse, strict=True)]
                tile = Box.of(spans).refined(stage.cell)
                values = self.read(self.maps[stage.number], tile)[None]
                values = overlaid(values, tile, changed.to(values)[None], whole, stage.lattice.shape)
                parts[int(np.ravel_multi_index(index, counts))] = values.double().sum().item()
        return parts

    def _log_det(self, values: Tensor) -> float:
        """The log-det of the preprocessing at values in the flow's own space; 0 if there was none."""
        if self.preprocess is None:
            return 0.0
        return -self.preprocess.inverse(values[None])[1].double().item()

    def _check_outputs(self, stage: Stage, box: Box) -> None:
        """Read what an update will write in a box of outputs, so that damage is found before anything is written."""
        arrays = [self.latents[level] for level, _ in stage.leaving]
        if stage.kept is not None:
            arrays.append(self.lattices[stage.number + 1])
        for array in arrays:
            self.read(array, box)
        self.read(self.maps[stage.number], box.refined(stage.cell))

    def check_flow(self, runner: Runner) -> None:
        """Raise a ValueError unless a flow has the plan and the parameters with which the store was made."""
        if fingerprint(runner) != self.facts["flow"]:
            raise InputError("the flow that made the store", "another one, or other parameters", where=str(self.path))

    def check_complete(self) -> None:
        """Raise a ValueError if a tile is not done yet; an update that was interrupted is finished first."""
        self.settle()
        if not self.is_complete:
            raise InputError("a store whose tiles are all done; stream it with resume=True", "tiles that are missing")


def fingerprint(runner: Runner) -> str:
    """A short text that changes with the plan and with any parameter of a flow."""
    digest = hashlib.sha256(repr((runner.plan, runner.prior, runner.reference.dtype)).encode())
    for name, module in [*sorted(runner.bijectors.items()), ("contexts", runner.context_encoder)]:
        for key, value in sorted(module.state_dict().items()):
            digest.update(f"{name}.{key}".encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


def inside(box: Box, shape: Sequence[int], periodic: Sequence[bool]) -> Box:
    """The box without sites beyond open borders, and with each site of a periodic lattice once."""
    spans = []
    for a, b, n, wraps in zip(box.start, box.stop, shape, periodic, strict=True):
        spans.append(((0, n) if b - a >= n else (a, b)) if wraps else (max(a, 0), min(b, n)))
    return Box.of(spans)


def overlaid(block: Tensor, outer: Box, values: Tensor, box: Box, shape: Sequence[int]) -> Tensor:
    """A copy of a block with the values of a box, wherever its sites are in the block.

    Args:
        block: the values of the box `outer`, (C, *sites), which may have sites of a periodic lattice more than once.
        outer: the box of the block.
        values: the values of the box, (C, *sites).
        box: the box.
        shape: the edge lengths of the lattice.
    """
    block, here, there = block.clone(), [], []
    every: Any = slice(None)
    for a, width, low, high, n in zip(box.start, box.shape, outer.start, outer.stop, shape, strict=True):
        places = (np.arange(low, high) - a) % n  # of the sites of the block, counted from the start of the box
        here.append(np.flatnonzero(places < width))
        there.append(places[here[-1]])
    block[(every, *np.ix_(*here))] = values[(every, *np.ix_(*there))]
    return block


def _box(ends: np.ndarray) -> Box:
    """A box from an array of its start and its stop."""
    start, stop = ends.tolist()
    return Box(tuple(start), tuple(stop))
