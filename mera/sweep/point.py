"""One point of a sweep: a run that learns an action, and a measurement."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGINT
from typing import Any

from mera._utils.errors import InputError
from mera._utils.files import make_folder, write_atomically
from mera.train.run import RunFolder
from mera.train.settings import Settings

DESCRIPTION = "point.json"


@dataclass(frozen=True)
class Point:
    """A run that learns an action, and a measurement; both go on where they ended before.

    Args:
        folder: the folder of the run.
        values: by name, the values of the parameters of the sweep.
        seed: the seed of the run and of the measurement.
        model: the model by name.
        action: the action with its options.
        train: options of `mera train`, by name.
        measure: options of `mera measure`, by name.
        imports: modules to import first.
    """

    folder: Path
    values: Mapping[str, Any]
    seed: int
    model: str
    action: str
    train: Mapping[str, Any]
    measure: Mapping[str, Any]
    imports: Sequence[str] = ()

    @property
    def report(self) -> Path:
        """The report of the measurement, which is written at its end."""
        name = self.measure.get("name", self.measure.get("sampler", "reweighting"))
        return self.folder / "measure" / str(name) / "report.json"

    @property
    def is_done(self) -> bool:
        """Whether the measurement has ended.

        Raises:
            ValueError: if the folder holds a point of another sweep.
        """
        path = self.folder / DESCRIPTION
        if path.is_file() and (before := path.read_text()) != self._description():
            raise InputError(f"a folder of the same sweep, or a new one; {path} has {before}", self._description())
        return self.report.is_file()

    def _description(self) -> str:
        """What the point learns and measures, as JSON."""
        entries = {"model": self.model, "action": self.action, "train": self.train, "measure": self.measure}
        return json.dumps(entries, default=str)

    def result(self) -> dict[str, Any]:
        """The report of the measurement."""
        return json.loads(self.report.read_text())

    def commands(self) -> list[list[str]]:
        """The commands that remain: training, anew or from its last checkpoint, then the measurement."""
        mera = [sys.executable, "-m", "mera", *(part for name in self.imports for part in ("--import", name))]
        run, commands = RunFolder(self.folder), []
        if not run.steps():
            new = [self.model, "--action", self.action, *flags_of(self.train), "--out", str(self.folder)]
            commands.append([*mera, "train", *new])
        elif not self._has_learnt(run):
            commands.append([*mera, "train", "--resume", str(self.folder)])
        commands.append([*mera, "measure", str(self.folder), *flags_of(self.measure), "--resume"])
        return commands

    @staticmethod
    def _has_learnt(run: RunFolder) -> bool:
        """Whether the training has reached its steps or its minutes."""
        settings, state = Settings(**run.config()["settings"]), run.state()
        minutes = math.inf if settings.minutes is None else settings.minutes
        return state["step"] >= settings.last_step or state["elapsed"] >= 60 * minutes

    def __call__(self) -> int:
        """Run the commands that remain, with their output in `log.txt`; return the first exit status that is not 0."""
        make_folder(self.folder)
        write_atomically(self.folder / DESCRIPTION, self._description().encode())
        for command in self.commands():
            with (self.folder / "log.txt").open("a") as log, running(command, log) as process:
                status = process.wait()
            is_interrupted = "train" in command and not status and not self._has_learnt(RunFolder(self.folder))
            if status or is_interrupted:  # a training that was interrupted and saved ends with 0
                return status or 1
        return 0

    def checkpoint(self) -> Any:
        """Save what the point has learnt and measured; return the job to queue again.

        submitit calls this shortly before the time limit of a job.
        """
        from submitit.helpers import DelayedSubmission

        stop_running()
        return DelayedSubmission(self)


_processes: list[subprocess.Popen[bytes]] = []  # global, since submitit calls a copy of the job at its time limit


@contextmanager
def running(command: Sequence[str], log: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command; if the block is left by an exception, such as an interruption, let the command save and end."""
    environment = {name: value for name, value in os.environ.items() if name not in {"RANK", "WORLD_SIZE"}}
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True)
    _processes.append(process)
    try:
        yield process
    finally:
        stop_running()
        _processes.remove(process)


def stop_running() -> None:
    """Let the command that runs save and end, and wait for it.

    submitit calls this in a handler of a signal that comes while `Popen.wait` waits, whose lock a second call in the
    same thread would never get. The wait here takes no lock, and leaves the exit status to `Popen`.
    """
    for process in _processes:
        if process.poll() is None:
            process.send_signal(SIGINT)
            with suppress(ChildProcessError):  # the process has ended, and `Popen` has its status
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


def flags_of(options: Mapping[str, Any]) -> list[str]:
    """Options as arguments of a command."""
    flags = []
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            flags.append(flag if value else f"--no-{flag[2:]}")
        elif isinstance(value, Mapping):
            flags += [flag, " ".join(f"{key}={part}" for key, part in value.items())]
        elif isinstance(value, (list, tuple)):
            parts = [",".join(map(str, part)) if isinstance(part, (list, tuple)) else str(part) for part in value]
            flags += [flag, (";" if any(isinstance(part, (list, tuple)) for part in value) else ",").join(parts)]
        else:
            flags += [flag, str(value)]
    return flags
