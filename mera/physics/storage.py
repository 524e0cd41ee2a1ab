"""The folder of a measurement: facts, and what was measured, in files that appear whole or not at all.

measurement.json    action, sampler, options, seed and version
part-000/           one part of the chains, or of the samples of a flow, with its own random numbers
    000000.npz      draws of this part in their order, and the sampler's state after the last of them

The arrays of a file of draws, for n draws of K chains:

series/NAME         an observable of each draw, (n, K)
series/_rates       acceptance rates, (n,)
series/_log_weights -S - ln q, (n, K)
series/_fields      every k-th field, (m, K, C, *shape); series/_field_log_weights their log-weights, (m, K)
done, seconds       all draws of the part so far, with the warm-up; and the time of the measured ones
last, step          the last field of each chain, and the step size
state/NAME          the sampler's state
random/DEVICE       the states of the random number generators
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from contextlib import AbstractContextManager
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera._utils.files import as_path, locked, make_folder, remove_leftovers, write_atomically
from mera._utils.random import set_torch_states, torch_states
from mera.physics.sampler import Recorder, Sampler, Series

FACTS = "measurement.json"
NEEDED = {"sampler", "samples", "chains", "warmup", "every", "shape", "periodic", "inverse_temperature", "batch",
          "action", "target_log_weights"}  # fmt: skip
"""The facts without which a measurement cannot be read."""


class Storage:
    """The folder of a measurement.

    Args:
        path: the folder, which need not exist yet.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = as_path(path)

    def is_started(self) -> bool:
        """Whether the folder holds a measurement."""
        return (self.path / FACTS).is_file()

    def write_facts(self, facts: Mapping[str, Any]) -> None:
        """Write the facts of the measurement, which JSON can hold."""
        make_folder(self.path)
        write_atomically(self.path / FACTS, json.dumps(facts, indent=2).encode())

    def facts(self) -> dict[str, Any]:
        """The facts of the measurement.

        Raises:
            FileNotFoundError: if the folder holds no measurement.
            ValueError: if the file is damaged.
        """
        if not self.is_started():
            raise FileNotFoundError(f"Expected the folder of a measurement; got {self.path}, which has no {FACTS}")
        try:
            facts = json.loads((self.path / FACTS).read_text())
        except ValueError as error:
            raise InputError(f"JSON in {self.path / FACTS}", str(error)) from None
        if not isinstance(facts, dict) or not set(facts) >= NEEDED:
            raise InputError(f"the facts of a measurement in {self.path / FACTS}", repr(facts)[:80])
        return facts

    def parts(self) -> list[Part]:
        """The parts that have been started, in their order."""
        return [Part(folder) for folder in sorted(self.path.glob("part-*")) if folder.is_dir()]

    def part(self, index: int) -> Part:
        """A part by its number."""
        return Part(self.path / f"part-{index:03d}")


class Part:
    """The files of one part of a measurement."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def save(self, sampler: Sampler, recorder: Recorder, done: int) -> None:
        """Write the draws since the last call, and the state after them."""
        make_folder(self.path)
        arrays = {f"series/{name}": values for name, values in recorder.take().items()}
        arrays |= {f"state/{name}": values for name, values in sampler.state().items()}
        arrays |= {f"random/{name}": state for name, state in torch_states().items()}
        arrays |= {"done": torch.tensor(done), "seconds": torch.tensor(recorder.seconds)}
        if sampler.state():
            arrays["last"] = sampler.fields
        if sampler.step is not None:
            arrays["step"] = torch.tensor(sampler.step)
        content = io.BytesIO()
        plain: dict[str, Any] = {name: values.detach().cpu().numpy() for name, values in arrays.items()}
        np.savez(content, **plain)
        write_atomically(self.path / f"{len(self._files()):06d}.npz", content.getvalue())

    def restore(self, sampler: Sampler, recorder: Recorder, warmup: int) -> int:
        """Load the last file into a sampler and the random number generators; return the number of draws so far.

        Args:
            sampler: the sampler.
            recorder: the recorder, which counts the draws of the file.
            warmup: the number of draws before the measurement.
        """
        remove_leftovers(self.path)
        files = self._files()
        if not files:
            return 0
        last = _read(files[-1])
        sampler.restore(_named(last, "state/"))
        set_torch_states(_named(last, "random/"))
        done = int(last["done"])
        recorder.skip(max(0, done - warmup), float(last["seconds"]))
        return done

    def read(self, warmup: int) -> tuple[Series, dict[str, Tensor]]:
        """All series, each (draws, K, ...), and the other arrays of the last file.

        Args:
            warmup: the number of draws before the measurement.

        Raises:
            ValueError: if a file is damaged or missing.
        """
        files = [_read(file) for file in self._files()]
        if not files:
            return {}, {}
        missing = {"done", "seconds"} - set(files[-1])
        rates = [len(file["series/_rates"]) for file in files if "series/_rates" in file]
        if missing or sum(rates) != max(0, int(files[-1]["done"]) - warmup):
            expected = f"all draws of {self.path}"
            raise InputError(expected, "files of another kind" if missing else f"{sum(rates)} in {len(files)} files")
        names = dict.fromkeys(name for file in files for name in file if name.startswith("series/"))
        series = {
            name.removeprefix("series/"): torch.cat([file[name] for file in files if name in file]) for name in names
        }
        return series, {name: values for name, values in files[-1].items() if not name.startswith("series/")}

    def locked(self) -> AbstractContextManager[None]:
        """A context in which no other process can write to the part; see `mera._utils.files.locked`."""
        return locked(self.path, "a measurement that no other process writes to")

    def _files(self) -> list[Path]:
        """The files of draws in their order."""
        files = sorted(self.path.glob("[0-9]*.npz"))
        if [file.name for file in files] != [f"{i:06d}.npz" for i in range(len(files))]:
            raise InputError(f"files of draws with successive numbers in {self.path}", f"{len(files)} with gaps")
        return files


def _read(path: Path) -> dict[str, Tensor]:
    """The arrays of a file, without running code from it."""
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            return {name: torch.from_numpy(file[name]) for name in file.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, TypeError) as error:
        raise InputError(f"draws of a measurement in {path}", str(error)[:200]) from None


def _named(arrays: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The arrays whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)}
