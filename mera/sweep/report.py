"""The results of a sweep: a table, a file of comma-separated values, and a picture."""

from __future__ import annotations

import csv
import io
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mera._utils.errors import InputError
from mera._utils.files import write_atomically
from mera.display.table import Table
from mera.physics.observables import Quantity
from mera.physics.verdicts import WRONG, severity
from mera.sweep.point import Point

DRAWN = ("abs_m", "susceptibility", "binder", "energy")
"""The quantities that are drawn by default."""


def quantities_of(point: Point) -> dict[str, Quantity]:
    """All numbers of a point with their errors, by name; an error that is not known is NaN."""
    report = point.result()
    found = {name: value for name, value in report["observables"].items() if name != "correlator"}
    found |= {name: report[name] for name in ("log_z", "free_energy") if name in report}
    return {
        name: Quantity(*(math.nan if part is None else part for part in value)) for name, value in found.items()
    } | ({"ess": Quantity(report["ess"], math.nan)} if "ess" in report else {})


def combined(quantities: Sequence[Quantity]) -> Quantity:
    """The mean over seeds; its error is the larger of the quoted one and that of the scatter between the seeds."""
    n = len(quantities)
    mean = sum(quantity.value for quantity in quantities) / n
    quoted = math.sqrt(sum(quantity.error**2 for quantity in quantities)) / n
    if n < 2:
        return Quantity(mean, quoted)
    scatter = math.sqrt(sum((quantity.value - mean) ** 2 for quantity in quantities) / (n - 1) / n)
    return Quantity(mean, scatter if math.isnan(quoted) else max(quoted, scatter))


def write_report(points: Sequence[Point], folder: Path, drawn: Sequence[str] = ()) -> Table:
    """Write `results.csv` and `results.png` of the points that are done; return a table, a row for each combination.

    Args:
        points: the points of the sweep.
        folder: the folder of the files.
        drawn: the quantities in the table and the picture; |m|, susceptibility, Binder cumulant and energy if empty.

    Raises:
        ValueError: if no point is done, or a quantity is unknown.
    """
    done = [point for point in points if point.is_done]
    if not done:
        raise InputError("a sweep with a point that is done", f"none of {len(points)}")
    measured = {point.folder: quantities_of(point) for point in done}
    known = list(dict.fromkeys(name for found in measured.values() for name in found))
    if unknown := [name for name in drawn if name not in known]:
        raise InputError(f"quantities among {', '.join(known)}", ", ".join(unknown))
    _write_csv(done, measured, known, folder / "results.csv")
    groups: dict[tuple[Any, ...], list[Point]] = defaultdict(list)
    for point in done:
        groups[tuple(point.values.values())].append(point)
    everywhere = [name for name in known if all(name in found for found in measured.values())]
    if missing := [name for name in drawn if name not in everywhere]:
        raise InputError("quantities that all points have", ", ".join(missing))
    shown = list(drawn or [name for name in DRAWN if name in everywhere] or everywhere[:4])
    means = {
        at: {name: combined([measured[point.folder][name] for point in group]) for name in shown}
        for at, group in groups.items()
    }
    from mera.drawing.sweep import sweep_figure

    verdicts = {at: _verdict(group) for at, group in groups.items()}
    doubtful = {at for at, verdict in verdicts.items() if verdict.startswith(WRONG)}
    picture = sweep_figure(list(done[0].values), means, shown, doubtful)
    write_atomically(folder / "results.png", picture._repr_png_())
    rows = [[*at, len(groups[at]), *(str(means[at][name]) for name in shown), verdicts[at]] for at in groups]
    return Table([*done[0].values, "seeds", *shown, "verdict"], rows)


def _verdict(points: Sequence[Point]) -> str:
    """The worst verdict of the seeds, without its reasons."""
    verdicts = [point.result()["verdict"].split(":")[0].split(" (")[0] for point in points]
    return min(verdicts, key=severity)


def _write_csv(points: Sequence[Point], measured: Any, names: Sequence[str], path: Path) -> None:
    """Write a row for each point: its parameters, seed, quantities with their errors, verdict and folder."""
    text = io.StringIO()
    writer = csv.writer(text)
    columns = [column for name in names for column in (name, f"{name}_error")]
    writer.writerow([*points[0].values, "seed", *columns, "verdict", "folder"])
    for point in points:
        numbers = [part for name in names for part in measured[point.folder].get(name, ("", ""))]
        writer.writerow([*point.values.values(), point.seed, *numbers, point.result()["verdict"], point.folder])
    write_atomically(path, text.getvalue().encode())
