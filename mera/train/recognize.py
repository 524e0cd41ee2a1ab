"""Conversion of the argument `data` of `fit` to objectives: examples, an action, or an action with target fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from operator import length_hint
from typing import Any, NamedTuple

from torch import Tensor

from mera._utils.errors import InputError
from mera.data import DataSplits, Examples, as_splits
from mera.data.examples import Part
from mera.density import Density
from mera.physics.check_target import check_sampled
from mera.train.likelihoods import FieldLikelihood, OwnLoss, likelihood, likelihood_of
from mera.train.objective import Objective
from mera.train.order import Order, rows_per_step
from mera.train.reverse_kl import ReverseKL
from mera.train.settings import Settings


class Objectives(NamedTuple):
    """The objectives of training and of evaluations.

    Args:
        validation: the objective that chooses the weights to keep; None to keep the last weights.
        source: the arguments of `mera.data.load` that load the examples again; None for other data.
        in_order: whether examples are read in their own order, so that worker processes cannot share the reading.
    """

    train: Objective
    test: Objective
    validation: Objective | None = None
    source: dict[str, Any] | None = None
    in_order: bool = False


def recognize(
    flow: Density,
    data: Any,
    settings: Settings,
    loss: Callable[[Density, Any], Tensor] | None = None,
    processes: int = 1,
) -> Objectives:
    """The objectives of training and evaluation for the argument `data` of `fit`, whose table lists all kinds.

    Args:
        data: an action, a pair (action, fields), or examples of any kind.
        loss: a loss of the user's own on examples.

    Raises:
        ValueError: if the data is of another kind, or does not fit the flow or the other arguments.
        FloatingPointError: see `check_target`.
    """
    action, examples = _split(data)
    if action is not None:
        if loss is not None:
            raise InputError("no loss of your own beside an action, which is one", repr(loss))
        action = check_sampled(flow, action)
        fields = None if examples is None else _fields(examples, flow)
        if settings.keep == "best":
            raise InputError('keep="last" beside an action, which has no examples to hold out', 'keep="best"')
        options = (settings.estimator, settings.anneal, settings.alpha)
        objective = ReverseKL(flow, action, *options, fields, settings.field_share)
        return Objectives(objective, ReverseKL(flow, action, settings.estimator, alpha=settings.alpha))
    splits = as_splits(examples, flow.plan.input.event_shape)
    check_data(splits, flow)
    held_out = None
    if settings.keep == "best":
        splits, held_out = _hold_out(splits)
    n, in_order = length_hint(splits.train), getattr(splits.train, "in_order", False)
    rows = rows_per_step(settings.batch_size, n, processes)
    train = likelihood(flow, splits.train, Order(n, rows, settings.seed, in_order))
    test = likelihood(flow, splits.test)
    validation = None if held_out is None else likelihood(flow, held_out)
    if loss is not None:
        own = None if validation is None else OwnLoss(validation, loss)
        return Objectives(OwnLoss(train, loss), OwnLoss(test, loss), own, splits.source, in_order)
    return Objectives(train, test, validation, splits.source, in_order)


def _hold_out(splits: DataSplits) -> tuple[DataSplits, Examples]:
    """Hold out every tenth training example, which chooses the weights to keep."""
    if getattr(splits.train, "in_order", False) or length_hint(splits.train) < 2:
        raise InputError('at least 2 training examples that can be read in any order, for keep="best"', repr(splits))
    return replace(splits, train=Part(splits.train, False)), Part(splits.train, True)


def _split(data: Any) -> tuple[Any, Any]:
    """Split the data into an action and examples; a missing part is None."""
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
    """Refuse training and test examples that are empty, of two kinds, or of another shape than the flow's data."""
    sizes = [length_hint(examples, 1) for examples in (data.train, data.test)]
    if 0 in sizes:
        raise InputError("training and test examples", f"{sizes[0]} and {sizes[1]}")
    firsts = data.train[0], data.test[0]
    kinds = [likelihood_of(example) for example in firsts]
    if kinds[0] is not kinds[1]:
        raise InputError("training and test examples of one kind", f"{kinds[0].name} and {kinds[1].name}")
    expected = flow.plan.input.event_shape
    for example in firsts:
        if tuple(example.shape) != expected:
            raise InputError(f"{kinds[0].name} of shape {expected}, as the flow's", str(tuple(example.shape)))


def _fields(data: Any, flow: Density) -> Examples:
    """Convert fields of the target to a data set that can be read in any order."""
    splits = as_splits((data, data), flow.plan.input.event_shape)
    check_data(splits, flow)
    if likelihood_of(splits.train[0]) is not FieldLikelihood or getattr(splits.train, "in_order", False):
        raise InputError("fields of floats that can be read in any order", type(data).__name__)
    return splits.train
