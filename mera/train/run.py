"""The folder of a run: its manifest, checkpoints and results.

manifest.json       the facts: the model, the data, the loss and the settings; see `mera._utils.manifest`
flow.safetensors    the flow to use, for `mera.load`: with the last weights, or with keep="best" the best weights so far
checkpoints/        everything that is needed to resume the run, for the last few steps
metrics.jsonl       one line for each evaluation
samples/            one grid of samples for each evaluation

Reading these files never runs code from them.
"""

from __future__ import annotations

import warnings
from os import PathLike
from typing import Any

from mera._utils.errors import InputError
from mera._utils.files import make_folder
from mera._utils.run_records import METRICS, RunRecords
from mera.flow.density import Density
from mera.models.archive import pack_tensors, unpack_tensors
from mera.models.saving import WEIGHTS, write_flow

PARTS = (METRICS, WEIGHTS, "checkpoints/step_*.pt")
"""The names of the parts of a run."""


class RunFolder(RunRecords):
    """The files of one run.

    Args:
        path: the folder, which need not exist yet.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        super().__init__(path)
        self.weights = self.path / WEIGHTS
        self.samples = self.path / "samples"

    def save(self, flow: Density | None, state: dict[str, Any], step: int, keep: int = 2) -> None:
        """Write the flow, then a checkpoint, each whole or not at all; remove older checkpoints.

        Args:
            flow: the flow to use later: the running mean of the weights, if there is one; None to keep the file.
            state: the state of training, made of tensors and plain values.
            step: steps taken.
            keep: the number of latest checkpoints to keep.
        """
        make_folder(self.checkpoints)
        if flow is not None:
            write_flow(flow, self.weights, self.seal(WEIGHTS))
        content = pack_tensors(state)  # written last: a killed run resumes from an earlier one
        self.write_part(self._checkpoint(step), content, evaluations=self.count(METRICS))
        for later in self.steps():  # damaged checkpoints, if the run resumed from an earlier one
            if later > step:
                (self.path / self._checkpoint(later)).unlink()
        for old in self.steps()[:-keep]:
            (self.path / self._checkpoint(old)).unlink()

    def state(self) -> dict[str, Any]:
        """The state of training in the last checkpoint; if that file is damaged, an older state, with a warning.

        Raises:
            FileNotFoundError: if the run has no checkpoint.
            ValueError: if all checkpoints are damaged.
        """
        steps = self.steps()
        if not steps:
            raise FileNotFoundError(f"Expected a checkpoint in {self.checkpoints}; got none")
        reasons = []
        for step in reversed(steps):
            try:
                state = self.read(step)
            except (ValueError, OSError) as error:
                reasons.append(str(error))
                continue
            for reason in reasons:
                warnings.warn(f"{reason}; going on from step {step} instead", stacklevel=2)
            return state
        raise InputError("; ".join(reasons), "")

    def read(self, step: int) -> dict[str, Any]:
        """The state of training in the checkpoint of a step; a ValueError if the file is damaged or of another run."""
        name = self._checkpoint(step)
        return unpack_tensors(self.read_part(name)[0], self.path / name)
