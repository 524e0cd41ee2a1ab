"""The exact density p(next field | this field) of a simulated field, learnt by a conditional flow.

    python examples/next_field.py
    python examples/next_field.py --L 32 --minutes 10

A field is carried along, spreads, decays and is driven by noise (advection and diffusion with white noise on a
periodic lattice). Its transition density over a time step is a Gaussian whose mean and covariance are known, so that
the log p of a model has an exact value to reach. `decimation` with this field as its context at each site learns the
density of the next field from pairs; beside it stands a neural spline flow of zuko (`pip install
'mera-flow[adapters]'`) on the flattened fields, which knows nothing of neighbours, for as many minutes. The command
prints log p a site, and how far it is below the exact value, on pairs that no model has seen, and writes
`next_field.png`.
"""

from __future__ import annotations

import argparse
import math
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from rich.console import Console
from torch import Tensor
from torch.utils.data import TensorDataset

import mera
from mera._utils.table import Table
from mera.drawing.figures import panels
from mera.drawing.images import save_figure

VELOCITY, DIFFUSION, DECAY, NOISE, TIME = (2.0, -1.0), 0.5, 0.2, 1.0, 1.0
"""Sites a unit of time, sites^2 a unit of time, the rate of decay, the strength of the noise, and the time step."""


class Transition:
    """The exact transition of the field, a Gaussian whose modes are independent in Fourier space.

    Args:
        L: the edge of the lattice.
    """

    def __init__(self, L: int) -> None:
        k = 2 * math.pi * torch.fft.fftfreq(L, dtype=torch.float64)
        drift = VELOCITY[0] * k.sin()[:, None] + VELOCITY[1] * k.sin()
        self.rate = DECAY + DIFFUSION * (4 - 2 * k.cos()[:, None] - 2 * k.cos())
        self.factor = torch.exp(-TIME * torch.complex(self.rate, drift))
        self.variance = NOISE * (1 - torch.exp(-2 * TIME * self.rate)) / (2 * self.rate)

    def mean(self, field: Tensor) -> Tensor:
        """The mean of the next field."""
        return torch.fft.ifft2(torch.fft.fft2(field) * self.factor).real

    def noise(self, n: int, variance: Tensor) -> Tensor:
        """Gaussian fields with a variance for each mode, (n, 1, L, L)."""
        white = torch.randn(n, 1, *variance.shape, dtype=torch.float64)
        return torch.fft.ifft2(torch.fft.fft2(white) * variance.sqrt()).real

    def pairs(self, n: int) -> tuple[Tensor, Tensor]:
        """Stationary fields and the fields that follow them."""
        field = self.noise(n, NOISE / (2 * self.rate))
        return field.float(), (self.mean(field) + self.noise(n, self.variance)).float()

    def log_prob(self, following: Tensor, field: Tensor) -> Tensor:
        """ln p(following | field), (B,)."""
        rest = torch.fft.fft2(following.double() - self.mean(field.double())).abs().square() / self.variance.numel()
        return -(rest / self.variance + (2 * math.pi * self.variance).log()).flatten(1).sum(1) / 2


def learn_flattened(following: Tensor, field: Tensor, minutes: float) -> Any:
    """A neural spline flow of zuko on flattened fields, learnt for so many minutes; returns its density."""
    import zuko

    flow = zuko.flows.NSF(following[0].numel(), following[0].numel(), transforms=3, hidden_features=(256, 256))
    optimizer, start, done = torch.optim.AdamW(flow.parameters(), lr=1e-3), time.monotonic(), 0.0
    while done < 1:
        rows = torch.randint(len(field), (128,))
        loss = -flow(field[rows].flatten(1)).log_prob(following[rows].flatten(1)).mean()
        optimizer.param_groups[0]["lr"] = 5e-4 * (1 + math.cos(math.pi * done))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(flow.parameters(), 1.0)
        optimizer.step()
        done = (time.monotonic() - start) / (60 * minutes)
    return flow


def draw(exact: Transition, flow: mera.Flow, field: Tensor, following: Tensor) -> Figure:
    """This field, the next one, and its exact mean and standard deviation beside those of the flow."""
    samples = flow.given(field[:1]).sample(500)
    spread = (exact.variance.mean().sqrt()).expand(field.shape[2:])
    mean = exact.mean(field[:1].double())[0, 0]
    shown = {
        "this field": field[0, 0],
        "the next one": following[0, 0],
        "a sample of the flow": samples[0, 0],
        "exact mean": mean,
        "mean of the flow": samples.mean(0)[0],
        "error of that mean": samples.mean(0)[0] - mean,
        "exact standard deviation": spread,
        "standard deviation of the flow": samples.std(0)[0],
    }
    figure, axes = panels(len(shown), 4, 2.2, 2.3)
    limit = max(values.abs().max().item() for values in list(shown.values())[:3])
    for axis, (title, values) in zip(axes, shown.items(), strict=True):
        image = axis.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit)
        axis.set_title(title, fontsize=8)
        axis.set_axis_off()
    figure.colorbar(image, ax=axes, shrink=0.7)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--L", type=int, default=16, help="edge of the lattice")
    parser.add_argument("--pairs", type=int, default=20_000, help="number of pairs to learn from")
    parser.add_argument("--minutes", type=float, default=4.0, help="training of each flow")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("next_field.png"))
    options = parser.parse_args()
    console, sites = Console(highlight=False), options.L**2
    torch.manual_seed(options.seed)
    exact = Transition(options.L)
    field, following = exact.pairs(options.pairs)
    tested, true = exact.pairs(2000)
    flow = mera.build("decimation", L=options.L, channels=1, context=(1, options.L, options.L))
    train, test = TensorDataset(following, field), TensorDataset(true[:500], tested[:500])
    settings = {"batch_size": 128, "eval_every": 10**6, "seed": options.seed}
    mera.train.fit(flow, train, test=test, minutes=options.minutes, console=console, **settings)
    with torch.no_grad():
        parts = zip(true.split(250), tested.split(250), strict=True)
        found = {"decimation": torch.cat([flow.log_prob(*part) for part in parts])}
    if find_spec("zuko") is not None:
        other = learn_flattened(following, field, options.minutes)
        with torch.no_grad():
            found["neural spline flow, flattened"] = other(tested.flatten(1)).log_prob(true.flatten(1))
    known = exact.log_prob(true, tested)
    rows = [("exact", f"{known.mean() / sites:.4f}", "0")]
    for name, value in found.items():
        gap = (known - value) / sites
        rows.append((name, f"{value.mean() / sites:.4f}", f"{gap.mean():.4f} ± {gap.std() / len(gap) ** 0.5:.4f}"))
    print(Table(["density", "ln p, nats a site", "below exact"], rows))
    save_figure(draw(exact, flow, tested, true), options.out)
    console.print(f"picture: {options.out}")


if __name__ == "__main__":
    main()
