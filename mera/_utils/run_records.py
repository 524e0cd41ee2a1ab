"""The records in the folder of a run: configuration, metrics and steps; read without torch."""

from __future__ import annotations

import json
import math
import re
from os import PathLike
from typing import Any

from mera._utils.errors import InputError
from mera._utils.files import as_path
from mera._utils.table import Table, Tabled

UNITS = {"bits": "bits/dim", "nats": "nats/variable", "loss": "loss"}
"""The unit of each metric, by the name of the metric without its prefix."""

FACTS = ("model", "data", "steps", "minutes", "test", "unit", "weights", "parameters")
"""The names of the facts of a run."""


class RunRecords(Tabled):
    """The files of a run that a person can read."""

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = as_path(path)
        self.checkpoints = self.path / "checkpoints"
        self._config = self.path / "config.json"
        self._metrics = self.path / "metrics.jsonl"

    def config(self) -> dict[str, Any]:
        """The configuration of the run."""
        if not self._config.is_file():
            raise FileNotFoundError(f"Expected the folder of a run; got {self.path}, which has no config.json")
        try:
            config = json.loads(self._config.read_text())
        except ValueError as error:
            raise InputError(f"JSON in {self._config}", str(error)) from error
        if not isinstance(config, dict):
            raise InputError(f"a JSON object in {self._config}", repr(config))
        return config

    def steps(self) -> list[int]:
        """The steps of the checkpoints, in ascending order."""
        matches = (re.fullmatch(r"step_(\d{8,})\.pt", path.name) for path in self.checkpoints.glob("step_*"))
        return sorted(int(match[1]) for match in matches if match is not None)

    def metrics(self) -> list[dict[str, Any]]:
        """The metrics so far, one dict for each line of the file; an incomplete last line is left out."""
        if not self._metrics.exists():
            return []
        try:
            lines = self._metrics.read_text().rpartition("\n")[0].splitlines()
            metrics = [json.loads(line) for line in lines]
            [line["step"] + 0 for line in metrics]
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"a JSON object with a step in each line of {self._metrics}", str(error)) from error
        return metrics

    def learnt_fields(self) -> bool:
        """Whether the run learnt fields of floats rather than images."""
        config = self.config()
        return "action" in config or config.get("learns") == "fields"

    def facts(self) -> dict[str, Any]:
        """A row of a list of runs: model, data, steps, minutes, test loss with its unit, parameters."""
        config, metrics = self.config(), self.metrics()
        kept, weights = _kept(metrics)
        name = next((name for name in UNITS if f"test_{name}" in kept), None)
        return {
            "model": config.get("model", "own layout" if "layout" in config else None),
            "data": config.get("action") or config.get("data", {}).get("name"),
            "steps": max(self.steps(), default=0),
            "minutes": round(metrics[-1]["seconds"] / 60, 2) if metrics and "seconds" in metrics[-1] else None,
            "test": None if name is None else round(kept[f"test_{name}"], 4),
            "unit": None if name is None else UNITS[name],
            "weights": weights,
            "parameters": config.get("parameters"),
        }

    @property
    def table(self) -> Table:
        """The facts of the run, one in each row; only the path of a folder without a run."""
        try:
            facts = self.facts() if self._config.is_file() else {}
        except ValueError as error:
            facts = {"damaged": str(error)}
        rows = {"run": str(self.path)} | {name: value for name, value in facts.items() if value is not None}
        return Table(["", ""], [[name, f"{v:,}" if isinstance(v, int) else v] for name, v in rows.items()])


def _kept(metrics: list[dict[str, Any]]) -> tuple[dict[str, Any], str | None]:
    """The metrics of the weights that a run keeps, and which weights these are: the last, or those of its best step."""
    if not metrics:
        return {}, None
    validation = next((key for key in metrics[-1] if key.startswith("validation_")), None)
    if validation is None:
        return metrics[-1], "last"
    best = min(metrics, key=lambda line: line.get(validation, math.inf))
    return best, f"best, step {best['step']}"
