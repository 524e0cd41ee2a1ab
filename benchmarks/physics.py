"""Cone Monte Carlo against Hamiltonian Monte Carlo and independence Metropolis, for an action on growing lattices.

    python benchmarks/physics.py --minutes 6 --sizes 16 32 64 128
    python benchmarks/physics.py --action "ising(temperature=2.269185314213022)" --coarse 0

trains one flow at L=16 whose levels share their weights, and measures with the same weights on all lattices: phi^4 at
its critical point, unless another action is named. Hamiltonian Monte Carlo runs in the field and in the latents. For
each lattice and sampler: the acceptance, the integrated autocorrelation times of m^2 and of the energy in draws, the
seconds of all chains for one independent value of m^2 (2 tau seconds / draws), and averages with their distance from
those of Hamiltonian Monte Carlo in standard errors. The length of Hamiltonian trajectories is chosen for each lattice
by a short run each, as the one with the least seconds for an independent m^2; on large lattices, where short runs do
not see the slow modes, name one with `--lengths`. The last lines fit the dynamic exponent z in tau ~ L^z. `--flow`
keeps the trained flow, or loads it if it is there.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import torch

import mera
from mera import physics
from mera.display.table import Table
from mera.names.calls import parse_assignments

TRIED = 200
"""Draws of the runs that choose a length."""
COMPARED = ("phi2", "m2", "energy")


def build(L: int, options: argparse.Namespace) -> mera.Flow:
    """A flow whose levels share their weights, so that a state fits all lattices."""
    torch.manual_seed(options.seed)
    network = {"layers": options.layers, "hidden": (options.width,), "residual_blocks": 1}
    if options.transform is not None:
        network["transform"] = options.transform
    return mera.build("rgflow", L=L, m=4, channels=1, norm=False, prior="gaussian", share_levels=True, **network)


def train(action: physics.Action, options: argparse.Namespace) -> dict[str, torch.Tensor]:
    """The weights of a flow that learnt the action at L=16."""
    if options.flow is not None and options.flow.exists():
        return mera.load(options.flow).state_dict()
    flow = build(16, options)
    settings = {"optimizer": options.optimizer, "lr": options.lr, "batch_size": 64, "weight_decay": 0.0}
    settings |= {"optimizer_options": options.optimizer_options, "steps": 10**6, "eval_every": 10**6}
    result = mera.train.fit(flow, action, minutes=options.minutes, seed=options.seed, **settings)
    ess = physics.estimate(flow, action, 4000).ess
    print(f"trained at L=16: {result.steps:,} steps, ESS {ess:.3f}", flush=True)
    if options.flow is not None:
        mera.save(flow, options.flow)
    return flow.state_dict()


def cost(chain: physics.MarkovChains, name: str = "m2") -> float:
    """Seconds for one independent value of an observable, all chains together."""
    draws, chains = chain.history[name].shape
    return 2 * chain.tau[name] * chain.seconds / (draws * chains)


def tuned_hmc(
    shape: tuple[int, int], action: physics.Action, options: argparse.Namespace
) -> tuple[float, physics.MarkovChains]:
    """The best length of trajectories, and a long run with this length."""
    common = {"chains": options.chains, "warmup": options.warmup, "length": max(options.lengths)}
    start = physics.hmc((1, *shape), action, draws=4, **common).fields
    return tuned((1, *shape), action, options.lengths, options.draws, start=start, chains=options.chains, warmup=100)


def tuned(
    flow: mera.Flow | tuple[int, ...], action: physics.Action, lengths: list[float], draws: int, **common: Any
) -> tuple[float, physics.MarkovChains]:
    """The best length of trajectories of the field or the latents, and a long run with this length."""

    def seconds(length: float) -> float:
        return cost(physics.hmc(flow, action, draws=min(TRIED, draws), length=length, **common))

    best = min(lengths, key=seconds) if len(lengths) > 1 else lengths[0]
    return best, physics.hmc(flow, action, draws=draws, length=best, **common)


def row(L: int, name: str, chain: physics.MarkovChains, reference: physics.MarkovChains) -> list[str]:
    """A line of the table."""
    rates = chain.acceptance if isinstance(chain.acceptance, list) else [chain.acceptance]
    cells = [f"{L}", name, " ".join("-" if math.isnan(rate) else f"{rate:.2f}" for rate in rates)]
    cells += [f"{chain.tau[o]:.3g} +- {chain.tau_error[o]:.2g}" for o in ("m2", "energy")]
    cells += [f"{cost(chain):.4g}", f"{max(chain.r_hat.values()):.3f}"]
    for o in COMPARED:
        here, there = chain.observables[o], reference.observables[o]
        z = (here.value - there.value) / math.hypot(here.error, there.error) if chain is not reference else math.nan
        cells.append(f"{here}" + ("" if math.isnan(z) else f" ({z:+.1f})"))
    return cells


def report(rows: list[list[str]], cells: list[str]) -> None:
    """Add a line to the table, and print it: whoever waits for the large lattices sees the small ones."""
    rows.append(cells)
    print("  ".join(cells), flush=True)


def exponent(points: list[tuple[int, float]]) -> float:
    """The slope of ln tau over ln L by least squares."""
    x, y = (torch.tensor(column, dtype=torch.float64).log() for column in zip(*points, strict=True))
    return (((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()).item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[16, 32, 64, 128])
    parser.add_argument("--action", default="phi4(mass2=-1.2723, coupling=0.25)", help="NAME(NAME=VALUE, ...)")
    parser.add_argument("--minutes", type=float, default=6.0, help="training time")
    parser.add_argument("--optimizer", default="AdamW", help="AdamW, Muon, ...")
    parser.add_argument("--optimizer-options", type=parse_assignments, help="NAME=VALUE ...")
    parser.add_argument("--lr", type=float, default=5e-3, help="learning rate")
    parser.add_argument("--flow", type=Path, help="file of the trained flow")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--transform", help="NAME(NAME=VALUE, ...); affine couplings if not given")
    parser.add_argument("--chains", type=int, default=8)
    parser.add_argument("--draws", type=int, default=2000, help="draws of Hamiltonian Monte Carlo")
    parser.add_argument("--lengths", type=float, nargs="+", default=[1.0, 2.0, 4.0, 8.0], help="of trajectories")
    parser.add_argument("--sweeps", type=int, default=300, help="draws of cone Monte Carlo")
    parser.add_argument("--warmup", type=int, default=300, help="trajectories before the first draw")
    parser.add_argument("--coarse", type=int, default=2, help="how many of the coarsest levels move; 0 for no cones")
    parser.add_argument("--tuning", type=int, default=60, help="sweeps before the first draw")
    parser.add_argument("--latent", type=int, default=32, help="the largest lattice for dynamics of the latents")
    parser.add_argument("--latent-draws", type=int, default=100, help="draws of these dynamics")
    parser.add_argument("--metropolis", type=int, default=32, help="the largest lattice for independence Metropolis")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    action = physics.make(options.action)
    weights = train(action, options)
    torch.manual_seed(options.seed)
    rows, taus = [], {name: [] for name in ("HMC", "cones")}
    for L in options.sizes:
        flow = build(L, options)
        flow.load_state_dict(weights)
        flow = flow.double()
        length, reference = tuned_hmc((L, L), action, options)
        report(rows, row(L, f"HMC, length {length:g}", reference, reference))
        n = len(flow.plan.latents)
        start = torch.cat([flow.sample(options.chains // 2), reference.fields[options.chains // 2 :]])
        taus["HMC"].append((L, reference.tau["m2"]))
        if options.latent >= L:
            common = {"space": "latent", "start": start, "chains": options.chains, "warmup": 50}
            length_latent, chain = tuned(flow, action, options.lengths, options.latent_draws, **common)
            report(rows, row(L, f"latent HMC, length {length_latent:g}", chain, reference))
        if options.coarse:
            chain = physics.cone_monte_carlo(
                flow, action, sweeps=options.sweeps, warmup=options.tuning, levels=range(max(1, n - options.coarse), n),
                trajectories=max(1, round(8 / length)), length=length, start=start,
            )  # fmt: skip
            report(rows, row(L, "cones", chain, reference))
            taus["cones"].append((L, chain.tau["m2"]))
        if options.metropolis >= L:
            chain = physics.metropolis(flow, action, chains=options.chains, draws=options.draws)
            report(rows, row(L, "Metropolis", chain, reference))
    header = ["L", "sampler", "accepted", "tau m^2", "tau energy", "s / m^2", "R-hat", *COMPARED]
    print(Table(header, rows))
    if len(options.sizes) > 1:
        for name, points in taus.items():
            if len(points) > 1:
                print(f"{name}: tau of m^2 grows like L^{exponent(points):.2f}, in draws")


if __name__ == "__main__":
    main()
