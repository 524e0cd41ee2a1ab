"""A run's folder: what was asked for, what came of it, and what is needed to go on.

config.json         the model, the data and the settings
flow.safetensors    the flow, for `mera.load`
state.pt            optimiser, step and random state, for going on; tensors and numbers only
metrics.jsonl       a line an evaluation
tensorboard/        the same as curves
samples/            a grid of samples an evaluation
"""

from __future__ import annotations

import io
import json
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from mera.files import write_atomically
from mera.flow import Flow
from mera.io import WEIGHTS, load, save

__all__ = ["RunFolder"]


class RunFolder:
    """One run's files.

    Args:
        path: the folder.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        self.weights = self.path / WEIGHTS
        self.samples = self.path / "samples"
        self.tensorboard = self.path / "tensorboard"
        self._config = self.path / "config.json"
        self._state = self.path / "state.pt"
        self._metrics = self.path / "metrics.jsonl"

    def create(self, config: dict[str, Any]) -> None:
        """Start a run here.

        Raises:
            FileExistsError: if the folder holds a run already; one that never saved anything is replaced.
        """
        if self._config.exists() and self._state.exists():
            raise FileExistsError(
                f"Expected a folder without a run; got {self.path}: go on with it (--resume {self.path}), "
                "or choose another"
            )
        self.samples.mkdir(parents=True, exist_ok=True)
        write_atomically(self._config, json.dumps(config, indent=2).encode())

    def config(self) -> dict[str, Any]:
        """What `create` was given.

        Raises:
            FileNotFoundError: if there is no run here.
        """
        if not self._config.is_file():
            raise FileNotFoundError(f"Expected the folder of a run; got {self.path}, which has no config.json")
        try:
            config = json.loads(self._config.read_text())
        except ValueError as error:
            raise ValueError(f"Expected JSON in {self._config}; got {error}") from error
        if not isinstance(config, dict):
            raise ValueError(f"Expected a JSON object in {self._config}; got {config!r}")
        return config

    def flow(self) -> Flow:
        """The flow as it was saved last."""
        self.config()
        return load(self.weights)

    def save(self, flow: Flow, state: dict[str, Any]) -> None:
        """Write the flow and the state of its training, each whole or not at all."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        save(flow, self.weights)
        write_atomically(self._state, buffer.getvalue())

    def state(self) -> dict[str, Any]:
        """The state of training that was saved last; nothing in the file is run."""
        try:
            return torch.load(self._state, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            raise
        except Exception as error:  # whatever an unpickler makes of a damaged file
            raise ValueError(f"Expected the state of a run in {self._state}; got a damaged file") from error

    def log(self, metrics: dict[str, float]) -> None:
        """Add a line to the metrics."""
        with open(self._metrics, "a") as file:
            file.write(json.dumps(metrics) + "\n")

    def metrics(self) -> list[dict[str, float]]:
        """The lines so far; a last line that was cut off is left out."""
        if not self._metrics.exists():
            return []
        whole = self._metrics.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]
