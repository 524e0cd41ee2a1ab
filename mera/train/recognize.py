"""Conversion of the argument `data` of `fit` to objectives: examples, an action, or a family of actions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from torch import Tensor, nn

from mera._utils.errors import InputError
from mera._utils.processes import world_size
from mera.data import DataSplits, as_splits
from mera.data.examples import hold_out, misread_floats
from mera.data.fingerprint import bytes_of, digest, fingerprint
from mera.data.items import check_example
from mera.flow.density import Density
from mera.physics.action import ActionFamily
from mera.physics.flow_samplers import target_of_flow
from mera.physics.target import Target
from mera.train.batches import Objective, Order, rows_per_step
from mera.train.likelihoods import FieldLikelihood, likelihood, likelihood_of
from mera.train.reverse_kl import ReverseKL
from mera.train.settings import Settings


class Objectives(NamedTuple):
    """The objectives of training and of evaluations."""

    train: Objective
    test: Objective
    validation: Objective | None = None
    splits: DataSplits | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """The learnt data in values of JSON: fingerprints of the data, or the facts of the objective."""
        if self.splits is None:
            return dict(self.train.facts)
        facts: dict[str, Any] = {"data": {part: fingerprint(getattr(self.splits, part)) for part in ("train", "test")}}
        contexts = {"train": self.train.contexts, "test": self.test.contexts}
        return facts | {"labels": {part: digest([bytes_of(c)]) for part, c in contexts.items() if c is not None}}


def recognize(
    flow: Density,
    data: Any,
    settings: Settings,
    loss: Callable[[Density, Any], Tensor] | None = None,
    test: Any = None,
    labels: Any = None,
    test_labels: Any = None,
) -> Objectives:
    """The objectives of training and evaluation for the arguments of `fit`, whose table lists all kinds of data."""
    if is_action(data):
        arguments: dict[str, Any] = {"loss": loss, "test": test, "labels": labels, "test_labels": test_labels}
        arguments[f'keep="{settings.keep}"'] = settings.keep != "last" or None
        if refused := [name for name, value in arguments.items() if value is not None]:
            raise InputError(f"An action has no examples, and takes no {', '.join(refused)}", "")
        if isinstance(data, ActionFamily):
            k = len(data.ranges)
            if flow.plan.context != (k,) or not flow.flow.needs_context:
                got = f"the context {flow.plan.context}"
                raise InputError(f"a flow for {data!r} that was built with context={k}", got)
            middle = flow.given(data.context(**data.middle).to(flow.device))
            objective = ReverseKL(flow, target_of_flow(middle, data.at(**data.middle)), data)
        else:
            objective = ReverseKL(flow, target_of_flow(flow, data))
        return Objectives(objective, objective)
    if not flow.flow.needs_context and not (labels is None and test_labels is None):
        raise InputError(
            "a conditional flow for labels, mera.build(..., classes=K)", "one without context, or a fixed one"
        )
    splits = as_splits(data, flow.plan.input.event_shape, test, labels, test_labels)
    held_out = None
    if settings.keep != "last":
        if len(splits.train) < 2:
            raise InputError(f'at least 2 training examples, for keep="{settings.keep}"', repr(splits))
        training, held_out = hold_out(splits.train)
        splits = replace(splits, train=training)
    check_data(splits, flow)
    n = len(splits.train)
    order = Order(n, rows_per_step(settings.batch_size, n, world_size()), settings.seed)
    train = likelihood(flow, splits.train, order, loss)
    tested = likelihood(flow, splits.test, user_loss=loss)
    validation = None if held_out is None else likelihood(flow, held_out, user_loss=loss)
    return Objectives(train, tested, validation, splits)


def is_action(data: Any) -> bool:
    """Return whether data is an action rather than examples."""
    if isinstance(data, nn.Module):  # a Sequential can be indexed, too
        return not isinstance(data, Density)
    if isinstance(data, Target):
        return True
    has_items = any(hasattr(data, name) for name in ("__getitem__", "__iter__"))
    return callable(data) and not has_items and not isinstance(data, Density)


def check_data(data: DataSplits, flow: Density) -> None:
    """Refuse training and test examples that are empty, of two kinds, or not of the flow's shape and domain.

    Floats that should not be learnt as fields are refused too, unless `as_fields` says that they are fields.
    """
    sizes = [len(data.train), len(data.test)]
    if 0 in sizes:
        raise InputError("training and test examples", f"{sizes[0]} and {sizes[1]}")
    firsts, expected = (data.train[0], data.test[0]), flow.plan.input.event_shape
    for example in firsts:
        check_example(example, expected)
        is_field = example.is_floating_point()
        if flow.flow.of_angles and not (is_field and example.abs().max() <= math.pi + 1e-4):
            got = f"values up to {example.abs().max().item():.4g}" if is_field else f"images of {example.dtype}"
            raise InputError("angles from -pi to pi, as floats, for a flow of angles", got)
    kinds = [likelihood_of(example) for example in firsts]
    if kinds[0] is not kinds[1]:
        raise InputError("training and test examples of one kind", f"{kinds[0].name} and {kinds[1].name}")
    if data.are_fields and kinds[0] is not FieldLikelihood:
        raise InputError("fields of floats, x.float(), for as_fields", f"examples of {firsts[0].dtype}")
    if kinds[0] is FieldLikelihood and not (data.are_fields or flow.flow.of_angles):
        for part in (data.train, data.test):
            if got := misread_floats(part, expected):
                raise InputError("uint8 images or fields of floats", got)
