"""Does a Laplace prior align latents with what they mean? The pinwheel of App. C of the RG-Flow paper, over seeds.

    python examples/pinwheel.py
    python examples/pinwheel.py --transform spline --seeds 3

Flows of two variables learn a pinwheel with four legs, some with a Laplace prior, some with a Gaussian one. The script
prints the part of the samples that lie on the leg of their part of the prior: of their quadrant, and of their sector
around an axis, for the best one-to-one assignment of parts to legs. It writes the picture of the first seed (Fig. 9).
"""

from __future__ import annotations

import argparse
import math
from itertools import permutations
from pathlib import Path

import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

import mera
from mera._utils.table import plus_minus
from mera.drawing.images import save_figure
from mera.train.evaluate import mean_and_error

LEGS, RADIUS, TWIST = 4, 2.0, 0.25
COLOURS = ("tab:red", "tab:blue", "tab:green", "tab:orange")


def pinwheel(n: int) -> Tensor:
    """Draw n points (n, 2)."""
    leg, along, across = torch.randint(LEGS, (n,)), 1 + 0.3 * torch.randn(n), 0.1 * torch.randn(n)
    angle = leg * (2 * math.pi / LEGS) + TWIST * along.exp()
    cos, sin = angle.cos(), angle.sin()
    return RADIUS * torch.stack([cos * along - sin * across, sin * along + cos * across], dim=1)


def leg_of(points: Tensor) -> Tensor:
    """The leg of each point (n, 2), from 0 to 3."""
    angle = torch.atan2(points[:, 1], points[:, 0]) - TWIST * (points.norm(dim=1) / RADIUS).exp()
    return (angle / (2 * math.pi / LEGS)).round().long() % LEGS


def sector_of(latents: Tensor, around_axes: bool) -> Tensor:
    """The quadrant of latents (n, 2), or the 90-degree sector centred on an axis, from 0 to 3."""
    turns = torch.atan2(latents[:, 1], latents[:, 0]) / (2 * math.pi / LEGS)
    return (turns.round() if around_axes else turns.floor()).long() % LEGS


def learn(prior: str, seed: int, steps: int, transform: str, batch: int = 256) -> mera.Flow:
    """Train a flow of six couplings of two variables."""
    torch.manual_seed(seed)
    layout = mera.graph.Layout((2,), channels=1)
    block = {"name": "coupling", "transform": transform, "layers": 6, "hidden": (32,)}
    layout.latent(layout.local(layout.input, block, kernel=2))
    flow, points = mera.Flow(layout, prior), pinwheel(batch * (steps + 1)).view(-1, 1, 2)
    options = {"optimizer": "AdamW", "lr": 1e-2, "weight_decay": 0.01, "warmup": 0, "eval_every": steps}
    mera.train.fit(
        flow, points[batch:], test=points[:batch], steps=steps, batch_size=batch, seed=seed, quiet=True, **options
    )
    return flow


@torch.no_grad()
def sampled(flow: mera.Flow, n: int) -> tuple[Tensor, Tensor, list[float]]:
    """Latents and samples, (n, 2) each, and the parts on the leg of their quadrant and of their sector of an axis."""
    z = flow.sample_latents(n)
    latents, points = z[0].flatten(1), flow.inverse(z)[0].flatten(1)
    shares = []
    for around_axes in (False, True):
        together = torch.zeros(LEGS, LEGS, dtype=torch.long)
        parts = sector_of(latents, around_axes), leg_of(points)
        together.index_put_(parts, torch.ones(n, dtype=torch.long), accumulate=True)
        shares.append(max(together[range(LEGS), order].sum().item() for order in permutations(range(LEGS))) / n)
    return latents, points, shares


def draw(flows: dict[str, mera.Flow], data: Tensor) -> Figure:
    """Latents, coloured by their part of the plane, and the samples that they become."""
    figure = Figure(figsize=(10, 2.7 * len(flows)), layout="constrained")
    axes = figure.subplots(len(flows), 4, squeeze=False)
    for row, (prior, flow) in zip(axes, flows.items(), strict=True):
        latents, points, (quadrants, around) = sampled(flow, len(data))
        colours = [COLOURS[sector] for sector in sector_of(latents, around > quadrants).tolist()]
        parts = "sectors around the axes" if around > quadrants else "quadrants"
        titles = f"{prior} prior, {parts}", f"samples: {max(around, quadrants):.2f} on the leg of their part", "data"
        for panel, values, shades, title in zip(
            (row[0], row[1], row[3]), (latents, points, data), (colours, colours, "0.3"), titles, strict=True
        ):
            panel.scatter(*values.T.tolist(), s=5, c=shades)
            panel.set(xlim=(-5, 5), ylim=(-5, 5), aspect="equal")
            panel.set_title(title, fontsize=8)
        row[2].bar(["quadrants", "axes"], [quadrants, around], color="0.6")
        row[2].set_ylim(0, 1)
        row[2].set_title("on the leg of their part", fontsize=8)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transform", default="affine", choices=["affine", "spline"])
    parser.add_argument("--seeds", type=int, default=6, help="the number of flows for each prior")
    parser.add_argument("--steps", type=int, default=500, help="steps of training")
    parser.add_argument("--out", type=Path, default=Path("pinwheel.png"), help="the picture")
    arguments = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    torch.manual_seed(99)
    test = pinwheel(5000)
    table = Table("prior", "quadrants", "axes", "better of both", "nats", box=None)
    shown = {}
    for prior in ("laplace", "gaussian"):
        rows = []
        for seed in track(range(arguments.seeds), prior, console=console):
            flow = learn(prior, seed, arguments.steps, arguments.transform)
            _, _, shares = sampled(flow, 5000)
            with torch.no_grad():
                rows.append([*shares, max(shares), -flow.log_prob(test.view(-1, 1, 2)).mean().item()])
            shown.setdefault(prior, flow)
        table.add_row(prior, *(plus_minus(*mean_and_error(column)) for column in torch.tensor(rows).T))
    console.print(table)
    save_figure(draw(shown, test[:400]), arguments.out)
    console.print(f"picture: {arguments.out}")


if __name__ == "__main__":
    main()
