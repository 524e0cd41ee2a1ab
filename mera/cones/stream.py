"""log p of an image that need not fit into memory: the forward pass level by level, in tiles."""

from __future__ import annotations

import math
import shutil
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from os import PathLike
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from mera._utils.array_files import kind_of, read_tensor
from mera._utils.checks import check_count, check_precise
from mera._utils.errors import InputError
from mera._utils.files import SUFFIX, as_path, make_folder, temporary_folder
from mera._utils.progress import ProgressBar, check_console
from mera._utils.torch_modes import exactly, in_threads
from mera.bijectors import ImagePreprocess, with_noise
from mera.bijectors.boxes import Box, tiles
from mera.cones.streamed import Streamed
from mera.executor.contexts import Context
from mera.executor.plan_module import PlanModule
from mera.graph.layout_error import LayoutError
from mera.graph.operations import Cut, Regroup
from mera.graph.plan import Step

if TYPE_CHECKING:
    from rich.console import Console

NOISE_BLOCK = {1: 4096, 2: 64, 3: 16}
"""The edge of the blocks of pixels whose noise is drawn together, by the number of dimensions."""


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
    for step in plan.steps:
        _check_step(step, flow)
    if len(plan.context or ()) > 1:
        raise InputError("a flow of one context for all pixels, for streams", f"a context of shape {plan.context}")
    if not hasattr(source, "shape") or tuple(source.shape) != plan.input.event_shape:
        got = str(tuple(source.shape)) if hasattr(source, "shape") else type(source).__name__
        raise InputError(f"an array {plan.input.event_shape}; flow.resized(shape) is the flow of another lattice", got)
    check_count(tile, "the edge of a tile")
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
        result = Streamed(path, flow, is_image, encoded)
        _fill(result, tile, partial(_take, result, preprocess, source, seed, Lock()), console)
        result.seal()
    if target is None:
        weakref.finalize(result, lambda _lock: shutil.rmtree(path, ignore_errors=True), lock)  # locked until then
    else:
        result.path = target
    return result


def _check_step(step: Step, flow: PlanModule) -> None:
    """Refuse a step that cannot be computed in tiles, or with several outputs that are not latents."""
    if step.module and step.apply.is_field and not flow.is_local(step):
        expected = "a bijector of patches, or one whose log-det is a sum over sites"
        raise LayoutError(expected, "one that acts on the whole lattice at once", node=step.node)
    if not step.module and not isinstance(step.move, (Cut, Regroup)):  # others may move variables anywhere
        expected = "operations that move variables within cells, Regroup and Cut"
        raise LayoutError(expected, str(step.operation), node=step.node)
    going_on = set(step.targets) - {latent.value for latent in flow.plan.latents}
    if len(going_on) > 1:
        raise LayoutError("one output of a step that is not a level of latents", str(len(going_on)), node=step.node)


@contextmanager
def _folder(target: Path | None) -> Iterator[tuple[Path, FileLock | None]]:
    """A new folder, which is renamed to `target` at the end, or a temporary one with its lock; removed on an error."""
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


def _fill(result: Streamed, tile: int, take: Callable[[Box], None], console: Console | None) -> None:
    """Compute the data with `take`, and then the outputs of each step, tile by tile."""
    plan, device = result.flow.plan, result.flow.reference.device
    total = plan.input.sites + sum(step.operation.lattice.sites for step in plan.steps)

    def run(work: Callable[[Box], None], box: Box) -> int:
        with exactly(device):
            work(box)
        return math.prod(box.shape)

    with ProgressBar("stream", check_console(console), "tile", at_once=True) as bar:
        done = number = 0
        result.begin([0], [plan.input])
        for step in (None, *plan.steps):
            outputs = (plan.input,) if step is None else step.operation.outputs
            cell = (1,) * plan.input.dim if step is None else step.operation.cell
            if step is not None:
                result.begin(step.targets, outputs)
            boxes = tiles(outputs[0], [max(1, tile // edge) for edge in cell])
            work = take if step is None else partial(result.compute, step)
            for sites in in_threads(partial(run, work), boxes, device):
                done, number = done + sites * math.prod(cell), number + 1
                bar.update(number, done / total, "data" if step is None else f"level {step.level}")
            if step is not None:
                result.file(f"value{step.source}").unlink()


@torch.no_grad()
def _take(result: Streamed, preprocess: Any, source: Any, seed: int, lock: Lock, box: Box) -> None:
    """Write a tile of the data, in the flow's own space; a source may not support concurrent reads."""
    plan, reference = result.flow.plan, result.flow.reference
    with lock:
        values = read_tensor(source, (slice(None), *(slice(a, b) for a, b in zip(box.start, box.stop, strict=True))))
    if result.is_image:
        noise = _noise_of_pixels(seed, len(values), box)
        values, change = preprocess(with_noise(values, noise)[None].to(reference.device))
        values = values[0]
        result.change.append(change.double().item())
    result.put(0, plan.input, box, values.to(reference.device, reference.dtype))


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
