"""Recognising what `fit` is to learn: examples, an action, or an action with fields of its density."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera._utils.random import seeded
from mera.data import DataSplits, Examples, as_splits
from mera.density import Density
from mera.physics.action import Action, as_action
from mera.physics.target import check_domain
from mera.train.likelihoods import FieldLikelihood, OwnLoss, likelihood, likelihood_of
from mera.train.objective import Objective
from mera.train.order import Order
from mera.train.reverse_kl import ReverseKL
from mera.train.settings import Settings

PROBES = 16
"""Fields at which an action is tried before a run."""
FAR = (1e3, 1e6, 1e9)
"""Factors of fields; an action that falls from each to the next is not bounded from below."""


class Learnt(NamedTuple):
    """What a flow is to learn.

    Args:
        train: the objective of training.
        test: the objective of evaluations.
        source: the arguments of `mera.data.load` that load the examples again; None if there are none.
        in_order: whether examples are read in their own order, which only one process can do.
    """

    train: Objective
    test: Objective
    source: dict[str, Any] | None = None
    in_order: bool = False


def recognize(
    flow: Density,
    data: Any,
    settings: Settings,
    loss: Callable[[Density, Any], Tensor] | None = None,
    processes: int = 1,
) -> Learnt:
    """The objectives of training and evaluation for the argument `data` of `fit`, whose table lists all kinds.

    Args:
        flow: the flow that is to learn.
        data: an action, a pair (action, fields), or examples of any kind.
        settings: how to train.
        loss: a loss of the user's own on examples.
        processes: the number of processes that share a batch.

    Raises:
        InputError: if the data is of no kind in the table, does not fit the flow, or does not fit the other arguments.
        FloatingPointError: if the action of a field of unit size is not finite.
    """
    action, examples = _split(data)
    if action is not None:
        if loss is not None:
            raise InputError("no loss of your own beside an action, which is one", repr(loss))
        checked = check_action(action, flow)
        fields = None if examples is None else _fields(examples, flow)
        options = (settings.estimator, settings.anneal, settings.alpha)
        objective = ReverseKL(flow, checked, *options, fields, settings.field_share)
        return Learnt(objective, ReverseKL(flow, checked, settings.estimator, alpha=settings.alpha))
    splits = as_splits(examples, flow.plan.input.event_shape)
    check_data(splits, flow)
    n, in_order = len(splits.train), getattr(splits.train, "in_order", False)
    batch_size = min(settings.batch_size, n - n % processes)
    if batch_size < 1 or batch_size % processes:
        raise InputError(f"a batch_size that {processes} processes can share", f"{batch_size} of {n} images")
    train = likelihood(flow, splits.train, Order(n, batch_size, settings.seed, in_order))
    test = likelihood(flow, splits.test)
    if loss is not None:
        return Learnt(OwnLoss(train, loss), OwnLoss(test, loss), splits.source, in_order)
    return Learnt(train, test, splits.source, in_order)


def _split(data: Any) -> tuple[Any, Any]:
    """Split the data into an action and fields or other examples; each is None if it is missing."""
    if isinstance(data, (tuple, list)) and len(data) == 2 and _is_action(data[0]):
        if data[1] is None:
            raise InputError("fields of the target beside an action", "None")
        return data[0], data[1]
    return (data, None) if _is_action(data) else (None, data)


def _is_action(data: Any) -> bool:
    """Whether data is an action rather than examples."""
    if isinstance(data, type):
        raise InputError("data or an action to learn from", f"the class {data.__name__}")
    has_items = any(hasattr(data, name) for name in ("__getitem__", "__iter__"))
    return callable(data) and not has_items and not isinstance(data, Density)


def check_data(data: DataSplits, flow: Density) -> None:
    """Refuse training and test examples that are empty, of two kinds, or of another shape than the flow's.

    Args:
        data: training and test examples.
        flow: the flow that is to learn them.

    Raises:
        InputError: if a split is empty, or its examples do not fit the flow or each other.
    """
    if not len(data.train) or not len(data.test):
        raise InputError("training and test examples", f"{len(data.train)} and {len(data.test)}")
    firsts = data.train[0], data.test[0]
    kinds = [likelihood_of(example) for example in firsts]
    if kinds[0] is not kinds[1]:
        raise InputError("training and test examples of one kind", f"{kinds[0].name} and {kinds[1].name}")
    expected = flow.plan.input.event_shape
    for example in firsts:
        if tuple(example.shape) != expected:
            raise InputError(f"{kinds[0].name} of shape {expected}, as the flow's", str(tuple(example.shape)))


def _fields(data: Any, flow: Density) -> Examples:
    """Fields of the target as a data set with an index."""
    splits = as_splits((data, data), flow.plan.input.event_shape)
    check_data(splits, flow)
    if likelihood_of(splits.train[0]) is not FieldLikelihood or getattr(splits.train, "in_order", False):
        raise InputError("fields of floats that can be read in any order", type(data).__name__)
    return splits.train


def check_action(action: Any, flow: Density) -> Action:
    """Refuse an action that a flow cannot learn.

    Args:
        action: the action.
        flow: the flow.

    Returns:
        The action, with all attributes.

    Raises:
        InputError: if the action returns anything but a number for each field, if it is not bounded from below, or if
            the flow takes a context or has other variables than the action.
        FloatingPointError: if the action of a field of unit size is not finite.
    """
    if flow.plan.context is not None:
        raise InputError("a flow without context to learn an action", f"one with context {flow.plan.context}")
    action = as_action(action)
    check_domain(action, flow.flow.prior)
    with torch.no_grad(), seeded(0):
        x = torch.randn(PROBES, *flow.plan.input.event_shape, dtype=flow.dtype).to(flow.device)
        sizes = x[PROBES // 2 :].flatten(2)[:, :, :1]
        x[PROBES // 2 :] = sizes.view(*sizes.shape[:2], *(1 for _ in flow.plan.input.shape))  # constant fields too
        values = action(x)
        if not values.isfinite().all():
            first = values[~values.isfinite()][0].item()
            raise FloatingPointError(f"Expected a finite action of fields of unit size; got {first}")
        far = torch.stack([values, *(action(scale * x) for scale in FAR)])
    falls = (far[1:] < far[:-1]).all(0)
    if not action.is_compact and falls.any():
        fallen = ", ".join(f"{value:.4g}" for value in far[:, falls.nonzero()[0, 0]])
        scales = ", ".join(f"{scale:g}" for scale in FAR)
        raise InputError("an action that is bounded from below", f"{fallen} for a field times 1, {scales}")
    return action
