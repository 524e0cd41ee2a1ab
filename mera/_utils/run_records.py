"""What the folder of a run says of it: configuration, metrics and steps, without torch."""

from __future__ import annotations

import json
import re
from os import PathLike
from typing import Any

from mera._utils.errors import InputError
from mera._utils.files import as_path

UNITS = {"bits": "bits/dim", "nats": "nats/variable", "loss": "loss"}
"""The unit of each metric, by the name of the metric without its prefix."""


class RunRecords:
    """The files of a run that a person can read.

    Args:
        path: the folder, which need not exist yet.

    Raises:
        ValueError: if `path` is not a path.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = as_path(path)
        self.checkpoints = self.path / "checkpoints"
        self._config = self.path / "config.json"
        self._metrics = self.path / "metrics.jsonl"

    def config(self) -> dict[str, Any]:
        """The configuration that `create` wrote.

        Raises:
            FileNotFoundError: if there is no run in this folder.
            ValueError: if the file is damaged.
        """
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
        matches = (re.fullmatch(r"step_(\d{8,})\.safetensors", path.name) for path in self.checkpoints.glob("step_*"))
        return sorted(int(match[1]) for match in matches if match is not None)

    def metrics(self) -> list[dict[str, Any]]:
        """The metrics so far, one dict for each line of the file; an incomplete last line is left out.

        Raises:
            ValueError: if another line is damaged.
        """
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
        return any("test_nats" in line for line in self.metrics())
