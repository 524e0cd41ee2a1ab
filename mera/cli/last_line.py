"""The last line of `mera train`: how good the trained flow is."""

from __future__ import annotations

import math
from typing import Any

from mera.data import DataSplits
from mera.display.means import plus_minus
from mera.physics.verdicts import format_ess
from mera.train import Result, Settings


def loss_of(result: Result, data: Any, settings: Settings) -> str:
    """The final test loss, or the ESS and the free energy of an action, for the last line of output."""
    if math.isnan(result.test_loss):
        return ""
    loss = plus_minus(result.test_loss, result.test_error)
    if isinstance(data, DataSplits):
        n = min(settings.eval_images, len(data.test))
        examples = f"{n:,}" if n == len(data.test) else f"{n:,} of {len(data.test):,}"
        return f": {loss} {result.unit} on {examples} {result.measured}"
    last = result.history.metrics[-1] if result.history.metrics else {}
    if "ess" not in last:
        return f": {loss} {result.unit}"
    ess = format_ess(last["ess"], last.get("pareto_k", math.nan))
    free_energy = plus_minus(last["free_energy"], last.get("free_energy_error", math.nan))
    return f": ESS {ess}, variational free energy {free_energy}"
