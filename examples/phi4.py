"""A lattice field theory: RG-Flow learns phi^4 in two dimensions from its action alone.

    python examples/phi4.py                 # two minutes on two cores
    python examples/phi4.py --coupling 0    # the free field, whose <phi^2> and Z are known

S(phi) = sum over sites of  1/2 sum over directions of (phi(x + e) - phi(x))^2 + 1/2 mass2 phi^2 + coupling phi^4.

The flow minimises the mean of log p(phi) + S(phi) over its own samples, which is the Kullback-Leibler divergence to
exp(-S) / Z up to log Z. What is left of it is put right by weights exp(-S) / p: their effective sample size says how
good the flow is, and their mean is an estimate of Z. The picture shows samples, level by level from the coarsest, and
how correlations fall with distance.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from rich.console import Console
from torch import Tensor

import mera
from mera._utils.progress import ProgressBar
from mera.drawing.images import save_figure


def action(phi: Tensor, mass2: float, coupling: float) -> Tensor:
    """S of fields (B, 1, L, L): (B,)."""
    gradient = sum((phi.roll(1, axis) - phi).square() for axis in (2, 3))
    return (gradient / 2 + mass2 / 2 * phi.square() + coupling * phi**4).flatten(1).sum(1)


def free_field(L: int, mass2: float) -> tuple[float, float]:
    """<phi^2> and log Z of the free field, from the eigenvalues of its quadratic form, one for each momentum."""
    squares = 4 * torch.sin(math.pi * torch.arange(L, dtype=torch.float64) / L).square()
    eigenvalues = mass2 + squares[:, None] + squares
    return eigenvalues.reciprocal().mean().item(), 0.5 * (2 * math.pi / eigenvalues).log().sum().item()


def effective(log_weights: Tensor) -> float:
    """The effective sample size of weights, as a fraction of their number."""
    return (2 * log_weights.logsumexp(0) - (2 * log_weights).logsumexp(0)).exp().item() / len(log_weights)


def train(flow: mera.Flow, arguments: argparse.Namespace, console: Console) -> None:
    p = flow.distribution()
    optimizer = torch.optim.Adam(flow.parameters(), lr=arguments.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, arguments.steps)
    with ProgressBar("train", console) as progress_bar:
        for step in range(1, arguments.steps + 1):
            phi, log_prob = p.rsample_and_log_prob((arguments.batch,))
            log_weights = -action(phi, arguments.mass2, arguments.coupling) - log_prob
            optimizer.zero_grad()
            (-log_weights.mean()).backward()
            torch.nn.utils.clip_grad_norm_(flow.parameters(), 10.0)
            optimizer.step()
            schedule.step()
            note = f"effective samples {effective(log_weights.detach()):.0%}"
            progress_bar.update(step, step / arguments.steps, note)


def correlations(phi: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """<phi(x) phi(x + r)> along the axes, for r from 0 to L / 2, and the standard errors."""
    distances = range(phi.shape[-1] // 2 + 1)
    each = torch.stack([(phi * (phi.roll(r, 2) + phi.roll(r, 3)) / 2).flatten(1).mean(1) for r in distances])
    mean = each @ weights
    return mean, ((each - mean[:, None]) * weights).square().sum(1).sqrt()


def draw(flow: mera.Flow, falls: Tensor, errors: Tensor, path: Path) -> None:
    """Three samples, from the coarsest lattice to the field, and their correlations."""
    levels = [level[:, 0] for level in reversed(flow.progression(flow.sample_latents(3)))]
    figure, axes = plt.subplots(
        3, len(levels) + 1, figsize=(2 * len(levels) + 3, 6), width_ratios=[1] * len(levels) + [1.6]
    )
    bound = levels[-1].abs().max().item()
    for row in range(3):
        for column, level in enumerate(levels):
            axes[row, column].imshow(level[row], cmap="RdBu", vmin=-bound, vmax=bound)
            axes[row, column].set_axis_off()
            axes[0, column].set_title(f"{level.shape[-1]} x {level.shape[-1]}", fontsize=9)
        axes[row, -1].remove()
    plot = figure.add_subplot(axes[0, -1].get_gridspec()[:, -1])
    plot.errorbar(range(len(falls)), falls, errors, fmt="o-", ms=4, capsize=3)
    plot.set_yscale("log", nonpositive="clip")
    plot.set_ylim(bottom=max(falls[0].item() * 1e-5, errors.min().item()))
    plot.set(xlabel="distance r", title="<phi(x) phi(x + r)>")
    figure.tight_layout()
    save_figure(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--L", type=int, default=16)
    parser.add_argument("--mass2", type=float, default=0.25)
    parser.add_argument("--coupling", type=float, default=0.25)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--out", type=Path, default=Path("phi4.png"))
    arguments = parser.parse_args()
    torch.manual_seed(0)
    console = Console(highlight=False)
    flow = mera.build("rgflow", L=arguments.L, m=4, channels=1, layers=4, hidden=(64,), norm=False, prior="gaussian")
    train(flow, arguments, console)
    with torch.no_grad():
        phi, log_prob = flow.distribution().rsample_and_log_prob((arguments.samples,))
        log_weights = (-action(phi, arguments.mass2, arguments.coupling) - log_prob).double()
        weights = log_weights.softmax(0)
        falls, errors = correlations(phi.double(), weights)
        draw(flow, falls, errors, arguments.out)
    exact = [""] * 2
    if arguments.coupling == 0:
        phi2, log_z = free_field(arguments.L, arguments.mass2)
        exact = [f"(exact: {phi2:.4f})", f"(exact: {log_z:.3f})"]
    console.print(f"effective samples  {effective(log_weights):.1%} of {arguments.samples:,}")
    console.print(f"<phi^2>            {falls[0]:.4f} +- {errors[0]:.4f} {exact[0]}")
    console.print(f"log Z              {log_weights.logsumexp(0).item() - math.log(arguments.samples):.3f} {exact[1]}")
    console.print(f"picture: {arguments.out}")


if __name__ == "__main__":
    main()
