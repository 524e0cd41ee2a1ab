"""Conversion of the argument `data` of `fit` to objectives: examples, an action, or an action with target fields."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from operator import length_hint
from typing import Any, NamedTuple

from torch import Tensor, nn

from mera._utils.errors import InputError
from mera.data import DataSplits, Examples, as_splits
from mera.data.examples import hold_out
from mera.data.gate import AS_IMAGES, Pictures, check_example, look_like_images
from mera.density import Density
from mera.physics.check_target import check_sampled
from mera.physics.family import ActionFamily
from mera.train.family_kl import FamilyKL
from mera.train.likelihoods import FieldLikelihood, likelihood, likelihood_of
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
    as_images: bool | None = None,
) -> Objectives:
    """The objectives of training and evaluation for the argument `data` of `fit`, whose table lists all kinds.

    Args:
        data: an action, a pair (action, fields), or examples of any kind.
        loss: a loss of the user's own on examples.
        as_images: whether examples of other dtypes and layouts are converted to uint8 images (see `Pictures`); with
            None, floats that look like images give a warning.

    Raises:
        ValueError: if the data is of another kind, or does not fit the flow or the other arguments.
        FloatingPointError: see `check_target`.
    """
    action, examples = _split(data)
    if action is not None:
        if as_images:
            raise InputError("as_images=False beside an action", "as_images=True")
        if loss is not None:
            raise InputError("no loss of your own beside an action, which is one", repr(loss))
        if settings.keep == "best":
            raise InputError('keep="last" beside an action, which has no examples to hold out', 'keep="best"')
        if isinstance(action, ActionFamily):
            return _of_family(flow, action, examples, settings)
        action = check_sampled(flow, action)
        fields = None if examples is None else _fields(examples, flow)
        options = (settings.estimator, settings.anneal, settings.alpha)
        objective = ReverseKL(flow, action, *options, fields, settings.field_share)
        return Objectives(objective, ReverseKL(flow, action, settings.estimator, alpha=settings.alpha))
    splits = as_splits(examples, flow.plan.input.event_shape, flow.plan.context is not None)
    held_out = None
    if settings.keep == "best":
        if getattr(splits.train, "in_order", False) or length_hint(splits.train) < 2:
            expected = 'at least 2 training examples that can be read in any order, for keep="best"'
            raise InputError(expected, repr(splits))
        training, held_out = hold_out(splits.train)
        splits = replace(splits, train=training)
    if as_images:
        splits = replace(splits, train=_pictures(splits.train, flow), test=_pictures(splits.test, flow))
        held_out = None if held_out is None else _pictures(held_out, flow)
    check_data(splits, flow, warn=as_images is None)
    n, in_order = length_hint(splits.train), getattr(splits.train, "in_order", False)
    rows = rows_per_step(settings.batch_size, n, processes)
    train = likelihood(flow, splits.train, Order(n, rows, settings.seed, in_order), loss)
    test = likelihood(flow, splits.test, own=loss)
    validation = None if held_out is None else likelihood(flow, held_out, own=loss)
    return Objectives(train, test, validation, splits.source, in_order)


def _of_family(flow: Density, family: ActionFamily, examples: Any, settings: Settings) -> Objectives:
    """The objectives of a family of actions."""
    if examples is not None:
        raise InputError("a family of actions alone", "fields of the target beside it")
    if flow.plan.context != (len(family.ranges),) or not flow.flow.needs_context:
        k = len(family.ranges)
        raise InputError(f"a flow for {family!r} that was built with context={k}", f"the context {flow.plan.context}")
    middle = family.context(**family.middle).to(flow.device)
    check_sampled(flow.given(middle), family.at(**family.middle))
    train = FamilyKL(flow, family, settings.estimator, settings.anneal, settings.alpha)
    return Objectives(train, FamilyKL(flow, family, settings.estimator, alpha=settings.alpha))


def _pictures(examples: Examples, flow: Density) -> Any:
    """Examples as uint8 images; refuses a stream, whose items can do the same."""
    if getattr(examples, "in_order", False):
        raise InputError("examples that can be read in any order beside as_images=True", "a stream")
    return Pictures(examples, flow.plan.input.event_shape)


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
    if isinstance(data, nn.Module):  # a Sequential can be indexed, too
        return not isinstance(data, Density)
    has_items = any(hasattr(data, name) for name in ("__getitem__", "__iter__"))
    return callable(data) and not has_items and not isinstance(data, Density)


def check_data(data: DataSplits, flow: Density, warn: bool = True) -> None:
    """Refuse training and test examples that are empty, of two kinds, or not of the flow's shape and domain.

    Warns:
        UserWarning: if fields of floats look like images.
    """
    sizes = [length_hint(examples, 1) for examples in (data.train, data.test)]
    if 0 in sizes:
        raise InputError("training and test examples", f"{sizes[0]} and {sizes[1]}")
    firsts, expected = (data.train[0], data.test[0]), flow.plan.input.event_shape
    for example in firsts:
        check_example(example, expected)
        _check_domain(example, flow)
    kinds = [likelihood_of(example) for example in firsts]
    if kinds[0] is not kinds[1]:
        raise InputError("training and test examples of one kind", f"{kinds[0].name} and {kinds[1].name}")
    is_stream = getattr(data.train, "in_order", False)
    if warn and kinds[0] is FieldLikelihood and not is_stream and look_like_images(data.train, expected):
        warnings.warn(
            "Expected uint8 images or fields; got floats in [0, 1] in the shape of images, which are learnt as fields, "
            f"in nats for each variable: {AS_IMAGES} to learn images in bits per dimension, or as_images=False for "
            "fields",
            stacklevel=3,
        )


def _check_domain(example: Tensor, flow: Density) -> None:
    """Refuse an example outside of [-pi, pi] for a flow of angles."""
    if flow.flow.of_angles and not (example.is_floating_point() and example.abs().max() <= math.pi + 1e-4):
        is_field = example.is_floating_point()
        got = f"values up to {example.abs().max().item():.4g}" if is_field else f"images of {example.dtype}"
        raise InputError("angles from -pi to pi, as floats, for a flow of angles", got)


def _fields(data: Any, flow: Density) -> Examples:
    """Convert fields of the target to a data set that can be read in any order."""
    splits = as_splits((data, data), flow.plan.input.event_shape)
    check_data(splits, flow)
    if likelihood_of(splits.train[0]) is not FieldLikelihood or getattr(splits.train, "in_order", False):
        raise InputError("fields of floats that can be read in any order", type(data).__name__)
    return splits.train
