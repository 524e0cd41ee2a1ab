"""Learn phi^4 on a small lattice, grow the flow to twice the edge, go on there, and measure mixtures of its images.

    python examples/growth.py
    python examples/growth.py --L 8 --minutes 1 1
    python examples/growth.py --model rgflow

The table shows, for each number of images under sign flips, rotations and translations, the effective
sample size, ln Z and the variational free energy: each image has the same action, and a mixture of them is closer to
the target than the flow alone.
"""

from __future__ import annotations

import argparse

import torch
from rich.console import Console

import mera
from mera import physics
from mera.display.table import Table

MODELS = {
    "decimation": {"layers": 2, "hidden": (16,)},
    "rgflow": {
        "m": 4, "norm": False, "prior": "gaussian", "bijector": "spline(bound=6, bins=8)", "layers": 2, "hidden": (64,)
    },
}  # fmt: skip
"""The options of each model."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=list(MODELS), default="decimation")
    parser.add_argument("--L", type=int, default=16, help="edge of the small lattice")
    parser.add_argument("--mass2", type=float, default=-4.0)
    parser.add_argument("--coupling", type=float, default=1.143)
    parser.add_argument("--minutes", type=float, nargs=2, default=[8.0, 21.0], help="training time on both lattices")
    parser.add_argument("--images", type=int, nargs="+", default=[2, 4, 16])
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    console = Console(highlight=False)
    action = physics.Phi4(arguments.mass2, arguments.coupling)
    flow = mera.build(arguments.model, L=arguments.L, channels=1, **MODELS[arguments.model])
    settings = {"batch_size": 64, "weight_decay": 0.0, "eval_every": 10**6}
    settings |= {"optimizer": "Muon", "optimizer_options": {"scale": 0.5, "decay": 0.0}}
    mera.train.fit(flow, action, minutes=arguments.minutes[0], seed=arguments.seed, console=console, **settings)
    flow = physics.grow(flow, copy="fine")
    mera.train.fit(flow, action, minutes=arguments.minutes[1], seed=arguments.seed, console=console, **settings)
    rows = []
    for images in arguments.images:
        mixture = mera.Symmetrized(flow, ("flip", "rotations", "translations"), elements=images)
        found = physics.estimate(mixture, action, arguments.samples)
        energy, error = found.free_energy
        rows.append(
            (images, f"{found.ess:.3f}", f"{found.log_z:.2f} ± {found.log_z_error:.2f}", f"{energy:.2f} ± {error:.2f}")
        )
    print(Table(["images", "ESS", "ln Z", "free energy"], rows))


if __name__ == "__main__":
    main()
