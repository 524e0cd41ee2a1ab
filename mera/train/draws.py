"""What a flow learns from when it learns an action: draws of its prior, and fields of the target if there are any."""

from __future__ import annotations

import math
import sys
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from mera._utils.errors import InputError
from mera._utils.random import seeded
from mera.data import DataSplits, Examples, as_splits
from mera.density import Density
from mera.physics.evaluation import ActionLike, check_domain, evaluate_action
from mera.symmetry.mixture import underlying
from mera.train.arguments import check_data
from mera.train.kinds import FIELDS, kind_of

__all__ = ["CHUNK", "Draws", "as_draws", "is_action", "split_action"]

CHUNK = 16
"""Draws that are made together, so that a process which needs a part of a batch draws little more than that."""
GOLDEN = (math.sqrt(5) - 1) / 2
"""Multiples of it are spread evenly over the interval from 0 to 1."""
FAR = (1e3, 1e6, 1e9)
"""Factors of fields; an action that falls from each to the next is not bounded from below."""


class Draws(Dataset):
    """Latents of the prior as a data set without end, (variables + 2,), and fields of the target between them.

    A row holds the latents of all levels, a number in [0, 1), and 0; or the variables of a field, such a number, and 1.
    Which come in which step is a function of the seed, the step and the row, as is the noise of images.

    Args:
        flow: the flow whose prior it is.
        fields: fields of the target, (C, *shape) each; none if None.
        share: the part of the rows that hold fields, 0 to 1, if there are any.
    """

    in_order = True

    def __init__(self, flow: Density, fields: Examples | None = None, share: float = 0.5) -> None:
        self.flow, self.fields, self.share = underlying(flow), fields, 0.0 if fields is None else share

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, index: int) -> Tensor:
        return self.chunk(0, 0, index // CHUNK)[index % CHUNK]

    def chunk(self, seed: int, step: int, number: int) -> Tensor:
        """`CHUNK` rows, (CHUNK, variables + 2).

        Args:
            seed: the seed of the run.
            step: the step.
            number: which rows of the step's batch: the first `CHUNK`, the next ones, and so on.
        """
        flow = self.flow
        shapes = [(CHUNK, latent.lattice.variables) for latent in flow.plan.latents]
        with seeded(seed, step, number):
            like = torch.empty(0, dtype=flow.dtype)
            levels = flow.prior.sample(shapes, [1.0] * len(shapes), like)
            rows = torch.cat([*levels, torch.rand(CHUNK, 1).to(like), like.new_zeros(CHUNK, 1)], dim=1)
            if self.fields is not None:
                start = step * GOLDEN % 1  # so that small batches too hold their share of fields, over the steps
                for i in range(CHUNK):
                    row = number * CHUNK + i  # rows with fields are spread evenly: each part of a batch has some
                    if math.floor((row + 1) * self.share + start) > math.floor(row * self.share + start):
                        field = self.fields[int(torch.randint(len(self.fields), ()))]
                        rows[i, :-2], rows[i, -1] = field.flatten().to(like), 1
            return rows


def split_action(data: Any) -> tuple[ActionLike | None, Any]:
    """Split what a flow is to learn from into an action and fields or other examples; each is None if it is missing."""
    if isinstance(data, (tuple, list)) and len(data) == 2 and is_action(data[0]):
        if data[1] is None:
            raise InputError("fields of the target beside an action", "None")
        return data[0], data[1]
    return (data, None) if is_action(data) else (None, data)


def is_action(data: Any) -> bool:
    """Whether what a flow is to learn from is an action rather than examples."""
    if isinstance(data, type):
        raise InputError("data or an action to learn from", f"the class {data.__name__}")
    examples = any(hasattr(data, name) for name in ("__getitem__", "__iter__"))
    return callable(data) and not examples and not isinstance(data, Density)


def as_draws(action: ActionLike, flow: Density, fields: Any = None, share: float = 0.5) -> DataSplits:
    """What a flow learns from an action: draws of its prior, and fields of the target if there are any.

    Args:
        action: the action.
        flow: the flow.
        fields: fields of the target to learn from too; see `fit`.
        share: the part of the rows of a batch that are such fields.

    Raises:
        ValueError: if the action returns anything but a number for each field, if it is not bounded from below, if the
            flow takes a context, or if the fields do not fit the flow.
        FloatingPointError: if the action of a field is not finite.
    """
    if flow.plan.context is not None:
        raise InputError("a flow without context to learn an action", f"one with context {flow.plan.context}")
    draws = Draws(flow)
    check_domain(action, draws.flow.prior.distribution)
    with torch.no_grad(), seeded(0):
        x = torch.randn(CHUNK, *flow.plan.input.event_shape, dtype=flow.dtype).to(flow.device)
        sizes = x[CHUNK // 2 :].flatten(2)[:, :, :1]
        x[CHUNK // 2 :] = sizes.view(*sizes.shape[:2], *(1 for _ in flow.plan.input.shape))  # constant fields too
        values = evaluate_action(action, x)
        if not values.isfinite().all():
            raise FloatingPointError(f"Expected a finite action of fields of unit size; got {_first_bad(values)}")
        far = torch.stack([values, *(evaluate_action(action, scale * x) for scale in FAR)])
        falls = (far[1:] < far[:-1]).all(0)
        if not getattr(action, "is_compact", False) and falls.any():
            found = ", ".join(f"{value:.4g}" for value in far[:, falls.nonzero()[0, 0]])
            scales = ", ".join(f"{scale:g}" for scale in FAR)
            raise InputError("an action that is bounded from below", f"{found} for a field times 1, {scales}")
    train = draws if fields is None else Draws(flow, _target_fields(fields, flow), share)
    return DataSplits(_name(action), flow.plan.input.channels, train, draws)


def _target_fields(fields: Any, flow: Density) -> Examples:
    """Fields of the target as a data set with an index."""
    splits = as_splits((fields, fields), flow.plan.input.event_shape)
    check_data(splits, flow)
    if kind_of(splits.train[0]) is not FIELDS or getattr(splits.train, "in_order", False):
        raise InputError("fields of floats that can be read in any order", type(fields).__name__)
    return splits.train


def _first_bad(values: Tensor) -> float:
    """The first value that is infinite or NaN."""
    return values[~values.isfinite()][0].item()


def _name(action: ActionLike) -> str:
    """What messages call an action."""
    return getattr(action, "__name__", None) or repr(action)
