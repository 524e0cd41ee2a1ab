"""Losses of a data set, and samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera._utils.installation import tune_allocator
from mera._utils.random import fixed_seed
from mera.data import Examples
from mera.flow.density import Density
from mera.sampling.diagnostics import student
from mera.train.batches import Objective
from mera.train.likelihoods import likelihood

PIECE = 100
"""The most examples that are evaluated at once."""
Progress = Callable[[int, float], object]
"""A function that shows the number of examples that are done, and their fraction."""


def example_losses(
    flow: Density, examples: Examples, n: int | None = None, batch_size: int = PIECE, seed: int = 0,
    progress: Progress | None = None,
) -> Tensor:  # fmt: skip
    """The negative log-likelihoods of `n` examples, (n,), with the same noise for an example at each call.

    The unit is bits per dimension for images, nats per variable for fields. The random state is restored. If several
    processes run (torchrun), each one that calls this evaluates all examples by itself.

    Args:
        examples: a data set of uint8 images or of fields of floats, (C, *shape).
        n: the number of examples, spread evenly over the data set, whose classes may follow one another; all if None or
            if there are fewer.
        batch_size: examples in a forward pass.
        progress: called after each batch with the number of examples that are done, and their fraction.
    """
    n = len(examples) if n is None else min(n, len(examples))
    if n < 1:
        raise InputError("at least one example", str(n))
    return losses(flow, likelihood(flow, examples), n, batch_size, seed, progress)


def mean_and_error(
    values: Tensor, pictures: Tensor | None = None, coverage: float | None = None
) -> tuple[float, float]:
    """The mean of losses, and its standard error; NaN for a single one.

    Args:
        values: the losses, (n,).
        pictures: for windows, the number of the picture of each, (n,): windows of one picture are not independent, so
            that the error is that over pictures, if there are at least two. None for independent examples.
        coverage: the coverage, by Student's t, of an interval whose half width is returned in place of the error.
    """
    parts = values - values.mean()
    if pictures is not None and len(pictures.unique()) > 1:
        parts = torch.zeros(int(pictures.max()) + 1, dtype=parts.dtype).index_add(0, pictures, parts)[pictures.unique()]
    n = len(parts)
    error = (parts.square().sum() * n / (n - 1)).sqrt().item() / len(values) if n > 1 else math.nan
    return values.mean().item(), error * (1.0 if coverage is None or n < 2 else student(n, coverage))


def pictures_of(examples: Any, n: int) -> Tensor | None:
    """For each of `n` examples, spread evenly as `losses` takes them, the number of its picture; None if unknown."""
    pictures = getattr(examples, "pictures", None)
    return None if pictures is None else pictures[rows_of(len(pictures), n)]


def rows_of(size: int, n: int) -> Sequence[int]:
    """The rows of `n` examples, spread evenly over a data set of a size; 0 for one without a size."""
    return [i * size // n for i in range(n)] if n < size else range(n)


@torch.no_grad()
def losses(
    flow: Density, objective: Objective, n: int, batch_size: int = PIECE, seed: int = 0,
    progress: Progress | None = None,
) -> Tensor:  # fmt: skip
    """The losses of `n` examples of an objective, spread evenly, or of `n` rows if it has none; (n,) float64, CPU."""
    if flow.device.type == "cpu":
        tune_allocator()
    rows = rows_of(objective.size, n)
    parts: list[Tensor] = []
    for start in range(0, len(rows), batch_size):
        batch = objective.batch(seed, 0, rows[start : start + batch_size])
        parts.append(objective.loss(flow, tuple(tensor.to(flow.device) for tensor in batch)).double().cpu())
        if progress is not None:
            done = min(start + batch_size, len(rows))
            progress(done, done / len(rows))
    return torch.cat(parts)


@torch.no_grad()
def sample(
    flow: Density, n: int, temperature: float | Sequence[float] = 1.0, seed: int = 0, context: Tensor | None = None
) -> Tensor:
    """Draw `n` samples in the flow's own space, the same in each process that calls this.

    Args:
        flow: the flow.
        n: the number of samples.
        temperature: one temperature for all levels, or one for each level, finest first; see `Flow.sample`.
        seed: seed of the latents.
        context: contexts of a conditional flow, (n, ...) or (1, ...); if None, the samples cycle through all classes.

    Returns:
        Samples (n, C, *shape).
    """
    if context is None and flow.context_encoder.classes is not None:
        context = torch.arange(n, device=flow.device) % flow.context_encoder.classes
    with fixed_seed(seed):
        return flow.sample(n, context, temperature=temperature)
