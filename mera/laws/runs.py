"""The laws of the folder of a run."""

from __future__ import annotations

import math
from typing import Any

from mera.laws.report import CheckReport
from mera.train.run import RunFolder


def check_run(run: RunFolder, report: CheckReport) -> Any:
    """Check that the files of a run can be read and belong together; return its flow, None if it cannot be loaded."""
    flow: list[Any] = []

    def load() -> str:
        flow.append(run.flow())
        return str(run.weights.name)

    def finite() -> str:
        for name, value in flow[0].state_dict().items():
            if not value.isfinite().all():
                raise ValueError(f"Expected finite weights; got infinite values or NaN in {name!r}")
        return f"{sum(value.numel() for value in flow[0].parameters()):,} parameters"

    def state() -> str:
        return f"step {run.state()['step']} of {run.config().get('settings', {}).get('steps', 'an unknown number')}"

    def metrics() -> str:
        lines = run.metrics()
        steps = [line["step"] for line in lines]
        if steps != sorted(set(steps)):
            raise ValueError(f"Expected metrics with steps that grow; got {steps[:5]}")
        wrong = [name for line in lines for name, value in line.items() if not math.isfinite(value)]
        if wrong:
            raise ValueError(f"Expected finite metrics; got others for {sorted(set(wrong))}")
        return f"{len(lines)} evaluations"

    report.attempt("the configuration can be read", lambda: f"model {run.config().get('model', 'a layout')}")
    report.attempt("the flow can be loaded", load)
    if flow:
        report.attempt("weights are finite", finite)
    report.attempt("the last checkpoint can be read", state)
    report.attempt("metrics are finite and in order", metrics)
    return flow[0] if flow else None
