"""The laws of the folder of a run."""

from __future__ import annotations

from typing import Any

from mera.analysis.laws.report import CheckReport
from mera.models.saving import load
from mera.train.run import RunFolder


def check_run(run: RunFolder, report: CheckReport) -> Any:
    """Check that the files of a run can be read; return its flow, None if it cannot be loaded."""
    flow: list[Any] = []
    report.attempt("the configuration can be read", lambda: f"model {run.config().get('model', 'a layout')}")
    report.attempt("the flow can be loaded, with finite weights", lambda: flow.append(load(run.path)))
    report.attempt("the last checkpoint can be read", lambda: f"step {run.state()['step']}")
    report.attempt("metrics can be read", lambda: f"{len(run.metrics())} evaluations")
    return flow[0] if flow else None
