"""The folder of a run: its configuration, checkpoints and results.

config.json         the model, the data and the settings
flow.safetensors    the flow to use, for `mera.load`: with the last weights, or with keep="best" the best weights so far
checkpoints/        everything that is needed to resume the run, for the last few steps
metrics.jsonl       one line for each evaluation
tensorboard/        curves of the metrics, with the extra tensorboard
samples/            one grid of samples for each evaluation

Reading these files never runs code from them.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager
from os import PathLike
from pathlib import Path
from typing import Any

from torch import Tensor

from mera._utils.files import locked, make_folder, remove_leftovers, write_atomically
from mera._utils.run_records import RunRecords
from mera.flow.density import Density
from mera.models.archive import read_tensors, write_archive, write_tensors
from mera.models.saving import WEIGHTS, save


class RunFolder(RunRecords):
    """The files of one run.

    Args:
        path: the folder, which need not exist yet.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        super().__init__(path)
        self.weights = self.path / WEIGHTS
        self.samples = self.path / "samples"
        self.tensorboard = self.path / "tensorboard"

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write the configuration of the run.

        Args:
            config: the entries; a value that JSON cannot hold is written as its text.
        """
        make_folder(self.path)
        write_atomically(self._config, json.dumps(config, indent=2, default=str).encode())

    def locked(self) -> AbstractContextManager[None]:
        """A context in which no other run can write to the folder.

        Raises:
            FileExistsError: if another process, or another `RunFolder` of this process, has locked the folder.
        """
        return locked(self.path, "a folder that no other run writes to")

    # Checkpoints

    def save(self, flow: Density | None, state: dict[str, Any], step: int, keep: int = 2) -> None:
        """Write the flow, then a checkpoint, each whole or not at all; remove older checkpoints.

        Args:
            flow: the flow to use later: the running mean of the weights, if there is one; None to keep the file.
            state: the state of training, made of tensors and plain values.
            step: steps taken.
            keep: the number of latest checkpoints to keep.
        """
        make_folder(self.checkpoints)
        for folder in (self.path, self.checkpoints):
            remove_leftovers(folder)
        if flow is not None:
            save(flow, self.weights)
        write_tensors(self._checkpoint(step), state)  # last: a run killed before it resumes from an earlier checkpoint
        for later in self.steps():  # damaged checkpoints, if the run resumed from an earlier one
            if later > step:
                self._checkpoint(later).unlink()
        for old in self.steps()[:-keep]:
            self._checkpoint(old).unlink()

    def state(self) -> dict[str, Any]:
        """The state of training in the last checkpoint; if that file is damaged, an older state, with a warning.

        Raises:
            FileNotFoundError: if there is no checkpoint.
            ValueError: if all checkpoints are damaged.
        """
        steps = self.steps()
        if not steps:
            raise FileNotFoundError(f"Expected a checkpoint in {self.checkpoints}; got none")
        reasons = []
        for step in reversed(steps):
            try:
                state = read_tensors(self._checkpoint(step))
            except (ValueError, OSError) as error:
                reasons.append(str(error))
                continue
            for reason in reasons:
                warnings.warn(f"{reason}; going on from step {step} instead", stacklevel=2)
            return state
        raise ValueError("; ".join(reasons))

    def _checkpoint(self, step: int) -> Path:
        return self.checkpoints / f"step_{step:08d}.pt"

    # Results

    def log(self, metrics: dict[str, Any]) -> None:
        """Append a line to the metrics, and flush it to the disk."""
        with open(self._metrics, "a") as file:
            file.write(json.dumps(metrics) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def rewind(self, step: int) -> None:
        """Remove the metrics of later steps, which a resumed run repeats."""
        lines = [json.dumps(line) + "\n" for line in self.metrics() if line["step"] <= step]
        if self._metrics.exists():
            write_atomically(self._metrics, "".join(lines).encode())

    def save_failed_batch(self, batch: dict[str, Tensor], step: int, rank: int) -> Path:
        """Write a batch whose loss or gradient was not finite."""
        path = self.path / f"not_finite_step_{step:08d}_process_{rank}.safetensors"
        write_archive(path, {"step": step}, batch)
        return path
