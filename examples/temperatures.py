"""Learn the Ising model at all temperatures of a range with one flow, and compare its curves with the exact ones.

    python examples/temperatures.py
    python examples/temperatures.py --L 8 --minutes 1 --points 5

The flow is conditional on the temperature. Beside it stand flows that learnt one temperature each, in the same time
all together. Exact values are those of Kaufman (1949). The default takes about 25 minutes on two cores; the command
prints a table and writes `temperatures.png`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from matplotlib.figure import Figure
from rich.console import Console

import mera
from mera import physics
from mera._utils.table import Table
from mera.drawing.images import save_figure
from mera.physics import Estimate

TRAINING = {"optimizer": "Muon", "optimizer_options": {"scale": 0.5, "decay": 0.0}, "lr": 8e-3, "weight_decay": 0.0}
OPTIONS = {"m": 2, "channels": 1, "hidden": (16,), "prior": "gaussian"}


def exact(L: int, temperature: float, step: float = 1e-3) -> dict[str, float]:
    """ln Z, and energy and specific heat a site, as differences of Kaufman's ln Z by the inverse temperature."""
    beta = 1 / temperature
    below, at, above = (physics.kaufman((L, L), 1 / (beta + change)) for change in (-step, 0.0, step))
    heat = beta**2 * (below - 2 * at + above) / (step * L) ** 2
    return {"log_z": at, "energy": -(above - below) / (2 * step * L**2), "specific_heat": heat}


def draw(temperatures: list[float], curves: dict[str, list[Estimate]], L: int, ends: tuple[float, float]) -> Figure:
    """Distance from the exact free energy, effective samples, energy and specific heat, by temperature.

    Open circles are averages whose errors mean nothing, since the weights have too heavy a tail (Pareto k above 0.7).
    """
    figure = Figure(figsize=(10, 6.4), layout="constrained")
    panels = figure.subplots(2, 2).flat
    fine = torch.linspace(*ends, 100).tolist()
    names = {"gap": "nats above the exact free energy", "ess": "effective samples", "energy": "energy a site"}
    for axes, (key, label) in zip(panels, (names | {"specific_heat": "specific heat"}).items(), strict=True):
        for name, reports in curves.items():
            if key in ("gap", "ess"):
                values = [above(r, L, t) if key == "gap" else r.ess for r, t in zip(reports, temperatures, strict=True)]
                axes.plot(temperatures, values, "o-", ms=4, label=name)
            else:
                colour = axes.plot([], [], "o", ms=4, label=name)[0].get_color()
                for temperature, report in zip(temperatures, reports, strict=True):
                    value, error = report.observables[key]
                    face = colour if report.pareto_k < 0.7 else "none"
                    axes.errorbar(temperature, value, error, fmt="o", ms=4, capsize=2, color=colour, mfc=face)
        if key in ("energy", "specific_heat"):
            axes.plot(fine, [exact(L, t)[key] for t in fine], color="black", lw=1, label="exact", zorder=0)
        axes.set(xlabel="temperature", ylabel=label, ylim=(0, 1) if key == "ess" else None)
        axes.legend()
    return figure


def above(report: Estimate, L: int, temperature: float) -> float:
    """How many nats the variational free energy is above the exact one, that is the divergence of the flow."""
    return report.free_energy.value + physics.Ising(temperature, local=True, gap=1.0).log_z((L, L))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--L", type=int, default=16, help="edge of the lattice")
    parser.add_argument("--temperatures", type=float, nargs=2, default=[1.8, 3.2], help="ends of the range")
    parser.add_argument("--points", type=int, default=8, help="number of temperatures that are measured")
    parser.add_argument("--minutes", type=float, default=10.0, help="training of the one flow, and of all others")
    parser.add_argument("--batch", type=int, default=128, help="number of samples in a step")
    parser.add_argument("--images", type=int, default=4, help="images of each flow in the mixture that is measured")
    parser.add_argument("--samples", type=int, default=4000, help="number of samples for the averages")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("temperatures.png"))
    arguments = parser.parse_args()
    console, L, ends = Console(highlight=False), arguments.L, tuple(arguments.temperatures)
    torch.manual_seed(arguments.seed)
    settings = TRAINING | {"batch_size": arguments.batch, "eval_every": 10**6, "seed": arguments.seed}
    fit: Callable[..., object] = partial(mera.train.fit, console=console, **settings)
    family = physics.ActionFamily(physics.Ising(local=True, gap=1.0), temperature=ends)
    temperatures = torch.linspace(*ends, arguments.points, dtype=torch.float64).tolist()
    conditional = mera.build("decimation", L=L, context=1, **OPTIONS)
    fit(conditional, family, minutes=arguments.minutes)
    curves: dict[str, list[Estimate]] = {"one flow": [], "a flow each": []}
    for temperature in temperatures:
        alone = mera.build("decimation", L=L, **OPTIONS)
        fit(alone, family.at(temperature=temperature), minutes=arguments.minutes / len(temperatures))
        given = conditional.given(family.context(temperature=temperature))
        for name, flow in zip(curves, (given, alone), strict=True):
            mixture = mera.Symmetrized(flow, ("flip", "rotations", "translations"), elements=arguments.images)
            curves[name].append(physics.estimate(mixture, family.at(temperature=temperature), arguments.samples))
    rows = []
    for name, reports in curves.items():
        for temperature, report in zip(temperatures, reports, strict=True):
            known, got = exact(L, temperature), report.observables
            compared = [f"{got[key]} ({known[key]:.4f})" for key in ("energy", "specific_heat")]
            gap = f"{above(report, L, temperature):.3f}"
            rows.append((name, f"{temperature:.2f}", gap, f"{report.ess:.3f}", f"{report.pareto_k:.2f}", *compared))
    print(Table(["flow", "T", "nats above exact", "ESS", "Pareto k", "energy (exact)", "specific heat (exact)"], rows))
    save_figure(draw(temperatures, curves, L, ends), arguments.out)
    console.print(f"picture: {arguments.out}")


if __name__ == "__main__":
    main()
