"""The folder of a measurement: facts, and what was measured, in files that appear whole or not at all.

measurement.json    action, sampler, options and version
000000.npz          draws in their order, and the sampler's state after the last of them

The arrays of a file of n draws of K chains (of n independent samples, without the axis of the chains):

series/NAME         an observable of each draw, (n, K)
series/_rates       acceptance rates
series/_log_weights -S - ln q, (n, K)
series/_fields      the fields that are kept, (m, K, C, *shape), and with log-weights those of the fields
done, seconds       all draws so far, with the warm-up; and the time of the measured ones
last                the last field of each chain
state/NAME          the sampler's state
random/DEVICE       the states of the random number generators
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera._utils.files import as_path, locked, make_folder, remove_leftovers, write_atomically

Arrays = dict[str, Tensor]
FACTS = "measurement.json"
MAY_CHANGE = {"draws", "version", "fingerprint", "target_log_weights"}
"""The facts that may differ between a measurement and the call that goes on with it, or are compared otherwise."""


class Storage:
    """The folder of a measurement, which need not exist yet."""

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = as_path(path)

    def is_started(self) -> bool:
        """Whether the folder holds a measurement."""
        return (self.path / FACTS).is_file()

    def locked(self) -> AbstractContextManager[None]:
        """A context in which no other process can write to the folder; see `mera._utils.files.locked`."""
        return locked(self.path, "a measurement that no other process writes to")

    def start(self, facts: dict[str, Any], resume: bool) -> tuple[dict[str, Any], list[Arrays]]:
        """Write the facts of a new measurement, or go on with the one in the folder; return its facts and draws.

        Raises:
            FileExistsError: if the folder holds a measurement, and `resume` is false.
            ValueError: if the measurement in the folder is another one, or damaged.
        """
        chunks: list[Arrays] = []
        if self.is_started():
            if not resume:
                raise FileExistsError(
                    f"Expected a folder without a measurement; got {self.path}: go on with it (resume=True in Python, "
                    "--resume on the command line), or choose another"
                )
            before = self.facts()
            self._compare(before, facts)
            remove_leftovers(self.path)
            chunks = self.read()
            facts = before | facts | {"draws": max(before["draws"], facts["draws"])}
            if facts["target_log_weights"] is None:
                facts["target_log_weights"] = before["target_log_weights"]
        make_folder(self.path)
        write_atomically(self.path / FACTS, json.dumps(facts, indent=2).encode())
        return facts, chunks

    def _compare(self, before: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        """Refuse other facts than those of the measurement in the folder."""
        for name in sorted(facts.keys() - MAY_CHANGE):
            if before.get(name) != facts[name]:
                expected = f"the {name} of the measurement in {self.path}, {before.get(name)!r}"
                raise InputError(expected, repr(facts[name]))
        values = before.get("fingerprint", {})
        for name in [*values, *facts["fingerprint"]]:
            old, new = values.get(name, []), facts["fingerprint"].get(name, [])
            if len(old) != len(new) or not np.allclose(old, new, 1e-5):
                expected = f"the {name} of the measurement in {self.path}"
                raise InputError(expected, "one with other values at the same fields")

    def facts(self) -> dict[str, Any]:
        """The facts of the measurement; a FileNotFoundError is raised if the folder holds none."""
        if not self.is_started():
            raise FileNotFoundError(f"Expected the folder of a measurement; got {self.path}, which has no {FACTS}")
        try:
            return json.loads((self.path / FACTS).read_text())
        except ValueError as error:
            raise InputError(f"JSON in {self.path / FACTS}", str(error)) from None

    def write(self, arrays: Arrays) -> None:
        """Write the next file of draws."""
        content = io.BytesIO()
        plain: dict[str, Any] = {name: values.numpy() for name, values in arrays.items()}
        np.savez(content, **plain)
        write_atomically(self.path / f"{len(self._files()):06d}.npz", content.getvalue())

    def read(self) -> list[Arrays]:
        """The arrays of each file of draws, in their order; a ValueError is raised if one is damaged or missing."""
        chunks = [_read(file) for file in self._files()]
        if chunks:
            draws = sum(len(chunk["series/m"]) for chunk in chunks if "series/m" in chunk)
            if "done" not in chunks[-1] or draws != max(0, int(chunks[-1]["done"]) - self.facts()["warmup"]):
                raise InputError(f"all draws of {self.path}", f"{draws} in {len(chunks)} files")
        return chunks

    def _files(self) -> list[Path]:
        """The files of draws in their order."""
        return sorted(self.path.glob("[0-9]*.npz"))


def joined(chunks: Sequence[Arrays]) -> Arrays:
    """The series of successive draws one after the other, and the other arrays of the last draw."""
    names = dict.fromkeys(name for chunk in chunks for name in chunk if name.startswith("series/"))
    series = {name: torch.cat([chunk[name] for chunk in chunks if name in chunk]) for name in names}
    return (chunks[-1] | series) if chunks else {}


def named(arrays: Mapping[str, Tensor], prefix: str) -> Arrays:
    """The arrays whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)}


def _read(path: Path) -> Arrays:
    """The arrays of a file, without running code from it."""
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            return {name: torch.from_numpy(file[name]) for name in file.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, TypeError) as error:
        raise InputError(f"draws of a measurement in {path}", str(error)[:200]) from None
