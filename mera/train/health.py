"""The verdict on a run: whether it diverged, and whether the flow overfits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

from mera.bijectors.laws import round_trip_error
from mera.density import Density
from mera.train.objective import Objective

ROWS = 8
"""The number of examples whose round trip is computed at each evaluation."""
LARGEST_WEIGHT = 1e6
"""Weights beyond this size count as diverged."""
RISE = 0.02
"""A rise of the test loss above its best value that is reported, in bits or nats for each variable; for a loss of the
user's own, whose unit is not known, a fraction of the loss of the first step."""
WORSE = 0.5
"""A rise of the median training loss above the loss of the first step that counts as diverged, in the same unit; a
tenth of the loss of the first step if that is more."""
SETTLED = 50
"""The step from which the training loss is compared with that of the first step."""


class Verdict(NamedTuple):
    """A verdict on a run.

    Args:
        diverged: whether the weights of the last step should not be used.
        text: a sentence that says why, and what to change; or that nothing is wrong.
    """

    diverged: bool
    text: str


@torch.no_grad()
def inverse_error(flow: Density, objective: Objective) -> float:
    r"""The largest error of :math:`x \to z \to x` in the flow's dtype, relative to the largest value of x.

    Args:
        objective: makes the data, the first rows of an evaluation.
    """
    rows = range(min(ROWS, objective.size or ROWS))
    batch = tuple(tensor.to(flow.device) for tensor in objective.batch(0, 0, rows))
    x, context = objective.data(flow, batch)
    bare = flow.flow
    again = bare.inverse(bare(x, context)[0], context)[0]
    return round_trip_error(x, again, bare.of_angles)


def judge(flow: Density, history: Sequence[dict[str, float]], metric: str, first_loss: float) -> Verdict:
    """The verdict on a run after its last evaluation.

    Args:
        flow: the flow with the weights of the last step.
        history: the metrics of all evaluations.
        metric: the suffix of the names of losses, as in "test_bits".
        first_loss: the loss of the batch of the first step; NaN if it is not known.
    """
    change = "lower lr, or raise warmup or batch_size"
    values = [parameter.detach() for parameter in flow.parameters()]
    if not all(value.isfinite().all() for value in values):
        return Verdict(True, f"diverged: weights are infinite or NaN; {change}")
    largest = max((value.abs().max().item() for value in values if value.numel()), default=0.0)
    if largest > LARGEST_WEIGHT:
        return Verdict(True, f"diverged: the largest weight is {largest:.2g}; {change}")
    if not history:
        return Verdict(False, "not evaluated")
    last = history[-1]
    error, tolerance = last.get("inverse_error", 0.0), 10 * math.sqrt(torch.finfo(flow.dtype).eps)
    if error > tolerance:
        return Verdict(True, f"diverged: the inverse is wrong by {error:.2g} of the data's range; {change}")
    loss, median = last[f"test_{metric}"], f"median_{metric}"
    best = min(history, key=lambda line: line[f"test_{metric}"])
    training, settled = last.get(median, loss), last["step"] >= SETTLED
    unit = abs(first_loss) if metric == "loss" else 1.0
    if settled and training > first_loss + max(WORSE * unit, abs(first_loss) / 10):
        losses = f"the median training loss is {training:.4g}, and was {first_loss:.4g} in the first step"
        return Verdict(True, f"diverged: {losses}; {change}")
    rise = loss - best[f"test_{metric}"]
    if rise > RISE * unit:
        since = f"the test loss rose by {rise:.2g} since step {best['step']:.0f}"
        if last.get(median, math.nan) < best.get(median, math.nan):
            advice = 'more or augmented data, a smaller flow, weight_decay, or keep="best"'
            return Verdict(False, f"overfits: {since}, while the training loss fell; try {advice}")
        return Verdict(False, f"unsteady: {since}; {change}")
    return Verdict(False, "no sign of divergence")
