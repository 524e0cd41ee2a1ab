"""Learn the Ising model at its critical point, and compare the free energy with the exact one of Kaufman (1949).

    python examples/ising.py
    python examples/ising.py --L 8 --minutes 1 --temperature 2.5

The spins are replaced by a continuous field (Hubbard-Stratonovich), as in NeuralRG, https://arxiv.org/abs/1802.02840.
A flow learns the action by itself; what is measured is a mixture of its images under flips, reflections, rotations and
translations, which leave the action as it is. The default takes about six minutes on two cores. It prints how far the
variational free energy is above the exact one, and writes `ising.png`: samples of the field beside spins that are drawn
from them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from matplotlib.figure import Figure
from rich.console import Console
from torch import Tensor

import mera
from mera import physics
from mera.drawing.images import save_figure

COLUMNS = 6


def draw(fields: Tensor) -> Figure:
    """Draw fields, and below each field the spins that follow from it: up with the probability (1 + tanh) / 2."""
    spins = torch.where(torch.rand_like(fields) < (1 + fields.tanh()) / 2, 1.0, -1.0)
    figure = Figure(figsize=(2 * len(fields), 4.3), layout="constrained")
    panels = figure.subplots(2, len(fields))
    bound = fields.abs().max().item()
    for row, (images, limit, name) in enumerate([(fields, bound, "field"), (spins, 1.0, "spins")]):
        for axes, image in zip(panels[row], images[:, 0], strict=True):
            axes.imshow(image.numpy(), cmap="RdBu", vmin=-limit, vmax=limit)
            axes.set(xticks=[], yticks=[])
        panels[row, 0].set_ylabel(name)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--L", type=int, default=16, help="edge of the lattice: 8, 16, ...")
    parser.add_argument("--temperature", type=float, default=physics.CRITICAL_TEMPERATURE, help="critical by default")
    parser.add_argument("--minutes", type=float, default=280 / 60, help="training time")
    parser.add_argument("--steps", type=int, default=1_000_000, help="number of training steps, if that comes first")
    parser.add_argument("--batch", type=int, default=64, help="number of samples in a step")
    parser.add_argument("--lr", type=float, default=1e-2, help="the largest learning rate")
    parser.add_argument("--images", type=int, default=16, help="images of the flow in the mixture that is measured")
    parser.add_argument("--samples", type=int, default=2000, help="number of samples for the averages")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and samples")
    parser.add_argument("--out", type=Path, default=Path("ising.png"), help="the PNG to write")
    arguments = parser.parse_args()
    console = Console(highlight=False)
    action, shape = physics.Ising(arguments.temperature), (arguments.L, arguments.L)
    torch.manual_seed(arguments.seed)
    options = {"transform": "spline(bound=6)", "layers": 2, "hidden": (64,), "norm": False, "prior": "gaussian"}
    flow = mera.build("rgflow", L=shape, m=4, channels=1, spectral=True, **options)
    settings = {"minutes": arguments.minutes, "steps": arguments.steps, "batch_size": arguments.batch}
    settings |= {"lr": arguments.lr, "weight_decay": 0.0, "eval_every": arguments.steps, "seed": arguments.seed}
    result = mera.train.fit(flow, action, console=console, **settings)
    mixture = mera.Symmetrized(flow.double(), ("flip", "reflections", "rotations", "translations"), arguments.images)
    report = physics.estimate(mixture, action, arguments.samples, batch_size=100, console=console)
    exact = action.log_z(shape)
    gap, error = report.free_energy.value + exact, report.free_energy.error
    console.print(f"{result.steps:,} steps; exact -ln Z {-exact:.4f}, variational free energy {report.free_energy}")
    console.print(f"above the exact value: {gap:.3f} +- {error:.3f} nats; effective samples {report.ess:.2%}")
    console.print(f"ln Z by reweighting: {report.log_z:.3f} +- {report.log_z_error:.3f}")
    save_figure(draw(mixture.sample(COLUMNS)), arguments.out)
    console.print(f"picture: {arguments.out}")


if __name__ == "__main__":
    main()
