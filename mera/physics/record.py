"""A record: what a sampler has drawn; and the folder that keeps it, in files that appear whole or not at all.

manifest.json       the facts: action, sampler, options, seed and version; see `mera._utils.manifest`
000000.npz          the next draws of each point, as an array for each entry of a `Record`: "0/series/m2", "0/seconds"
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from os import PathLike
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mera._utils.array_files import read_npz
from mera._utils.errors import InputError
from mera._utils.manifest import Manifest
from mera.sampling.diagnostics import MIN_DRAWS

DRAWS = "[0-9]*.npz"
"""The names of the files of draws."""
MAY_CHANGE = {"draws", "version", "seed", "start", "fingerprint", "dispersed"}
"""The facts that may differ between a measurement and the call that goes on with it, or another of its seeds; functions
are compared by their fingerprint."""
NOTHING = torch.empty(0, dtype=torch.float64)
"""The values of an entry in which nothing is kept yet."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """The draws of a sampler from one target: of K chains in rows, (draws, K); of n independent samples, (n,).

    Args:
        facts: what was sampled and how, in values of JSON: the action, its lattice, the sampler and its options.
        series: by name, the observables of each draw; see `Observables.measure`.
        rates: the acceptance rate of each step, (steps, 1); a column for each measurement of several that are joined.
        fields: the fields that were kept, (m, K, C, *shape) of chains, (m, C, *shape) of samples.
        field_actions: the actions of those fields, (m, K) or (m,).
        log_weights: the log-weight of each draw; None if draws have none.
        last: the last field of each chain, (K, C, *shape).
        witness: by name, observables of other fields of the target, (N,), by which a verdict judges the draws.
        figures: by name, other numbers of the sampler so far.
        seconds: the time of the measured draws.
        done: the number of all draws, with the warm-up.
        state: the sampler's state after the last draw.
        random: the states of the random number generators.
    """

    facts: Mapping[str, Any]
    series: Mapping[str, Tensor]
    rates: Tensor = NOTHING
    fields: Tensor = NOTHING
    field_actions: Tensor = NOTHING
    log_weights: Tensor | None = None
    last: Tensor = NOTHING
    witness: Mapping[str, Tensor] = field(default_factory=dict)
    figures: Mapping[str, Tensor] = field(default_factory=dict)
    seconds: float = 0.0
    done: int = 0
    state: Mapping[str, Tensor] = field(default_factory=dict)
    random: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def is_chains(self) -> bool:
        """Return whether draws are those of chains, (draws, K)."""
        return self.series["m2"].ndim == 2

    def __len__(self) -> int:
        return len(self.series.get("m2", ()))


GROWING = ("series", "rates", "fields", "field_actions", "log_weights")
"""The entries of a record that grow with the draws."""


def joined(records: Sequence[Record], dim: int) -> dict[str, Any]:
    """The draws of records one after the other (dim 0), or side by side as far as all of them go (dim 1)."""

    def join(values: Sequence[Any]) -> Any:
        if isinstance(values[0], Mapping):
            return {name: join([value[name] for value in values]) for name in values[0]}
        parts = [value for value in values if value is not None]
        end = min(map(len, parts)) if parts and dim else None
        return torch.cat([part[:end] for part in parts], dim) if parts else None

    return {name: join([getattr(record, name) for record in records]) for name in GROWING}


def followed(pieces: Sequence[Record]) -> Record:
    """The successive pieces of one record as one: their draws one after the other, and the rest of the last piece."""
    return replace(pieces[-1], **joined([piece for piece in pieces if len(piece)] or pieces[-1:], 0))


def beside(records: Sequence[Record]) -> Record:
    """Chains of several records side by side, as far as all of them go; independent samples one after the other."""
    first, seconds, facts = records[0], sum(record.seconds for record in records), dict(records[0].facts)
    if first.is_chains:
        last = torch.cat([record.last for record in records])
        facts["dispersed"] = all(record.facts.get("dispersed", True) for record in records)
        return replace(first, facts=facts, last=last, seconds=seconds, **joined(records, 1))
    witness = first.witness
    if "populations" in facts:
        facts["populations"] = sum(record.facts["populations"] for record in records)
        witness = {name: torch.cat([record.witness[name] for record in records]) for name in witness}
    return replace(first, facts=facts, witness=witness, seconds=seconds, **joined(records, 0))


class Folder(Manifest):
    """The folder of a measurement, which need not exist yet."""

    def __init__(self, path: str | PathLike[str]) -> None:
        super().__init__(path, "measurement")

    def start(self, facts: dict[str, Any], resume: bool) -> tuple[dict[str, Any], list[list[Record]]]:
        """Write the facts of a new measurement, or go on with the one in the folder; return its facts and pieces."""
        pieces: list[list[Record]] = []
        if self.exists:
            if not resume:
                raise FileExistsError(
                    f"Expected a folder without a measurement; got {self.path}: go on with it (resume=True in Python, "
                    "--resume on the command line), or choose another"
                )
            before = self.facts()
            self.compare(facts, MAY_CHANGE)
            compare_functions(before["fingerprint"], facts["fingerprint"], str(self.path))
            pieces = self.read()
            kept = before if pieces else facts  # without draws, those that come are of the seed of this call
            facts = kept | {"draws": max(before["draws"], facts["draws"])}
        self.write(facts, [DRAWS])
        return facts, pieces

    def append_piece(self, records: Sequence[Record]) -> None:
        """Write the next file of draws, those of the record of each point."""
        arrays: dict[str, Any] = {}
        for point, record in enumerate(records):
            for entry in fields(Record)[1:]:
                value = getattr(record, entry.name)
                values = {f"/{name}": v for name, v in value.items()} if isinstance(value, Mapping) else {"": value}
                for name, part in values.items():
                    if part is not None:
                        arrays[f"{point}/{entry.name}{name}"] = np.asarray(part)
        content = io.BytesIO()
        np.savez(content, **arrays)
        self.write_part(f"{len(list(self.path.glob(DRAWS))):06d}.npz", content.getvalue())

    def read(self) -> list[list[Record]]:
        """The pieces in their order, a record of each point in each; a ValueError if a file is damaged or missing."""
        points, pieces = points_of(self.facts()), []
        for number, file in enumerate(sorted(self.path.glob(DRAWS))):
            if (name := f"{number:06d}.npz") != file.name:
                raise InputError(f"all draws of {self.path}", f"no file {name}")
            self.read_part(name)
            entries: list[dict[str, Any]] = [{"facts": facts, "series": {}} for facts in points]
            for key, values in read_npz(file).items():
                point, entry, *inner = key.split("/", 2)
                if not point.isdigit():
                    raise InputError("a measurement of this version of mera", "draws in the format of another version")
                value = torch.from_numpy(values) if values.ndim or inner else values.item()
                if inner:
                    entries[int(point)].setdefault(entry, {})[inner[0]] = value
                else:
                    entries[int(point)][entry] = value
            pieces.append([Record(**kept) for kept in entries])
        return pieces


def compare_functions(before: Mapping[str, Any], now: Mapping[str, Any], where: str) -> None:
    """Refuse another flow, action or observable than that of the measurement: other values at the same fields."""
    for name in [*before, *now]:
        values = before.get(name, []), now.get(name, [])
        if len(values[0]) != len(values[1]) or not np.allclose(*values, 1e-5):
            raise InputError(f"the {name} of the measurement in {where}", "other values at the same fields")


def points_of(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The facts of the record of each point, from those of a measurement."""
    common = {name: value for name, value in facts.items() if name != "points"}
    return [common | point for point in facts.get("points", [{}])]


def read_records(path: str | PathLike[str] | Iterable[str | PathLike[str]]) -> list[Record]:
    """The record of each point of one measurement, from one folder, or from several with other seeds, joined."""
    paths = [path] if isinstance(path, (str, PathLike)) else list(path)
    if not paths:
        raise InputError("one folder of a measurement or several", "none")
    facts, found, starts = Folder(paths[0]).facts(), list[list[Record]](), dict[str, Any]()
    for folder in map(Folder, paths):
        other = folder.facts()
        if other["start"] in starts:
            got = f"one start, of seed {other['seed']}, in {starts[other['start']]} and {folder.path}"
            raise InputError("measurements with different seeds", got)
        starts[other["start"]] = folder.path
        folder.compare(facts, MAY_CHANGE)
        before, now = ({k: v for k, v in f["fingerprint"].items() if k != "flow"} for f in (facts, other))
        compare_functions(before, now, str(paths[0]))
        records = [followed(point) for point in zip(*folder.read(), strict=True)]
        least = MIN_DRAWS if "chains" in facts else 1
        if not records or len(records[0]) < least:
            raise InputError(f"a measurement with at least {least} draws", f"fewer so far in {folder.path}")
        found.append(records)
    return [beside(point) if len(point) > 1 else point[0] for point in zip(*found, strict=True)]
