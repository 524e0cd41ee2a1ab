r"""Train RG-Flow on a lattice field theory, phi^4 in two dimensions, from its action alone.

    python examples/phi4.py
    python examples/phi4.py --coupling 0

The action is

    S(phi) = sum over sites of  1/2 sum over directions of (phi(x + e) - phi(x))^2 + 1/2 mass2 phi^2 + coupling phi^4.

The flow minimises the mean of log p(phi) + S(phi) over its own samples. That is the Kullback-Leibler divergence from p
to exp(-S) / Z, up to log Z. Samples are then weighted with exp(-S) / p, which makes averages exact: the effective
sample size of the weights tells how good the flow is, and their mean is an estimate of Z.

Either command takes about two minutes on two cores. It prints the effective sample size, <phi^2> and log Z, and for
the free field of the second command also the exact values. It writes `phi4.png`, which shows three samples level by
level from the coarsest lattice, and how correlations fall with the distance.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import Progress, TextColumn
from torch import Tensor

import mera
from mera.drawing.images import save_figure


def action(phi: Tensor, mass2: float, coupling: float) -> Tensor:
    """The action of fields (B, 1, L, L), (B,)."""
    gradient = sum((phi.roll(1, axis) - phi).square() for axis in (2, 3))
    return (gradient / 2 + mass2 / 2 * phi.square() + coupling * phi**4).flatten(1).sum(1)


def free_field(L: int, mass2: float) -> tuple[float, float]:
    """<phi^2> and log Z of the free field, from the eigenvalues of its quadratic form, one for each momentum."""
    squares = 4 * torch.sin(math.pi * torch.arange(L, dtype=torch.float64) / L).square()
    eigenvalues = mass2 + squares[:, None] + squares
    return eigenvalues.reciprocal().mean().item(), 0.5 * (2 * math.pi / eigenvalues).log().sum().item()


def effective_fraction(log_weights: Tensor) -> float:
    """The effective sample size of weighted samples, as a fraction of the number of samples."""
    return (2 * log_weights.logsumexp(0) - (2 * log_weights).logsumexp(0)).exp().item() / len(log_weights)


def train(flow: mera.Flow, arguments: argparse.Namespace, console: Console) -> None:
    p = flow.distribution()
    optimizer = torch.optim.Adam(flow.parameters(), lr=arguments.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, arguments.steps)
    columns = *Progress.get_default_columns(), TextColumn("effective samples {task.fields[effective]:.0%}")
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("train", total=arguments.steps, effective=0.0)
        for _ in range(arguments.steps):
            phi, log_prob = p.rsample_and_log_prob((arguments.batch,))
            log_weights = -action(phi, arguments.mass2, arguments.coupling) - log_prob
            optimizer.zero_grad()
            (-log_weights.mean()).backward()
            torch.nn.utils.clip_grad_norm_(flow.parameters(), 10.0)
            optimizer.step()
            schedule.step()
            progress.update(task, advance=1, effective=effective_fraction(log_weights.detach()))


def correlations(phi: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """<phi(x) phi(x + r)> along the axes, for r from 0 to L / 2, and its standard errors."""
    distances = range(phi.shape[-1] // 2 + 1)
    products = torch.stack([(phi * (phi.roll(r, 2) + phi.roll(r, 3)) / 2).flatten(1).mean(1) for r in distances])
    mean = products @ weights
    return mean, ((products - mean[:, None]) * weights).square().sum(1).sqrt()


def draw(flow: mera.Flow, mean: Tensor, errors: Tensor) -> Figure:
    """Draw three samples, from the coarsest lattice to the field, and correlations with their standard errors."""
    levels = [level[:, 0] for level in reversed(flow.progression(flow.sample_latents(3)))]
    figure = Figure(figsize=(2 * len(levels) + 4, 6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[2 * len(levels), 4])
    axes = left.subplots(3, len(levels), squeeze=False)
    bound = levels[-1].abs().max().item()
    for column, level in enumerate(levels):
        axes[0, column].set_title(f"{level.shape[-1]} x {level.shape[-1]}", fontsize=9)
        for row in range(3):
            axes[row, column].imshow(level[row].numpy(), cmap="RdBu", vmin=-bound, vmax=bound)
            axes[row, column].set_axis_off()
    plot = right.subplots()
    plot.errorbar(range(len(mean)), mean.numpy(), errors.numpy(), fmt="o-", ms=4, capsize=3)
    plot.set_yscale("log", nonpositive="clip")
    plot.set_ylim(bottom=max(mean[0].item() * 1e-5, errors.min().item()))
    plot.set(xlabel="distance r", title="<phi(x) phi(x + r)>")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--L", type=int, default=16, help="edge of the lattice: 4, 8, 16, ...")
    parser.add_argument("--mass2", type=float, default=0.25, help="the squared mass in the action")
    parser.add_argument("--coupling", type=float, default=0.25, help="the coupling in the action; 0 is the free field")
    parser.add_argument("--steps", type=int, default=1500, help="number of training steps")
    parser.add_argument("--batch", type=int, default=64, help="number of samples in a step")
    parser.add_argument("--lr", type=float, default=2e-3, help="Adam's learning rate, which falls to zero")
    parser.add_argument("--samples", type=int, default=4000, help="number of samples for the averages")
    parser.add_argument("--out", type=Path, default=Path("phi4.png"), help="the PNG to write")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    console = Console(highlight=False)
    flow = mera.build("rgflow", L=arguments.L, m=4, channels=1, layers=4, hidden=(64,), norm=False, prior="gaussian")
    train(flow, arguments, console)
    with torch.no_grad():
        phi, log_prob = flow.distribution().rsample_and_log_prob((arguments.samples,))
        log_weights = (-action(phi, arguments.mass2, arguments.coupling) - log_prob).double()
        weights = log_weights.softmax(0)
        mean, errors = correlations(phi.double(), weights)
        save_figure(draw(flow, mean, errors), arguments.out)
    exact = [""] * 2
    if arguments.coupling == 0:
        phi2, log_z = free_field(arguments.L, arguments.mass2)
        exact = [f"(exact: {phi2:.4f})", f"(exact: {log_z:.3f})"]
    console.print(f"effective samples  {effective_fraction(log_weights):.1%} of {arguments.samples:,}")
    console.print(f"<phi^2>            {mean[0]:.4f} +- {errors[0]:.4f} {exact[0]}")
    console.print(f"log Z              {log_weights.logsumexp(0).item() - math.log(arguments.samples):.3f} {exact[1]}")
    console.print(f"picture: {arguments.out}")


if __name__ == "__main__":
    main()
