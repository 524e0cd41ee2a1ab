"""The folder of a run: its configuration, checkpoints and results.

config.json         the model, the data and the settings
flow.safetensors    the flow as it was saved last, for `mera.load`
best.safetensors    the flow with the best test bits/dim so far
checkpoints/        all that a run needs to go on, the last few steps and the best one
metrics.jsonl       one line for each evaluation
tensorboard/        the same metrics as curves
samples/            one grid of samples for each evaluation

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

from mera._utils.errors import InputError
from mera._utils.files import as_path, make_folder, remove_leftovers, write_atomically
from mera.density import Density
from mera.io.archive import pack, read_archive, unpack, write_archive
from mera.io.flows import WEIGHTS, load, save

STATE = "state"
"""The key of a checkpoint's description under which the state of training is."""


class RunFolder:
    """The files of one run.

    Args:
        path: the folder, which need not exist yet.

    Raises:
        ValueError: if `path` is no path.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = as_path(path)
        self.weights = self.path / WEIGHTS
        self.best = self.path / "best.safetensors"
        self.checkpoints = self.path / "checkpoints"
        self.samples = self.path / "samples"
        self.tensorboard = self.path / "tensorboard"
        self._config = self.path / "config.json"
        self._metrics = self.path / "metrics.jsonl"

    # Configuration

    def create(self, config: dict[str, Any]) -> None:
        """Start a run in this folder. Entries that the configuration of a run there has already change nothing.

        Args:
            config: the configuration, of values that JSON can hold, anything else is written as its text; `mera train`
                writes model, data and settings.

        Raises:
            FileExistsError: if the folder holds a run with another configuration; a run that never saved anything is
                replaced.
        """
        text = json.dumps(config, indent=2, default=str)
        if self._config.exists() and self.steps():
            before = self.config()
            if all(key in before and before[key] == value for key, value in json.loads(text).items()):
                return  # the cell of a notebook may run twice
            raise FileExistsError(self.taken_message())
        make_folder(self.path)
        with self.locked():
            write_atomically(self._config, text.encode())

    def taken_message(self) -> str:
        """The message for a folder that holds a run already."""
        return (
            f"Expected a folder without a run; got {self.path}: go on with it (resume=True in Python, "
            f"--resume {self.path} on the command line), or choose another"
        )

    def complete(self, config: dict[str, Any]) -> None:
        """Add entries to the configuration that it does not have yet; start a run if there is none.

        Args:
            config: the entries; a value that JSON cannot hold is written as its text.
        """
        if not self._config.exists():
            self.create(config)
            return
        completed = config | self.config()
        if completed != self.config():
            with self.locked():
                write_atomically(self._config, json.dumps(completed, indent=2, default=str).encode())

    def extend(self, settings: dict[str, Any]) -> None:
        """Replace settings in the configuration.

        Args:
            settings: the new values by name.
        """
        config = self.config()
        config["settings"] = config["settings"] | settings
        with self.locked():
            write_atomically(self._config, json.dumps(config, indent=2, default=str).encode())

    def move_data(self, root: str | PathLike[str]) -> None:
        """Write down that the data is in another folder now.

        Args:
            root: the folder.
        """
        config = self.config()
        config["data"] = config["data"] | {"root": str(as_path(root).resolve())}
        with self.locked():
            write_atomically(self._config, json.dumps(config, indent=2, default=str).encode())

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

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder for this process; the system unlocks it when the process ends, however it ends.

        Raises:
            FileExistsError: if another process has locked it.
        """
        make_folder(self.path)
        try:
            with FileLock(self.path / ".lock", timeout=0):
                yield
        except Timeout as error:
            raise FileExistsError(f"Expected a folder that no other run writes to; got {self.path}") from error

    # Checkpoints

    def steps(self) -> list[int]:
        """The steps of the checkpoints, in order."""
        matches = (re.fullmatch(r"step_(\d{8,})\.safetensors", path.name) for path in self.checkpoints.glob("step_*"))
        return sorted(int(match[1]) for match in matches if match is not None)

    def save(
        self, flow: Density, state: dict[str, Any], step: int, keep: int = 2, best_step: int | None = None
    ) -> None:
        """Write the flow, then a checkpoint, each whole or not at all; remove older checkpoints.

        Args:
            flow: the flow to use later: the running mean of the weights, if there is one.
            state: all that training needs to go on, of tensors and plain values.
            step: steps taken.
            keep: how many of the last checkpoints stay.
            best_step: the step of the best checkpoint, which stays too.
        """
        make_folder(self.checkpoints)
        for folder in (self.path, self.checkpoints):
            remove_leftovers(folder)
        save(flow, self.weights)
        if step == best_step:
            save(flow, self.best)
        tensors: dict[str, Tensor] = {}
        packed = pack(state, tensors)  # last: a run that stops before this line goes on from an earlier checkpoint
        write_archive(self._checkpoint(step), {"step": step, STATE: packed}, tensors)
        for later in self.steps():  # damaged checkpoints of a run that went back to an earlier one
            if later > step:
                self._checkpoint(later).unlink()
        for old in self.steps()[:-keep]:
            if old != best_step:
                self._checkpoint(old).unlink()

    def state(self) -> dict[str, Any]:
        """The state of training that was saved last; if its file is damaged, an older state, with a warning.

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
                state = _read_state(self._checkpoint(step))
            except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
                reasons.append(str(error))
                continue
            for reason in reasons:
                warnings.warn(f"{reason}; going on from step {step} instead", stacklevel=2)
            return state
        raise ValueError("; ".join(reasons))

    def flow(self) -> Any:
        """The flow as it was saved last.

        Raises:
            FileNotFoundError: if there is no run in this folder, or the run has saved nothing.
            ValueError: if the file is damaged; the message says what to do.
        """
        self.config()
        try:
            return load(self.weights)
        except InputError:
            raise
        except ValueError as error:
            raise ValueError(f"{error}. --resume writes it again; {self.best.name} may be whole") from error

    def _checkpoint(self, step: int) -> Path:
        return self.checkpoints / f"step_{step:08d}.safetensors"

    # Results

    def log(self, metrics: dict[str, Any]) -> None:
        """Add a line to the metrics, and flush it to the disk.

        Args:
            metrics: values that JSON can hold, with the step among them.
        """
        with open(self._metrics, "a") as file:
            file.write(json.dumps(metrics) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics so far; a last line that was cut off is left out.

        Raises:
            ValueError: if another line is damaged.
        """
        if not self._metrics.exists():
            return []
        lines = self._metrics.read_text().rpartition("\n")[0].splitlines()
        try:
            metrics = [json.loads(line) for line in lines]
            [line["step"] + 0 for line in metrics]
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"a JSON object with a step in each line of {self._metrics}", str(error)) from error
        return metrics

    def learnt_fields(self) -> bool:
        """Whether the run learnt fields of floats rather than images."""
        return any("test_nats" in line for line in self.metrics())

    def rewind(self, step: int) -> None:
        """Remove the metrics of later steps, which the run is about to take again.

        Args:
            step: the last step whose metrics stay.
        """
        lines = [json.dumps(line) + "\n" for line in self.metrics() if line["step"] <= step]
        if self._metrics.exists():
            write_atomically(self._metrics, "".join(lines).encode())

    def save_failed_batch(self, batch: dict[str, Tensor], step: int, rank: int) -> Path:
        """Write a batch whose loss or gradient was not finite.

        Args:
            batch: the tensors of the batch by name.
            step: the step that failed.
            rank: the index of the process that got the batch.

        Returns:
            The path of the file.
        """
        path = self.path / f"not_finite_step_{step:08d}_process_{rank}.safetensors"
        write_archive(path, {"step": step}, batch)
        return path


def _read_state(path: Path) -> dict[str, Any]:
    """The state of training in a checkpoint.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if the file is damaged, or is no checkpoint.
    """
    description, tensors = read_archive(path)
    if not isinstance(description, dict) or STATE not in description:
        is_flow = isinstance(description, dict) and "format" in description
        found = "a flow, as mera.save writes one" if is_flow else "another file"
        raise InputError("a checkpoint of a run", str(found), where=str(path))
    state = unpack(description[STATE], tensors)
    if not isinstance(state, dict):
        raise InputError("the state of a run", repr(state), where=str(path))
    return state
