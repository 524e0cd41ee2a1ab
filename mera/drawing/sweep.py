"""The figure of a sweep: quantities against a parameter."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from mera.drawing.figures import Picture, panels
from mera.physics.observables import Quantity


def sweep_figure(
    names: Sequence[str],
    means: Mapping[tuple[Any, ...], Mapping[str, Quantity]],
    shown: Sequence[str],
    doubtful: Collection[tuple[Any, ...]] = (),
) -> Picture:
    """Draw quantities with error bars against the parameter with the most values, a curve for each other combination.

    Args:
        names: the names of the parameters.
        means: by the values of all parameters, the quantities by name.
        shown: the names of the quantities.
        doubtful: the values of all parameters where averages are wrong or errors mean nothing; a cross marks them.
    """
    axis = max(range(len(names)), key=lambda i: len({at[i] for at in means}))
    figure, places = panels(len(shown), 2, 4.2, 3.2)
    curves: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
    for at in means:
        curves.setdefault((*at[:axis], *at[axis + 1 :]), []).append(at)
    others = [name for i, name in enumerate(names) if i != axis]
    for axes, name in zip(places, shown, strict=True):
        for rest, points in curves.items():
            points = sorted(points, key=lambda at: at[axis])
            label = ", ".join(f"{key} = {value}" for key, value in zip(others, rest, strict=True))
            quantities = [means[at][name] for at in points]
            axes.errorbar(
                [at[axis] for at in points], [q.value for q in quantities], [q.error for q in quantities],
                fmt="o-", ms=3.5, lw=0.9, capsize=2, label=label or None,
            )  # fmt: skip
        crossed = [at for at in means if at in doubtful]
        axes.plot(
            [at[axis] for at in crossed], [means[at][name].value for at in crossed], "x", color="black", ms=9,
            label="averages wrong, or errors unknown" if crossed else None,
        )  # fmt: skip
        axes.set(xlabel=names[axis], ylabel=name)
        axes.grid(alpha=0.3)
    if others or doubtful:
        places[0].legend(fontsize=8)
    return figure
