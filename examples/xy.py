"""Learn the XY model in local frames, compare the flow with cluster updates, and show how a configuration grows.

    python examples/xy.py
    python examples/xy.py --L 8 --beta 1.12 --minutes 1

A table shows averages of the flow beside those of cluster updates, and the verdict on them; `xy.png` shows one
configuration after some of the turns in which the flow draws the sites, and its vortices. The default takes about eight
minutes on one core.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from torch import Tensor

import mera
from mera import physics
from mera._utils.table import Table
from mera.bijectors import wrap
from mera.drawing.images import save_figure

ROWS = "m2", "energy", "helicity_modulus", "vortex_density"
PANELS = 6


def turns(flow: mera.Flow) -> Tensor:
    """The number of the turn in which each site is drawn, (L, L), counted from the first one."""
    L = flow.plan.input.shape[0]
    sites = torch.cartesian_prod(torch.arange(L), torch.arange(L))
    numbers, before = torch.zeros(L * L, dtype=torch.int64), 0
    nodes = [name for name in flow.bijectors if name.startswith(("details", "top"))]
    for node in sorted(nodes, key=lambda name: -int(name.lstrip("detailsop"))):
        order, level = flow.bijectors[node].bijectors[0].order, int(node.lstrip("detailsop"))
        is_of_level = (sites % 2**level == 0).all(1)
        ranks = order.rank(sites[is_of_level] // 2**level)
        is_new = ranks >= order.kept
        numbers[is_of_level.nonzero()[is_new, 0]] = before + ranks[is_new]
        before += len(order.turns) - order.kept
    return numbers.view(L, L)


def vortices(theta: Tensor) -> Tensor:
    """The winding number of each plaquette of fields of angles (..., L, L)."""
    right, up = (wrap(theta.roll(-1, axis) - theta) for axis in (-1, -2))
    return ((right + up.roll(-1, -1) - right.roll(-1, -2) - up) / (2 * torch.pi)).round()


def draw_spins(axes: Axes, theta: Tensor, is_drawn: Tensor) -> None:
    """Draw the spins of drawn sites as arrows, coloured by their angles, and all other sites as dots."""
    y, x = is_drawn.nonzero().T
    angles = theta[is_drawn]
    axes.quiver(
        x, y, angles.cos(), angles.sin(), angles, cmap="twilight", clim=(-torch.pi, torch.pi),
        pivot="mid", scale=0.75 * len(theta) + 4, width=0.01, headwidth=4,
    )  # fmt: skip
    y, x = (~is_drawn).nonzero().T
    axes.plot(x, y, ".", color="0.8", ms=2)
    axes.set(xticks=[], yticks=[], xlim=(-0.8, len(theta) - 0.2), ylim=(-0.8, len(theta) - 0.2), aspect="equal")


def draw(flow: mera.Flow) -> Figure:
    """Draw a configuration after some turns, and with its vortices."""
    with torch.no_grad():
        theta = flow.sample(1)[0, 0].cpu()
    numbers = turns(flow)
    last = int(numbers.max())
    kept = [round(last * (i / (PANELS - 1)) ** 1.5) for i in range(PANELS)]
    figure = Figure(figsize=(9, 6.2), layout="constrained")
    for axes, turn in zip(figure.subplots(2, PANELS // 2).flat, kept, strict=True):
        is_drawn = numbers <= turn
        draw_spins(axes, theta, is_drawn)
        axes.set_title(f"turn {turn + 1} of {last + 1}: {int(is_drawn.sum())} sites", fontsize=10)
    winding = vortices(theta)
    for sign, marker, colour in ((1, "o", "tab:red"), (-1, "s", "tab:blue")):
        y, x = (winding == sign).nonzero().T
        label = f"{len(x)} {'vortices' if sign > 0 else 'antivortices'}"
        axes.plot(x + 0.5, y + 0.5, marker, ms=8, mfc="none", mew=1.5, color=colour, label=label)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=2, frameon=False)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--L", type=int, default=16)
    parser.add_argument("--beta", type=float, default=0.9)
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    action = physics.XY(arguments.beta)
    flow = mera.build("decimation", L=arguments.L, channels=1, **action.flow_options)
    settings = {"lr": 3e-3, "weight_decay": 0.0}
    console = Console(highlight=False)
    mera.train.fit(
        flow, action, minutes=arguments.minutes, batch_size=64, eval_every=10**6, console=console, **settings
    )
    mixture = mera.Symmetrized(flow, ("flip", "rotations", "translations"), 4)
    own = {"vortex_density": lambda phi: vortices(phi[:, 0]).abs().mean((1, 2))}
    found = physics.estimate(mixture, action, arguments.samples, observables=own)
    chain = physics.cluster(action, flow.plan.input.event_shape, draws=500, observables=own)
    rows = [(name, str(found.observables[name]), str(chain.observables[name]), found.verdicts[name]) for name in ROWS]
    print(Table(["average", "flow", "clusters", "verdict on the flow"], rows))
    print(f"ESS {found.ess:.3f}, ln Z {physics.Quantity(found.log_z, found.log_z_error)}; {found.verdict}")
    save_figure(draw(flow), Path("xy.png"))
    print("xy.png")


if __name__ == "__main__":
    main()
