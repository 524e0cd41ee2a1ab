"""The samplers by name, and measurements that they have kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from os import PathLike
from typing import Any

import torch

from mera._utils.errors import InputError
from mera.physics.chains import hmc, metropolis
from mera.physics.estimate import Report, estimate, report_of
from mera.physics.markov_chains import MarkovChains, chains_of
from mera.physics.storage import Arrays, Storage, joined
from mera.sampling.diagnostics import MIN_DRAWS

SAMPLERS: dict[str, Callable[..., MarkovChains | Report]] = {
    "reweighting": estimate,
    "metropolis": metropolis,
    "hmc": hmc,
}
"""The functions of a flow, an action and options, by the name in `mera measure --sampler`."""


def load_chain(path: str | PathLike[str] | Iterable[str | PathLike[str]]) -> MarkovChains | Report:
    """Load what `hmc`, `metropolis`, `estimate` or `mera measure` has kept in a folder; also while it goes on.

    Args:
        path: the folder; or several folders of one measurement with other seeds, whose chains or samples are joined.

    Raises:
        FileNotFoundError: if a folder holds no measurement.
        ValueError: if the measurement has too few draws yet, a file is damaged or missing, the folders have different
            measurements, or two of them began with one state of the random numbers, and thus have equal draws.
        FloatingPointError: if a weight is not finite.

    Warns:
        UserWarning: with the verdict, if averages are wrong or errors mean nothing.
    """
    paths: list[Any] = list(path) if isinstance(path, Iterable) and not isinstance(path, str) else [path]
    if not paths:
        raise InputError("one folder of a measurement or several", "none")
    facts = Storage(paths[0]).facts()
    parts: list[Arrays] = []
    starts: dict[str, Any] = {}
    for folder in map(Storage, paths):
        other = folder.facts()
        if other["start"] in starts:
            got = f"one start, of seed {other['seed']}, in {starts[other['start']]} and {folder.path}"
            raise InputError("measurements with different seeds", got)
        starts[other["start"]] = folder.path
        for name in ("sampler", "action", "shape", "warmup", "every"):
            if other[name] != facts[name]:
                raise InputError(f"measurements with one {name}", f"{facts[name]!r} and {other[name]!r}")
        arrays, least = joined(folder.read()), 1 if facts["sampler"] == "reweighting" else MIN_DRAWS
        if len(arrays.get("series/m", ())) < least:
            raise InputError(f"a measurement with at least {least} draws", f"fewer yet in {folder.path}")
        if parts and arrays.keys() != parts[0].keys():
            different = ", ".join(sorted(name.removeprefix("series/") for name in arrays.keys() ^ parts[0].keys()))
            raise InputError("measurements with the same observables", f"{different} in one of them alone")
        prints = [{k: v for k, v in f["fingerprint"].items() if k != "flow"} for f in (facts, other)]
        Storage(paths[0]).compare_functions(*prints)
        parts.append(arrays)
    found = report_of(facts, joined(parts)) if facts["sampler"] == "reweighting" else chains_of(facts, _beside(parts))
    found.verdict.warn()
    return found


def _beside(parts: list[Arrays]) -> Arrays:
    """The chains of several measurements side by side, as far as all of them go."""
    arrays = {}
    for name in parts[0]:
        values = [part[name] for part in parts]
        if name.startswith("series/"):
            values = [value[: min(len(value) for value in values)] for value in values]
            arrays[name] = torch.stack(values).mean(0) if name == "series/_rates" else torch.cat(values, 1)
        elif name == "last":
            arrays[name] = torch.cat(values)
        elif name == "seconds":
            arrays[name] = torch.stack(values).sum()
    return arrays
