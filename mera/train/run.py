"""The folder of a run: its manifest, checkpoints and results.

manifest.json       the facts: the model, the data, the loss and the settings; see `mera._utils.manifest`
flow.safetensors    the flow to use, for `mera.load`: with the last weights, or with keep="best" the best weights so far
checkpoints/        everything that is needed to resume the run, for the last few steps
metrics.jsonl       one line for each evaluation
samples/            one grid of samples for each evaluation

Reading these files never runs code from them.
"""

from __future__ import annotations

import re
import warnings
from contextlib import suppress
from os import PathLike
from typing import Any

from mera._utils.errors import InputError
from mera._utils.files import make_folder
from mera._utils.manifest import Manifest
from mera.flow.density import Density
from mera.models.archive import pack_tensors, unpack_tensors
from mera.models.saving import WEIGHTS, write_flow

METRICS = "metrics.jsonl"
"""The file of metrics."""
PARTS = (METRICS, WEIGHTS, "checkpoints/step_*.pt")
"""The names of the parts of a run."""


class RunFolder(Manifest):
    """The files of one run.

    Args:
        path: the folder, which need not exist yet.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        super().__init__(path, "run")
        self.checkpoints = self.path / "checkpoints"
        self.weights = self.path / WEIGHTS
        self.samples = self.path / "samples"

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

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

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
