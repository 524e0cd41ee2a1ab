"""The ratio of two partition functions, with and without a line of sources, by a map of the latents of a window.

    python examples/source_line.py
    python examples/source_line.py --L 256
    python examples/source_line.py --mass2 -1 --coupling 0.25 --L 64

A source h on a line of sites changes the action S to S' = S - h sum_line phi. The ratio Z' / Z of the partition
functions is the mean of exp(-W) over fields of S, with W = S'(T(phi)) - S(phi) - ln |det T|, for any invertible map T
(targeted free energy perturbation, Jarzynski 2002). If T is the identity, it is a reweighting, which fails if the
source is strong. Here T adds a learnt shift to the latents of a small flow in a window around the line, or to the field
itself: the rest of the lattice stays as it is, and only the window is ever evaluated, so that neither time nor variance
depends on the size of the lattice. Two methods without a map get the same time: a source that is
switched on in steps, with Hamiltonian Monte Carlo of the window between the steps (Jarzynski 1997), and the integral of
<sum_line phi> over the source, by Hamiltonian Monte Carlo of the whole lattice. For the free field the exact ratio is
known. The command prints a table and writes `source_line.png`.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from rich.console import Console
from torch import Tensor, nn

import mera
from mera import physics
from mera._utils.table import Table
from mera.drawing.figures import panels
from mera.drawing.images import save_figure
from mera.sampling.hamiltonian import HamiltonianChains

CHAINS = 64
"""The number of independent chains, whose scatter gives the errors."""
POINTS = 5
"""The number of sources at which Hamiltonian Monte Carlo is run."""


class Source(NamedTuple):
    """A source of strength h on the sites of the first axis from `start` on, in the column `column`."""

    h: float
    length: int
    start: int
    column: int

    def of(self, phi: Tensor) -> Tensor:
        """The source's part of the action, from fields (B, 1, n, m) to (B,)."""
        return -self.h * phi[:, 0, self.start : self.start + self.length, self.column].sum(1)


class Window(nn.Module):
    """A map of fields that shifts the latents of a window around a source, or the field in it, and nothing else.

    Args:
        flow: the flow of the window's shape.
        action: the action without the source.
        source: the source, in coordinates of the window with its border of one site.
        of_field: whether to shift the field in place of the latents.
    """

    def __init__(self, flow: mera.Flow, action: physics.Phi4, source: Source, of_field: bool = False) -> None:
        super().__init__()
        self.flow, self.source, self.of_field = flow.requires_grad_(False), source, of_field
        self.action = dataclasses.replace(action, periodic=False)
        lattices = [flow.plan.input] if of_field else [level.lattice for level in flow.plan.latents]
        self.shifts = nn.ParameterList(torch.zeros(lattice.event_shape) for lattice in lattices)

    def forward(self, crop: Tensor) -> tuple[Tensor, Tensor]:
        """Map crops of fields, (B, 1, n + 2, m + 2), whose border stays; return them with the work W, (B,)."""
        inner, log_det = crop[..., 1:-1, 1:-1], torch.zeros(())
        if self.of_field:
            inner = inner + self.shifts[0]
        else:
            latents, forward = self.flow(inner)
            inner, back = self.flow.inverse([z + shift for z, shift in zip(latents, self.shifts, strict=True)])
            log_det = forward + back
        mapped = self.put(inner, crop)
        return mapped, self.action(mapped) + self.source.of(mapped) - self.action(crop) - log_det

    def put(self, inner: Tensor, crop: Tensor) -> Tensor:
        """Crops with other fields within their border."""
        mapped = crop.clone()
        mapped[..., 1:-1, 1:-1] = inner
        return mapped


def fields_of(action: physics.Phi4, L: int, n: int) -> Tensor:
    """About n fields of the action from independent chains, (draws, CHAINS, 1, L, L)."""
    draws = math.ceil(n / CHAINS)
    if action.coupling == 0:
        noise = torch.randn(draws, CHAINS, 1, L, L, dtype=torch.float64)
        return torch.fft.ifft2(torch.fft.fft2(noise) / eigenvalues(action, L).sqrt()).real
    chain = physics.hmc((1, L, L), action, chains=CHAINS, draws=10 * draws, every=10, warmup=300)
    return chain.fields.view(draws, CHAINS, 1, L, L).double()


def eigenvalues(action: physics.Phi4, L: int) -> Tensor:
    """The eigenvalues of the quadratic form of the free field, (L, L)."""
    return physics.FreeField(action.mass2).eigenvalues((L, L))


def exact(action: physics.Phi4, L: int, source: Source) -> float:
    """ln Z' / Z of the free field, h^2 / 2 times the sum of the propagator over the line."""
    line = torch.arange(source.length)
    propagator = torch.fft.ifft2(eigenvalues(action, L).reciprocal()).real[:, 0]
    return source.h**2 / 2 * propagator[(line[:, None] - line) % L].sum().item()


def ratio(work: Tensor) -> tuple[float, float, float]:
    """ln <exp(-W)> with its error from the scatter between chains, and the effective sample size, of W (draws, K)."""
    weights = (work.min() - work).exp()
    error = weights.mean(0).std() / weights.mean() / math.sqrt(work.shape[1])
    ess = weights.mean() ** 2 / weights.square().mean()
    return weights.mean().log().item() - work.min().item(), error.item(), ess.item()


def learn(window: Window, crops: Tensor, seconds: float, batch: int = 64) -> None:
    """Learn the shifts by gradient descent on the mean of W, which is least if T maps S to S'."""
    optimizer, start, done = torch.optim.Adam(window.shifts.parameters(), lr=0.02), time.monotonic(), 0.0
    while done < 1:
        optimizer.param_groups[0]["lr"] = 0.01 * (1 + math.cos(math.pi * done))
        work = window(crops[torch.randint(len(crops), (batch,))])[1].mean()
        optimizer.zero_grad()
        work.backward()
        optimizer.step()
        done = (time.monotonic() - start) / seconds


def switched(window: Window, crops: Tensor, seconds: float) -> tuple[Tensor, int]:
    """The work W of a source that is switched on in steps, and the number of steps there is time for.

    A trajectory of Hamiltonian Monte Carlo of the window follows each step, with the border of the window fixed.
    """
    start = time.monotonic()
    fields = trajectory(window, crops, 0.0)
    steps = max(2, int(seconds / (time.monotonic() - start)))
    work = window.source.of(fields) / steps
    for k in range(1, steps):
        fields = trajectory(window, fields, k / steps)
        work = work + window.source.of(fields) / steps
    return work, steps


def trajectory(window: Window, fields: Tensor, share: float) -> Tensor:
    """Move fields within their border along a trajectory, for the action with a share of the source."""

    def inside(row: Tensor) -> Tensor:
        return window.put(row.view_as(fields[..., 1:-1, 1:-1]), fields)

    def log_prob(row: Tensor) -> Tensor:
        return -window.action(inside(row)) - share * window.source.of(inside(row))

    chains = HamiltonianChains([log_prob], fields[..., 1:-1, 1:-1].flatten(1))
    chains.trajectory(0.2, 10)
    return inside(chains.x)


def integral(action: physics.Phi4, fields: Tensor, source: Source, seconds: float) -> tuple[float, float]:
    """ln Z' / Z by the integral of the mean of the source's part over its strength, with its error.

    Gauss-Legendre points, at each of which Hamiltonian Monte Carlo of the whole lattice runs for an equal time, or for
    100 trajectories, if they take longer.
    """
    nodes, weights = np.polynomial.legendre.leggauss(POINTS)
    total, variance, shape = 0.0, 0.0, tuple(fields.shape[1:])
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        options = {"chains": len(fields), "observables": {"part": source.of}, "length": 3.0}

        def tilted(phi: Tensor, share: float = float(node)) -> Tensor:
            return action(phi) + share * source.of(phi)

        start = time.monotonic()
        short = physics.hmc(shape, tilted, start=fields, warmup=60, draws=20, **options)
        left = seconds / POINTS - (time.monotonic() - start)
        draws = max(20, int(20 * left / short.seconds))
        value, error = physics.hmc(shape, tilted, start=short.fields, warmup=20, draws=draws, **options).observables[
            "part"
        ]
        total, variance = total - weight * value, variance + (weight * error) ** 2
    return total, math.sqrt(variance)


def draw(fields: Tensor, mapped: Tensor, work: Tensor, source: Source) -> Figure:
    """The mean field along the line and across it, of S, of mapped fields, and of S' by weights."""
    weights = (-work).softmax(0).view(-1, 1, 1)
    means = {"S": fields[:, 0].mean(0), "T of fields of S": mapped[:, 0].mean(0), "S'": (weights * mapped[:, 0]).sum(0)}
    figure, axes = panels(2, 2, 4.0, 3.0)
    for name, mean in means.items():
        style = "--" if name == "S'" else "-"
        axes[0].plot(mean[1:-1, source.column], style, label=name)
        axes[1].plot(mean[source.start + source.length // 2, 1:-1], style, label=name)
    axes[0].set(xlabel="site of the window, along the line", ylabel="mean field")
    axes[1].set(xlabel="site of the window, across the line")
    axes[0].legend()
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--L", type=int, default=64, help="edge of the lattice")
    parser.add_argument("--mass2", type=float, default=0.05)
    parser.add_argument("--coupling", type=float, default=0.0, help="0 for the free field, where all is exact")
    parser.add_argument("--source", type=float, default=0.5, help="strength h of the source")
    parser.add_argument("--length", type=int, default=16, help="number of sites of the line")
    parser.add_argument("--window", type=int, default=32, help="edge of the window, a multiple of 16, below L - 1")
    parser.add_argument("--minutes", type=float, default=1.5, help="training of the flow, which serves all sources")
    parser.add_argument("--seconds", type=float, default=40.0, help="learning of the shifts, for this source")
    parser.add_argument(
        "--fields", type=int, default=6400, help="number of fields, half of which the shifts learn from"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("source_line.png"))
    options = parser.parse_args()
    if not options.length <= options.window <= options.L - 2:
        parser.error("Expected length <= window <= L - 2")
    console, L, edge = Console(highlight=False), options.L, options.window
    torch.manual_seed(options.seed)
    action = physics.Phi4(options.mass2, options.coupling)
    flow = mera.build("rgflow", L=edge, levels=3, channels=1, prior="gaussian", hidden=(32,), layers=2)
    settings = {"batch_size": 64, "lr": 5e-3, "eval_every": 10**6, "seed": options.seed}
    mera.train.fit(flow, action, minutes=options.minutes, console=console, **settings)
    start = time.monotonic()
    fields = fields_of(action, L, options.fields)
    console.print(f"{fields.shape[:2].numel():,} fields of S in {time.monotonic() - start:.0f} s")

    begin, half = (L - edge) // 2 - 1, CHAINS // 2
    crops = fields[..., begin : begin + edge + 2, begin : begin + edge + 2]
    source = Source(options.source, options.length, 1 + (edge - options.length) // 2, 1 + edge // 2)
    moved = source._replace(start=source.start + begin, column=source.column + begin)
    rows: list[tuple[str, str, str, str]] = []

    def add(name: str, seconds: float, value: float, error: float, ess: float = math.nan) -> None:
        rows.append((name, f"{seconds:.0f}", f"{value:.4f} ± {error:.4f}", "" if math.isnan(ess) else f"{ess:.3f}"))

    add("reweighting, T the identity", 0, *ratio(moved.of(fields.flatten(0, 1)).view(fields.shape[:2])))
    for name, of_field in (("shift of the field", True), ("shift of the window's latents", False)):
        window = Window(flow.double(), action, source, of_field)
        learn(window, crops[:, :half].flatten(0, 1), options.seconds)
        start, tested = time.monotonic(), crops[:, half:]
        with torch.no_grad():
            parts = [window(batch) for batch in tested]
        mapped, work = torch.cat([field for field, _ in parts]), torch.stack([work for _, work in parts])
        seconds = options.seconds + time.monotonic() - start
        add(name, seconds, *ratio(work))
    stepwise, steps = switched(window, tested.flatten(0, 1), seconds)
    add(f"switched on in {steps} steps by HMC", seconds, *ratio(stepwise.view(tested.shape[:2])))
    start, (value, error) = time.monotonic(), integral(action, fields[-1], moved, seconds)
    add("integral over h by HMC", time.monotonic() - start, value, error)
    if not action.coupling:
        rows.append(("exact", "", f"{exact(action, L, source):.4f}", ""))
    print(Table(["method", "seconds", "ln Z' / Z", "ESS"], rows))
    save_figure(draw(tested.flatten(0, 1), mapped, work.flatten(), source), options.out)
    console.print(f"picture: {options.out}")


if __name__ == "__main__":
    main()
