r"""Train RG-Flow on a lattice field theory, phi^4 in two dimensions, from its action alone, and measure it exactly.

    python examples/phi4.py
    python examples/phi4.py --coupling 0

Either command takes a few minutes on two cores. It prints what was measured with reweighted samples of the flow,
beside Hamiltonian Monte Carlo, and for the free field of the second command the exact values. It writes `phi4.png`,
which shows three samples level by level from the coarsest lattice, and how correlations fall with the distance.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from matplotlib.figure import Figure
from rich.console import Console

import mera
from mera import physics
from mera._utils.table import Table
from mera.drawing.images import save_figure


def draw(flow: mera.Flow, report: physics.Estimate) -> Figure:
    """Draw three samples, from the coarsest lattice to the field, and the two-point function with its errors."""
    levels = [level[:, 0] for level in reversed(flow.progression(flow.sample_latents(3)))]
    figure = Figure(figsize=(2 * len(levels) + 4, 6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[2 * len(levels), 4])
    axes = left.subplots(3, len(levels), squeeze=False)
    bound = levels[-1].abs().max().item()
    for column, level in enumerate(levels):
        axes[0, column].set_title(f"{level.shape[-1]} x {level.shape[-1]}", fontsize=9)
        for row in range(3):
            axes[row, column].imshow(level[row].detach().numpy(), cmap="RdBu", vmin=-bound, vmax=bound)
            axes[row, column].set_axis_off()
    plot = right.subplots()
    values, errors = report.correlator
    plot.errorbar(range(len(values)), values.numpy(), errors.numpy(), fmt="o-", ms=4, capsize=3)
    plot.set_yscale("log", nonpositive="clip")
    plot.set_ylim(bottom=max(values[0].item() * 1e-5, errors.min().item()))
    plot.set(xlabel="distance r", title="<phi(x) phi(x + r)>")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--L", type=int, default=16, help="edge of the lattice: 8, 16, ...")
    parser.add_argument("--mass2", type=float, default=0.25, help="the squared mass in the action")
    parser.add_argument("--coupling", type=float, default=0.25, help="the coupling in the action; 0 is the free field")
    parser.add_argument("--steps", type=int, default=1000, help="number of training steps")
    parser.add_argument("--batch", type=int, default=64, help="number of samples in a step")
    parser.add_argument("--lr", type=float, default=5e-3, help="the largest learning rate")
    parser.add_argument("--samples", type=int, default=4000, help="number of samples for the averages")
    parser.add_argument("--out", type=Path, default=Path("phi4.png"), help="the PNG to write")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    console = Console(highlight=False)
    action = physics.Phi4(arguments.mass2, arguments.coupling)
    shape = (arguments.L, arguments.L)
    flow = mera.build("rgflow", L=shape, m=4, channels=1, layers=4, hidden=(64,), norm=False, prior="gaussian")
    settings = {"steps": arguments.steps, "batch_size": arguments.batch, "lr": arguments.lr, "weight_decay": 0.0}
    mera.train.fit(flow, action, console=console, eval_every=arguments.steps, **settings)
    report = physics.estimate(flow.double(), action, arguments.samples, console=console)
    chain = physics.hmc((1, *shape), action, draws=500, console=console)
    exact = {}
    if arguments.coupling == 0:
        exact = {"ln Z": action.log_z(shape), "phi2": physics.FreeField(arguments.mass2).phi2(shape), "energy": 0.5}
    rows = [["ln Z", f"{report.log_z:.3f} +- {report.log_z_error:.3f}", ""]]
    rows += [[name, str(value), str(chain.observables[name])] for name, value in report.observables.items()]
    table = [[*row, f"{exact[row[0]]:.4f}" if row[0] in exact else ""] for row in rows]
    console.print(f"effective samples: {report.ess:.1%} of {report.n:,}")
    console.print(str(Table(["observable", "flow, reweighted", "HMC", "exact"], table)))
    with torch.no_grad():
        save_figure(draw(flow, report), arguments.out)
    console.print(f"picture: {arguments.out}")


if __name__ == "__main__":
    main()
