"""A run's folder: what was asked for, what came of it, and what is needed to go on.

config.json         the model, the data and the settings
flow.safetensors    the flow as it was saved last, for `mera.load`
best.safetensors    the flow with the best test bits/dim so far
checkpoints/        all that a run needs to go on, the last few and the best
metrics.jsonl       one line per evaluation
tensorboard/        the same as curves
samples/            one grid of samples per evaluation

Nothing in these files can run code when it is read.
"""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from torch import Tensor

from mera._utils.files import remove_leftovers, write_atomically
from mera.flow import Flow
from mera.io.archive import pack, read_archive, unpack, write_archive
from mera.io.flows import WEIGHTS, load, save

__all__ = ["RunFolder"]


class RunFolder:
    """One run's files.

    Args:
        path: the folder.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        self.weights = self.path / WEIGHTS
        self.best = self.path / "best.safetensors"
        self.checkpoints = self.path / "checkpoints"
        self.samples = self.path / "samples"
        self.tensorboard = self.path / "tensorboard"
        self._config = self.path / "config.json"
        self._metrics = self.path / "metrics.jsonl"

    # What was asked for

    def create(self, config: dict[str, Any]) -> None:
        """Start a run here.

        Raises:
            FileExistsError: if the folder holds a run already; one that never saved anything is replaced.
        """
        if self._config.exists() and self.steps():
            raise FileExistsError(
                f"Expected a folder without a run; got {self.path}: go on with it (resume=True in Python, "
                f"--resume {self.path} on the command line), or choose another"
            )
        self.path.mkdir(parents=True, exist_ok=True)
        with self.locked():
            write_atomically(self._config, json.dumps(config, indent=2).encode())

    def extend(self, settings: dict[str, Any]) -> None:
        """Put other settings in the place of some that `create` was given."""
        config = self.config()
        config["settings"] = config["settings"] | settings
        with self.locked():
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

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep the folder for this process, which the system gives up when the process ends, however it ends.

        Raises:
            FileExistsError: if another process has it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.path / ".lock", timeout=0):
                yield
        except Timeout as error:
            raise FileExistsError(f"Expected a folder that no other run writes to; got {self.path}") from error

    # What is needed to go on

    def steps(self) -> list[int]:
        """The steps of the checkpoints, in order."""
        found = (re.fullmatch(r"step_(\d{8,})\.safetensors", path.name) for path in self.checkpoints.glob("step_*"))
        return sorted(int(match[1]) for match in found if match is not None)

    def save(self, flow: Flow, state: dict[str, Any], step: int, keep: int = 2, best_step: int | None = None) -> None:
        """Write the flow, then a checkpoint, each whole or not at all; remove older ones that need not be kept.

        Args:
            flow: the flow to be used: the running mean of the weights, if there is one.
            state: all that training needs, of tensors and plain values.
            step: steps taken.
            keep: how many of the last checkpoints stay.
            best_step: the step of the best one, which stays too.
        """
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        for folder in (self.path, self.checkpoints):
            remove_leftovers(folder)
        save(flow, self.weights)
        if step == best_step:
            save(flow, self.best)
        tensors: dict[str, Tensor] = {}  # last: a run that stops before goes on from earlier and writes all again
        packed = pack(state, tensors)
        write_archive(self._checkpoint(step), {"step": step, "state": packed}, tensors)
        for later in self.steps():  # those that were damaged, from before the run went back
            if later > step:
                self._checkpoint(later).unlink()
        for old in self.steps()[:-keep]:
            if old != best_step:
                self._checkpoint(old).unlink()

    def state(self) -> dict[str, Any]:
        """The state of training that was saved last; if it is damaged, an older one, with a warning.

        Raises:
            FileNotFoundError: if there is none.
            ValueError: if all are damaged.
        """
        steps = self.steps()
        if not steps:
            raise FileNotFoundError(f"Expected a checkpoint in {self.checkpoints}; got none")
        reasons = []
        for step in reversed(steps):
            try:
                description, tensors = read_archive(self._checkpoint(step))
                state = unpack(description["state"], tensors)
                if not isinstance(state, dict):
                    raise ValueError(f"{self._checkpoint(step)}: Expected the state of a run; got {state!r}")
            except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
                reasons.append(str(error))
                continue
            for reason in reasons:
                warnings.warn(f"{reason}; going on from step {step} instead", stacklevel=2)
            return state
        raise ValueError("; ".join(reasons))

    def flow(self) -> Flow:
        """The flow as it was saved last.

        Raises:
            FileNotFoundError: if there is no run here, or it has saved nothing.
            ValueError: if its file is damaged; the message says what else there is.
        """
        self.config()
        try:
            return load(self.weights)
        except ValueError as error:
            raise ValueError(f"{error}. --resume writes it again; {self.best.name} may be whole") from error

    def _checkpoint(self, step: int) -> Path:
        return self.checkpoints / f"step_{step:08d}.safetensors"

    # What came of it

    def log(self, metrics: dict[str, Any]) -> None:
        """Add a line to the metrics, and see it on the disk."""
        with open(self._metrics, "a") as file:
            file.write(json.dumps(metrics) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def metrics(self) -> list[dict[str, Any]]:
        """The lines so far; a last line that was cut off is left out.

        Raises:
            ValueError: if another line is damaged.
        """
        if not self._metrics.exists():
            return []
        lines = self._metrics.read_text().rpartition("\n")[0].splitlines()
        try:
            found = [json.loads(line) for line in lines]
            [line["step"] + 0 for line in found]
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"Expected a JSON object with a step in each line of {self._metrics}; got {error}"
            ) from error
        return found

    def rewind(self, step: int) -> None:
        """Forget the metrics of what came after a step: the run goes on from there and finds them again."""
        lines = [json.dumps(line) + "\n" for line in self.metrics() if line["step"] <= step]
        if self._metrics.exists():
            write_atomically(self._metrics, "".join(lines).encode())
