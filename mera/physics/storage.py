"""The folder of a measurement: facts, and what was measured, in files that appear whole or not at all.

manifest.json       the facts: action, sampler, options, seed and version; see `mera._utils.manifest`
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
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mera._utils.array_files import read_npz
from mera._utils.errors import InputError
from mera._utils.manifest import Manifest

Arrays = dict[str, Tensor]
DRAWS = "[0-9]*.npz"
"""The names of the files of draws."""
MAY_CHANGE = {"draws", "version", "seed", "start", "fingerprint", "target", "dispersed"}
"""The facts that may differ between a measurement and the call that goes on with it, or are compared otherwise."""


class Storage(Manifest):
    """The folder of a measurement, which need not exist yet."""

    def __init__(self, path: str | PathLike[str]) -> None:
        super().__init__(path, "measurement")

    def start(self, facts: dict[str, Any], resume: bool) -> tuple[dict[str, Any], list[Arrays]]:
        """Write the facts of a new measurement, or go on with the one in the folder; return its facts and draws.

        Raises:
            FileExistsError: if the folder holds a measurement, and `resume` is false; or draws without a manifest.
            ValueError: if the measurement in the folder is another one, or damaged.
        """
        chunks: list[Arrays] = []
        if self.exists:
            if not resume:
                raise FileExistsError(
                    f"Expected a folder without a measurement; got {self.path}: go on with it (resume=True in Python, "
                    "--resume on the command line), or choose another"
                )
            before = self.facts()
            self.compare(facts, MAY_CHANGE)
            self.compare_functions(before["fingerprint"], facts["fingerprint"])
            chunks = self.read()
            facts = before | {"draws": max(before["draws"], facts["draws"])}
        self.write(facts, [DRAWS])
        return facts, chunks

    def compare_functions(self, before: Mapping[str, Sequence[float]], now: Mapping[str, Sequence[float]]) -> None:
        """Refuse another flow, action or observable than that of the measurement: other values at the same fields."""
        for name in [*before, *now]:
            values = before.get(name, []), now.get(name, [])
            if len(values[0]) != len(values[1]) or not np.allclose(*values, 1e-5):
                raise InputError(f"the {name} of the measurement in {self.path}", "other values at the same fields")

    def write_draws(self, arrays: Arrays) -> None:
        """Write the next file of draws."""
        content = io.BytesIO()
        plain: dict[str, Any] = {key: values.numpy() for key, values in arrays.items()}
        np.savez(content, **plain)
        self.write_part(f"{len(self._files()):06d}.npz", content.getvalue())

    def read(self) -> list[Arrays]:
        """The arrays of each file of draws, in their order; a ValueError if one is damaged or missing."""
        chunks = []
        for number, file in enumerate(self._files()):
            if (name := f"{number:06d}.npz") != file.name:
                raise InputError(f"all draws of {self.path}", f"no file {name}")
            self.read_part(name)
            arrays = read_npz(file)
            chunks.append({name: torch.from_numpy(values) for name, values in arrays.items()})
        if chunks:
            draws = sum(len(chunk["series/m"]) for chunk in chunks if "series/m" in chunk)
            if "done" not in chunks[-1] or draws != max(0, int(chunks[-1]["done"]) - self.facts()["warmup"]):
                raise InputError(f"all draws of {self.path}", f"{draws} in {len(chunks)} files")
        return chunks

    def _files(self) -> list[Path]:
        """The files of draws in their order."""
        return sorted(self.path.glob(DRAWS))


def joined(chunks: Sequence[Arrays]) -> Arrays:
    """The series of successive draws one after the other, and the other arrays of the last draw."""
    names = dict.fromkeys(name for chunk in chunks for name in chunk if name.startswith("series/"))
    series = {name: torch.cat([chunk[name] for chunk in chunks if name in chunk]) for name in names}
    return (chunks[-1] | series) if chunks else {}


def named(arrays: Mapping[str, Tensor], prefix: str) -> Arrays:
    """The arrays whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)}
