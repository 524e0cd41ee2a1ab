"""The laws of lattice actions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from mera._utils.checks import check_shape
from mera._utils.random import fixed_seed
from mera.analysis.laws.report import CheckReport
from mera.physics.action import ActionLike
from mera.physics.check_target import laws_of
from mera.physics.short_run import is_differentiable


def check_action(action: ActionLike, report: CheckReport, shape: Sequence[int] | None) -> None:
    """Check what an action declares, one law after the other; see `mera.physics.check_target`.

    Args:
        shape: the shape (C, *shape) of a field; None for a square lattice of 6 x 6, of the action's channels.
    """
    channels = getattr(action, "channels", None) or 1
    event_shape = (channels, 6, 6) if shape is None else check_shape(shape, "shape", 2)
    parameters = action.parameters() if isinstance(action, nn.Module) else iter(())
    like = next(parameters, torch.empty(0, dtype=torch.float64)).detach()
    with fixed_seed(0):
        for name, law in laws_of(event_shape, action, like).items():
            report.attempt(name, law)
    if not report.ok:
        return
    fields = torch.randn(2, *event_shape).to(like)
    if is_differentiable(action, fields):  # type: ignore[arg-type]
        report.add("the action has a gradient", True)
    else:
        report.skip("the action has a gradient", 'none: train with estimator="score", and sample without HMC')
