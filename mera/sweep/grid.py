"""The points of a sweep: all combinations of the values of parameters, and seeds."""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mera import models, physics
from mera._utils.errors import InputError
from mera.names.calls import parse_call
from mera.physics.by_name import EXAMPLE, takes
from mera.sweep.point import Point

VALUES = r"[\w.+-]+(,[\w.+-]+)*|[^:,]+:[^:,]+:\d+"
"""The form of the values of a parameter."""
OWN = ("seed", "out", "action", "resume", "name", "data", "layout")
"""Options that a sweep sets by itself, or that do not belong to it."""
ENTRIES = ("model", "action", "over", "seeds", "train", "measure")


def values_of(text: str) -> list[Any]:
    """Parse the values of a parameter: numbers or words with commas, or START:END:NUMBER for equal distances.

    Raises:
        ValueError: if the text is neither.

    >>> values_of("-1.4:-1.0:5"), values_of("16,32"), values_of("coupling,spline"), values_of("true,false")
    ([-1.4, -1.3, -1.2, -1.1, -1.0], [16, 32], ['coupling', 'spline'], [True, False])
    """
    if not isinstance(text, str) or not re.fullmatch(VALUES, text):
        raise InputError("values such as 16,32 or -1.4:-1.0:9", repr(text))
    if ":" not in text:
        return [_value(part) for part in text.split(",")]
    start, end, number = text.split(":")
    try:
        return [float(f"{value:.12g}") for value in np.linspace(float(start), float(end), int(number))]
    except ValueError:
        raise InputError("START:END:NUMBER, such as -1.4:-1.0:9", repr(text)) from None


def _value(text: str) -> Any:
    """True or false, an integer, a float, or else the text itself."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


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
        for entry in ("over", "train", "measure"):
            options = getattr(self, entry)
            if not isinstance(options, Mapping):
                raise InputError(f"options by name as {entry}", repr(options))
            if taken := [name for name in options if name in OWN and (entry, name) != ("measure", "name")]:
                raise InputError(f"no {' and '.join(taken)} in {entry}, which a sweep sets by itself", repr(options))
        if not isinstance(self.action, str):
            raise InputError(f"an action as text, such as {EXAMPLE}", repr(self.action))
        if not self.over:
            raise InputError("a list of values for each parameter of the sweep", "no parameters")
        for name, values in self.over.items():
            is_list = isinstance(values, Sequence) and not isinstance(values, str) and len(values)
            if not is_list or not all(isinstance(value, (int, float, str)) for value in values):
                raise InputError(f"a list of numbers or words for the parameter {name} of the sweep", repr(values))
            if len(set(values)) < len(values):
                raise InputError(f"different values of the parameter {name} of the sweep", repr(values))
        if isinstance(self.seeds, bool) or not isinstance(self.seeds, int) or self.seeds < 1:
            raise InputError("a positive number of seeds", repr(self.seeds))
        for point in self.points(Path()):
            if isinstance(physics.make(point.action), physics.ActionFamily):
                raise InputError("an action without ranges, whose parameters the sweep sets by `over`", point.action)

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
        over = entries["over"]
        if isinstance(over, Mapping):
            over = {name: values_of(values) if isinstance(values, str) else values for name, values in over.items()}
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
