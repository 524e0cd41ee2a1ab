"""The points of a sweep: all combinations of the values of parameters, and seeds."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mera import models, physics
from mera._utils.errors import InputError
from mera.names.calls import parse_call
from mera.physics.action import EXAMPLE, takes
from mera.sweep.point import Point

ENTRIES = ("model", "action", "over", "seeds", "train", "measure")


def values_of(text: str) -> list[Any]:
    """Parse the values of a parameter: a list with commas, or START:END:NUMBER for values at equal distances.

    Raises:
        ValueError: if the text is neither.

    >>> values_of("-1.4:-1.0:5"), values_of("16,32")
    ([-1.4, -1.3, -1.2, -1.1, -1.0], [16, 32])
    """
    try:
        if text.count(":") == 2:
            start, end, number = text.split(":")
            return [float(f"{value:.12g}") for value in np.linspace(float(start), float(end), int(number))]
        return [float(part) if any(sign in part for sign in ".e") else int(part) for part in text.split(",")]
    except ValueError:
        raise InputError("values such as 16,32 or -1.4:-1.0:9", repr(text)) from None


@dataclass(frozen=True)
class Grid:
    """What a sweep learns and measures.

    Args:
        model: the model by name.
        action: the action, a name with options; parameters of the sweep replace its options.
        over: by name, the values of each parameter: options of the action, or else of `mera train`.
        seeds: the number of runs at each combination of values.
        train: options of `mera train`, by name.
        measure: options of `mera measure`, by name.

    Raises:
        ValueError: if the model, the action, a parameter or a number is invalid.
    """

    model: str
    action: str
    over: Mapping[str, Sequence[Any]]
    seeds: int = 1
    train: Mapping[str, Any] = field(default_factory=dict)
    measure: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        models.builder(self.model)
        if not self.over or not all(isinstance(values, Sequence) and len(values) for values in self.over.values()):
            raise InputError("a list of values for each parameter of the sweep", repr(dict(self.over)))
        if isinstance(self.seeds, bool) or not isinstance(self.seeds, int) or self.seeds < 1:
            raise InputError("a positive number of seeds", repr(self.seeds))
        for point in self.points(Path()):
            physics.make(point.action)

    @classmethod
    def read(cls, path: Path) -> Grid:
        """Read a sweep from a TOML file with the entries model, action, over, seeds, train and measure.

        Raises:
            ValueError: if the file is not TOML, or has other entries.
        """
        try:
            entries = tomllib.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise InputError(f"a sweep in the TOML file {path}", str(error)) from None
        if unknown := sorted(set(entries) - set(ENTRIES)):
            raise InputError(f"the entries {', '.join(ENTRIES)} in {path}", ", ".join(unknown))
        if missing := [name for name in ENTRIES[:3] if name not in entries]:
            raise InputError(f"the entries {', '.join(ENTRIES[:3])} in {path}", f"no {', '.join(missing)}")
        over = {
            name: values_of(values) if isinstance(values, str) else values for name, values in entries["over"].items()
        }
        return cls(**entries | {"over": over})

    def points(self, folder: Path) -> list[Point]:
        """All points, with their runs below a folder."""
        name, _, options = parse_call(self.action, EXAMPLE)
        points = []
        for values in itertools.product(*self.over.values()):
            at = dict(zip(self.over, values, strict=True))
            of_action = {key: value for key, value in at.items() if takes(name, key)}
            action = ", ".join(f"{key}={value!r}" for key, value in {**options, **of_action}.items())
            others = {key: value for key, value in at.items() if key not in of_action}
            for seed in range(self.seeds):
                label = "_".join(f"{key}={value}" for key, value in at.items()) + f"_seed={seed}"
                train, measure = {**self.train, **others, "seed": seed}, {**self.measure, "seed": seed}
                run = folder / "points" / label
                points.append(Point(run, at, seed, self.model, f"{name}({action})", train, measure))
        return points
