"""Does a Laplace prior align latents with what they mean? The pinwheel of App. C of the RG-Flow paper, over seeds.

    python examples/pinwheel.py
    python examples/pinwheel.py --transform spline --seeds 3

Flows of two variables learn a pinwheel with four legs, some with a Laplace prior, some with a Gaussian one. The script
prints the part of the samples that lie on the leg of their part of the prior: of their quadrant, and of their sector
around an axis, for the best one-to-one assignment of parts to legs. It writes the picture of the first seed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from mera.analysis.pinwheel import agreement, pinwheel
from mera.display.means import with_error
from mera.drawing.images import save_figure
from mera.drawing.pinwheel import pinwheels
from mera.train.pinwheel import learn_pinwheel

PRIORS = ("laplace", "gaussian")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transform", default="affine", choices=["affine", "spline"])
    parser.add_argument("--seeds", type=int, default=6, help="the number of flows for each prior")
    parser.add_argument("--steps", type=int, default=500, help="steps of training")
    parser.add_argument("--out", type=Path, default=Path("pinwheel.png"), help="the picture")
    arguments = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    test = pinwheel(5000, seed=99).view(-1, 1, 2)
    table = Table("prior", "quadrants", "axes", "better of both", "nats", box=None)
    shown = {}
    for prior in PRIORS:
        found, nats = [], []
        for seed in track(range(arguments.seeds), prior, console=console):
            flow = learn_pinwheel(prior, seed, arguments.steps, arguments.transform)
            with torch.no_grad():
                nats.append(-flow.log_prob(test).mean().item())
            found.append(agreement(flow))
            shown.setdefault(prior, flow)
        columns = [[a.quadrants for a in found], [a.axes for a in found], [a.best for a in found], nats]
        table.add_row(prior, *map(with_error, columns))
    console.print(table)
    save_figure(pinwheels(shown), arguments.out)
    console.print(f"picture: {arguments.out}")


if __name__ == "__main__":
    main()
