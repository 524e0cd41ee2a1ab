"""Learn phi^4 on a small lattice, grow the flow to twice the edge, go on there, and measure mixtures of its images.

    python examples/growth.py
    python examples/growth.py --L 8 --minutes 1 1
    python examples/growth.py --minutes 6 19 25        # from 16 to 64
    python examples/growth.py --model rgflow

A table for each lattice shows, for each number of images under sign flips, rotations and translations, the effective
sample size, ln Z, the variational free energy and m^2 with the seconds of the measurement: each image has the same
action, and a mixture of them is closer to the target than the flow alone.
"""

from __future__ import annotations

import argparse
import time

import torch
from rich.console import Console

import mera
from mera import physics
from mera._utils.table import Table
from mera.physics import Quantity

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
    parser.add_argument("--minutes", type=float, nargs="+", default=[6.0, 19.0], help="training time on each lattice")
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
    for number, minutes in enumerate(arguments.minutes):
        flow = physics.grow(flow, copy="fine") if number else flow
        result = mera.train.fit(flow, action, minutes=minutes, batch_size=32 if number else 64, **settings)
        print(f"{result.steps} steps at L={flow.plan.input.shape[0]}")
        print(measured(flow, action, arguments.images, arguments.samples))


def measured(flow: mera.Flow, action: physics.Action, images: list[int], samples: int) -> Table:
    """What mixtures of each number of images measure."""
    rows = []
    for n in images:
        began = time.perf_counter()
        found = physics.estimate(mera.Symmetrized(flow, ("flip", "rotations", "translations"), n), action, samples)
        values = [Quantity(found.log_z, found.log_z_error), found.free_energy, found.observables["m2"]]
        seconds = f"{time.perf_counter() - began:.1f}"
        rows.append((n, f"{found.ess:.3f}", f"{found.pareto_k:.2f}", *map(str, values), seconds))
    return Table(["images", "ESS", "Pareto k", "ln Z", "free energy", "m^2", "seconds"], rows)


if __name__ == "__main__":
    main()
