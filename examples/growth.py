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
from mera.display.means import plus_minus
from mera.display.table import Table

MODELS = {
    "decimation": {"hidden": (16,)},
    "rgflow": {
        "m": 4, "norm": False, "prior": "gaussian", "transform": "spline(bound=6, bins=8)", "layers": 2, "hidden": (64,)
    },
}  # fmt: skip
"""The options of each model."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=list(MODELS), default="decimation")
    parser.add_argument("--L", type=int, default=16, help="edge of the small lattice")
    parser.add_argument("--mass2", type=float, default=-4.0)
    parser.add_argument("--coupling", type=float, default=1.143)
    parser.add_argument("--minutes", type=float, nargs=2, default=[6.0, 19.0], help="training time on both lattices")
    parser.add_argument("--images", type=int, nargs="+", default=[1, 2, 4, 16])
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    console = Console(highlight=False)
    action = physics.Phi4(arguments.mass2, arguments.coupling)
    flow = mera.build(arguments.model, L=arguments.L, channels=1, **MODELS[arguments.model])
    settings = {"weight_decay": 0.0, "eval_every": 10**6, "seed": arguments.seed, "console": console}
    settings |= {"optimizer": "Muon", "optimizer_options": {"scale": 0.5, "decay": 0.0}}
    small, large = arguments.minutes
    steps = [mera.train.fit(flow, action, minutes=small, batch_size=64, **settings).steps]
    flow = physics.grow(flow, copy="fine")
    steps.append(mera.train.fit(flow, action, minutes=large, batch_size=32, **settings).steps)
    print(f"{steps[0]} steps at L={arguments.L}, {steps[1]} at {2 * arguments.L}")
    rows = []
    for images in arguments.images:
        mixture = mera.Symmetrized(flow, ("flip", "rotations", "translations"), elements=images)
        found = physics.estimate(mixture, action, arguments.samples)
        energy, error = found.free_energy
        values = plus_minus(found.log_z, found.log_z_error, 3), plus_minus(energy, error, 3)
        rows.append((images, f"{found.ess:.3f}", f"{found.pareto_k:.2f}", *values))
    print(Table(["images", "ESS", "Pareto k", "ln Z", "free energy"], rows))


if __name__ == "__main__":
    main()
