"""log p of an image that need not fit into memory: the forward pass level by level, in tiles."""

from __future__ import annotations

import itertools
import math
import shutil
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mera._utils.array_files import kind_of, read_tensor
from mera._utils.checks import check_count, check_precise
from mera._utils.errors import InputError
from mera._utils.files import SUFFIX, as_path, make_folder, temporary_folder
from mera._utils.progress import ProgressBar, check_console
from mera._utils.torch_modes import exactly, in_threads
from mera.bijectors import ImagePreprocess, with_noise
from mera.bijectors.boxes import Box, tiles
from mera.cones.stages import stages_of
from mera.cones.store import DATA, Store, Tile
from mera.executor.contexts import Context
from mera.executor.plan_module import PlanModule

if TYPE_CHECKING:
    from rich.console import Console

NOISE_BLOCK = {1: 4096, 2: 64, 3: 16}
"""The edge of the blocks of pixels whose noise is drawn together, by the number of dimensions."""


class Streamed:
    """The forward pass of a large image.

    Attributes:
        store: the maps on disk, see `Store`; if `stream` got no folder, in a temporary one, which goes when the store
            goes.
        is_image: whether the source had integers of 8 bits.
    """

    def __init__(self, store: Store, is_image: bool) -> None:
        self.store, self.is_image = store, is_image

    @property
    def log_prob(self) -> float:
        """log p of the data in the flow's own space, in nats."""
        return math.fsum(self.levels)

    @property
    def bits_per_dim(self) -> float:
        """Minus log p of the integers of the image, per variable, in bits; NaN if the source had floats."""
        bits = -math.fsum(self.store.sums()) / (self.store.flow.plan.input.variables * math.log(2))
        return bits if self.is_image else math.nan

    @property
    def levels(self) -> list[float]:
        """The part of log p of each level of latents, finest first, in nats; the sum is log p."""
        return self.store.sums()[1:]

    def map(self, level: int) -> Any:
        """The part of log p of a level, (*sites of the level), in nats: an array of numpy that is read from its file.

        The log-det of a bijector counts for the finest level of latents that are computed from its values, and is
        spread evenly over the sites of its patch, the log-density of latents over the sites of their cell. The sum over
        the sites is the level's part of log p, as in `analysis.decompose`, whose maps spread the values over pixels.

        Args:
            level: the level, 0 for the finest.

        Raises:
            ValueError: if there is no such level, or its file is not as it was written.
            FileNotFoundError: if the folder of the store is gone.
        """
        return np.load(self.store.check(f"map{self.store.flow.plan.check_level(level)}"), mmap_mode="c")

    def bits(self, edge: int = 256, shape: Sequence[int] | None = None) -> Tensor:
        """The bits per dimension of each level in the cells of a coarse grid, for a picture.

        The preprocessing of images, a change of units, is shared among the levels by the numbers of their latents: bits
        of a level are then those of its latents in units of grey values, and seldom negative.

        Args:
            edge: the most cells along the longest edge of the image.
            shape: the rows and columns of the image whose cells are returned, from the first on; None for all.

        Returns:
            For each level, finest first, its bits in each cell per variable of the cell, (levels, *cells). The mean
            over all cells, summed over levels, is `bits_per_dim`, and for floats minus log p per variable.
        """
        channels, *whole = self.store.flow.plan.input.event_shape
        shape = whole if shape is None else shape
        if len(shape) != len(whole) or not all(0 < m <= n for m, n in zip(shape, whole, strict=True)):
            raise InputError(f"a shape within {tuple(whole)}", str(tuple(shape)))
        longest = min(check_count(edge, "cells of an edge"), max(whole))
        cells = [max(1, round(longest * n / max(whole))) for n in whole]
        levels = torch.stack([_pooled(self.store, number, cells) for number in range(len(self.levels))])
        if self.is_image:
            plan, units = self.store.flow.plan, self.store.sums()[0] / math.prod(cells)
            shares = torch.tensor([latent.lattice.variables / plan.input.variables for latent in plan.latents])
            levels = levels + units * shares.view(-1, *(1 for _ in cells))
        variables = channels * math.prod(whole) / math.prod(cells)
        inside = [slice(math.ceil(m * n / size)) for m, n, size in zip(cells, shape, whole, strict=True)]
        return -levels[:, *inside] / (variables * math.log(2))

    def __repr__(self) -> str:
        bits = f", {self.bits_per_dim:.4f} bits/dim" if self.is_image else ""
        return f"image {self.store.flow.plan.input}: log p {self.log_prob:.6g} nats{bits}\nstore: {self.store.path}"


def _pooled(store: Store, number: int, cells: list[int]) -> Tensor:
    """Sum a map of log p over a coarse grid; the value of a site is divided among the cells that it overlaps."""
    lattice = store.stage_of(number).lattice
    store.check(f"map{number}")
    total = torch.zeros(cells, dtype=torch.float64)
    for box in tiles(lattice, [max(store.tile, 512)] * lattice.dim):
        values = store.read(f"map{number}", box).double()
        for axis, (start, stop, n, count) in enumerate(zip(box.start, box.stop, lattice.shape, cells, strict=True)):
            ends = torch.arange(start, stop + 1, dtype=torch.float64) * count / n
            edges = torch.arange(count + 1, dtype=torch.float64)
            low, high = torch.maximum(ends[:-1, None], edges[:-1]), torch.minimum(ends[1:, None], edges[1:])
            shares = (high - low).clamp(min=0)
            values = torch.tensordot(values, shares * n / count, dims=([axis], [0])).movedim(-1, axis)
        total += values
    return total


@torch.no_grad()
def stream(
    flow: PlanModule,
    preprocess: Any,
    source: Any,
    out: str | PathLike[str] | None = None,
    *,
    tile: int = 512,
    context: Context | None = None,
    seed: int = 0,
    console: Console | None = None,
) -> Streamed:
    """Evaluate a large image; see `Flow.stream`."""
    plan = flow.plan
    check_precise(flow.reference.dtype, "the flow of a stream")
    stages = stages_of(flow)
    if len(plan.context or ()) > 1:
        raise InputError("a flow of one context for all pixels, for streams", f"a context of shape {plan.context}")
    if not hasattr(source, "shape") or tuple(source.shape) != plan.input.event_shape:
        got = str(tuple(source.shape)) if hasattr(source, "shape") else type(source).__name__
        raise InputError(f"an array {plan.input.event_shape}; flow.resized(shape) is the flow of another lattice", got)
    cell = math.lcm(*(c for stage in stages for c in stage.cell))
    tile = max(check_count(tile, "the edge of a tile") // cell, 1) * cell
    kind = kind_of(source)
    if kind not in ("uint8", "float"):
        raise InputError("8-bit integers, or floats in the flow's own space", f"an array of {kind}")
    is_image = kind == "uint8"
    if is_image and flow.of_angles:
        raise InputError("a flow of real numbers for images", "a flow of angles")
    if is_image and type(preprocess) is not ImagePreprocess:
        raise InputError("data in the flow's own space, or the usual preprocessing", f"uint8, and {preprocess}")
    encoded = flow.context_encoder(context, 1, flow.reference.device)
    check_count(seed, "a seed", 0)
    target = None if out is None else as_path(out).resolve()
    with _folder(target) as (path, lock):
        store = Store(path, flow, tile, encoded)
        _fill(store, preprocess if is_image else None, source, seed, check_console(console))
    store.path, store.lock = path if target is None else target, lock
    if target is None:
        weakref.finalize(store, shutil.rmtree, path, ignore_errors=True)
    return Streamed(store, is_image)


@contextmanager
def _folder(target: Path | None) -> Iterator[tuple[Path, object]]:
    """A new folder, which is renamed to `target` at the end; if an error is raised, it is removed.

    A temporary one comes with its lock, by which other processes know that it is in use.
    """
    lock = None
    if target is None:
        path, lock = temporary_folder("mera-stream-")
    else:
        make_folder(target)
        if any(target.iterdir()):
            raise FileExistsError(f"Expected an empty folder for a stream; got {target}")
        target.rmdir()  # it appears at the end; one that cannot be replaced is refused before the work
        path = target.with_name(target.name + SUFFIX)
        if path.exists():
            raise FileExistsError(f"Expected no other stream to {target}; remove {path} if none is running")
        path.mkdir()
    try:
        yield path, lock
        if target is not None:
            path.rename(target)
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise


def _fill(store: Store, preprocess: Any, source: Any, seed: int, console: Console) -> None:
    """Make all tiles."""
    device, lock, work = store.flow.reference.device, Lock(), list(store.work())
    done, total = 0, sum(math.prod(tile.box.shape) * tile.weight for tile in work)

    def make(tile: Tile) -> Tile:
        """Make a tile."""
        with exactly(device):
            if tile.stage == DATA:
                _take(store, preprocess, source, seed, lock, tile)
            else:
                store.compute(tile)
        return tile

    with ProgressBar("stream", console, "tile") as bar:
        for stage, group in itertools.groupby(work, key=lambda tile: tile.stage):
            for tile in in_threads(make, group, device):
                done += math.prod(tile.box.shape) * tile.weight
                bar.update(tile.number + 1, done / total, "data" if stage == DATA else f"level {stage}")
            if stage != DATA:
                store.file(f"lattice{stage}").unlink()
    store.seal()


@torch.no_grad()
def _take(store: Store, preprocess: Any, source: Any, seed: int, lock: Lock, tile: Tile) -> None:
    """Write a tile of the data, in the flow's own space; a source may not support concurrent reads."""
    box, reference = tile.box, store.flow.reference
    with lock:
        values = read_tensor(source, (slice(None), *(slice(a, b) for a, b in zip(box.start, box.stop, strict=True))))
    if preprocess is not None:
        noise = _noise_of_pixels(seed, len(values), box)
        values, change = preprocess(with_noise(values, noise)[None].to(reference.device))
        values = values[0]
        store.parts[DATA].append(change.double().item())
    store.write("lattice0", box, values.to(reference.device, reference.dtype))


def _noise_of_pixels(seed: int, channels: int, box: Box) -> Tensor:
    """Uniform numbers in [0, 1) in single precision for the sites of a box, (channels, *sites).

    They are a function of seed and site, so that tiles do not matter; see `mera.cones.window.noise_of_latents`.
    """
    edge = NOISE_BLOCK[len(box.start)]
    cells = (edge,) * len(box.start)
    blocks = Box.of((start // edge, -(-stop // edge)) for start, stop in zip(box.start, box.stop, strict=True))
    values = np.empty((channels, *blocks.refined(cells).shape), dtype=np.float32)
    for corner in np.ndindex(*blocks.shape):
        number = [a + c for a, c in zip(blocks.start, corner, strict=True)]
        generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *number])))
        where = tuple(slice(c * edge, (c + 1) * edge) for c in corner)
        values[(slice(None), *where)] = generator.random((channels, *cells), dtype=np.float32)
    return torch.from_numpy(values[(slice(None), *box.slices_in(blocks.refined(cells)))].copy())
