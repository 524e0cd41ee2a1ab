"""The records in the folder of a run: its manifest, metrics and steps; read without torch."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from os import PathLike
from typing import Any

from mera._utils.errors import InputError
from mera._utils.manifest import Manifest

UNITS = {"bits": "bits/dim", "nats": "nats/variable", "loss": "loss"}
"""The unit of each metric, by the name of the metric without its prefix."""
METRICS = "metrics.jsonl"
"""The file of metrics."""
ROW = ("model", "data", "steps", "minutes", "test", "unit", "weights", "parameters")
"""The names in a row of a list of runs."""


class RunRecords(Manifest):
    """The files of a run that a person can read."""

    def __init__(self, path: str | PathLike[str]) -> None:
        super().__init__(path, "run")
        self.checkpoints = self.path / "checkpoints"

    def steps(self) -> list[int]:
        """The steps of the checkpoints, in ascending order."""
        matches = (re.fullmatch(r"step_(\d{8,})\.pt", path.name) for path in self.checkpoints.glob("step_*"))
        return sorted(int(match[1]) for match in matches if match is not None)

    def metrics(self) -> list[dict[str, Any]]:
        """The metrics so far, one dict for each evaluation.

        Raises:
            ValueError: if lines are damaged, or some are gone that the last checkpoint counts.
        """
        expected = self._evaluations()  # first, since another process may add lines meanwhile
        lines = self.entries(METRICS)
        if len(lines) < expected:
            got = f"{len(lines)}: lines are gone"
            raise InputError(f"the metrics of {expected} evaluations", got, where=str(self.path / METRICS))
        return lines

    def _evaluations(self) -> int:
        """The number of evaluations that the last checkpoint counts; of an earlier one if that file is damaged."""
        for step in reversed(self.steps()):
            with suppress(InputError, FileNotFoundError):
                return self.read_part(self._checkpoint(step))[1]["evaluations"]
        return 0

    def _checkpoint(self, step: int) -> str:
        """The path of the checkpoint of a step within the folder."""
        return f"checkpoints/step_{step:08d}.pt"

    def learnt_fields(self) -> bool:
        """Return whether the run learnt fields of floats rather than images."""
        facts = self.facts()
        return "action" in facts or facts.get("learns") == "fields"

    def row(self) -> dict[str, Any]:
        """A row of a list of runs: model, data, steps, minutes, test loss with its unit, parameters."""
        facts, metrics = self.facts(), self.metrics()
        kept, weights = _kept(metrics)
        name = next((name for name in UNITS if f"test_{name}" in kept), None)
        return {
            "model": facts.get("model", "own layout" if "layout" in facts else None),
            "data": facts.get("action") or (facts.get("source") or {}).get("name"),
            "steps": max(self.steps(), default=0),
            "minutes": round(metrics[-1]["seconds"] / 60, 2) if metrics and "seconds" in metrics[-1] else None,
            "test": None if name is None else round(kept[f"test_{name}"], 4),
            "unit": None if name is None else UNITS[name],
            "weights": weights,
            "parameters": facts.get("parameters"),
        }

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"


def _kept(metrics: list[dict[str, Any]]) -> tuple[dict[str, Any], str | None]:
    """The metrics of the weights that a run keeps, and which weights these are: the last, or those of its best step."""
    if not metrics:
        return {}, None
    validation = next((key for key in metrics[-1] if key.startswith("validation_")), None)
    if validation is None:
        return metrics[-1], "last"
    best = min(metrics, key=lambda line: line.get(validation, math.inf))
    return best, f"best, step {best['step']}"
