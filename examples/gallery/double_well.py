"""A double well on each site: affine couplings and splines.

python examples/gallery/double_well.py [seconds of training] [picture]
"""

import sys

import torch
from matplotlib.figure import Figure

import mera
from mera import physics


def main(seconds: float = 30, out: str = "double_well.png") -> None:
    action = physics.DoubleWell(height=6.0, position=2.0)
    ways = {"affine couplings": "affine", "splines": "spline(bound=6)"}
    figure = Figure(figsize=(6.5, 2.5), layout="constrained")
    grid = torch.linspace(-3.5, 3.5, 200)
    density = torch.exp(-action(grid.view(-1, 1, 1, 1)))
    for (name, transform), axes in zip(ways.items(), figure.subplots(1, 2, sharey=True), strict=True):
        torch.manual_seed(0)
        flow = mera.build(
            "rgflow", L=4, m=4, channels=1, layers=2, hidden=(64,), norm=False, prior="gaussian", transform=transform
        )
        mera.train.fit(flow, action, minutes=seconds / 60, batch_size=64, lr=5e-3, weight_decay=0)
        report = physics.estimate(flow, action, 4000)
        missed = 16 * action.log_z((1,)) - report.log_z
        print(f"{name}: effective sample size {report.ess:.3f}, ln Z {missed:+.2f} below the exact value")
        axes.hist(flow.sample(4000).flatten(), bins=80, range=(-3.5, 3.5), density=True)
        axes.plot(grid, density / density.sum() / (grid[1] - grid[0]), "k")
        axes.set_title(f"{name}: {report.ess:.2f}", fontsize=9)
    figure.savefig(out, dpi=100)


if __name__ == "__main__":
    main(*map(float, sys.argv[1:2]), *sys.argv[2:3])
