"""A flow, Hamiltonian Monte Carlo, annealing and (for Ising and XY) clusters on one theory, by size of the lattice.

    python benchmarks/samplers.py "phi4(mass2=-1.2723, coupling=0.25)" --L 8 16 32 --minutes 2 6 18 --copy coarse
    python benchmarks/samplers.py "phi4(mass2=-4, coupling=1.143)" --L 16 32 64 --minutes 6 19 20
    python benchmarks/samplers.py "ising(local=True, gap=1)" --L 8 16 --minutes 2 6 --copy coarse --adam 5e-3
    python benchmarks/samplers.py "xy(beta=0.9)" --L 8 16 32 --minutes 5 15 40 --adam 3e-3
    python benchmarks/samplers.py "on(n=3, mass2=-1.85, coupling=0.25)" --L 8 16 --minutes 5 15 --adam 3e-3

The flow learns on the smallest lattice, and `physics.grow` takes it from each lattice to the next. For each lattice, a
table shows ESS and ln Z of a mixture of images of the flow, autocorrelation times of m^2 with the time that an
independent m^2 takes, and the number of independent m^2 from which training pays: the time of all training so far,
divided by what a draw saves. Lengths of trajectories are chosen for the least time of an independent m^2.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import torch
from cluster import independent
from rich.console import Console

import mera
from mera import physics
from mera._utils.table import Table
from mera.physics import Quantity

LENGTHS = 0.5, 1.0, 2.0, 4.0
"""The lengths of trajectories that are tried."""
SETTINGS = {"weight_decay": 0.0, "eval_every": 10**6, "steps": 10**6}
MUON = {"optimizer": "Muon", "optimizer_options": {"scale": 0.5, "decay": 0.0}, "lr": 8e-3}


def measured(flow: mera.Flow, action: physics.Action, options: argparse.Namespace, trained: float) -> Table:
    """What all samplers measure on the lattice of a flow, which took so many seconds of training."""
    shape, rows = flow.plan.input.event_shape, []
    mixture = mera.Symmetrized(flow, options.symmetries, options.images) if options.images > 1 else flow
    began = time.perf_counter()
    found = physics.estimate(mixture, action, options.samples)
    text = f"ESS {found.ess:.3f}, k {found.pareto_k:.2f}, ln Z {Quantity(found.log_z, found.log_z_error)}"
    text += f", m^2 {found.observables['m2']}, free energy {found.free_energy}; {found.verdict}"
    rows.append(("reweighting", f"{time.perf_counter() - began:.0f}", text))
    began = time.perf_counter()
    flow_seconds, text = independent(physics.metropolis(flow, action, draws=options.samples // 16))
    rows.append(("Metropolis", f"{time.perf_counter() - began:.0f}", text))
    hmc_seconds = math.inf
    for length in LENGTHS:
        began = time.perf_counter()
        seconds, text = independent(physics.hmc(shape, action, draws=options.draws, warmup=300, length=length))
        rows.append((f"HMC, length {length:g}", f"{time.perf_counter() - began:.0f}", text))
        hmc_seconds = min(hmc_seconds, seconds)
    saved = hmc_seconds - flow_seconds
    pays = f"training ({trained:.0f} s) pays from {trained / saved:,.0f} independent m^2 on" if saved > 0 else "never"
    rows.append(("Metropolis for HMC", "", pays))
    if isinstance(action, (physics.Ising, physics.XY)):
        began = time.perf_counter()
        text = independent(physics.cluster(action, shape, draws=options.draws))[1]
        exact = f"; exact ln Z {action.log_z(shape[1:])}" if isinstance(action, physics.Ising) else ""
        rows.append(("clusters", f"{time.perf_counter() - began:.0f}", text + exact))
    if not options.no_annealing:
        annealed = physics.anneal(action, shape, particles=options.particles)
        text = f"ln Z {Quantity(annealed.log_z, annealed.log_z_error)}, m^2 {annealed.observables['m2']}"
        rows.append(("annealing", f"{annealed.seconds:.0f}", f"{text}; {annealed.verdict}"))
    return Table(["sampler", "seconds", "result"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", help="an action of `mera.physics` with its options")
    parser.add_argument("--model", choices=["decimation", "rgflow"], default="decimation")
    parser.add_argument("--L", type=int, nargs="+", default=[8, 16, 32], help="edges, each twice the one before")
    parser.add_argument("--minutes", type=float, nargs="+", default=[2.0, 6.0, 18.0], help="training on each lattice")
    parser.add_argument("--copy", choices=["coarse", "fine"], default="fine", help="see `physics.grow`")
    parser.add_argument("--adam", type=float, help="the learning rate of AdamW; Muon is used without it")
    parser.add_argument("--images", type=int, default=4, help="images of the flow in the mixture")
    parser.add_argument("--symmetries", nargs="+", default=["flip", "rotations", "translations"])
    parser.add_argument("--samples", type=int, default=8000, help="samples of the flow")
    parser.add_argument("--draws", type=int, default=2000, help="draws of each of 16 chains")
    parser.add_argument("--particles", type=int, default=128, help="particles of each of 8 populations")
    parser.add_argument("--no-annealing", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a folder that gets the flow of each lattice")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    action = physics.make(options.action)
    sizes = {"decimation": {}, "rgflow": {"m": 4, "norm": False, "layers": 2, "hidden": (64,)}}
    transform = {} if options.model == "decimation" else {"transform": "spline(bound=6, bins=8)"}
    chosen = sizes[options.model] | transform | dict(action.flow_options)
    flow = mera.build(options.model, L=options.L[0], channels=action.channels or 1, **chosen)
    settings = SETTINGS | (MUON if options.adam is None else {"lr": options.adam})
    trained = 0.0
    for edge, minutes in zip(options.L, options.minutes, strict=True):
        flow = physics.grow(flow, copy=options.copy) if edge > options.L[0] else flow
        began = time.perf_counter()
        batch = 64 if edge <= 16 else 32
        console = Console(highlight=False)
        result = mera.train.fit(flow, action, minutes=minutes, batch_size=batch, console=console, **settings)
        trained += time.perf_counter() - began
        parameters = sum(p.numel() for p in flow.parameters())
        print(
            f"\nL={edge}: {parameters:,} parameters, {result.steps:,} steps, {trained:.0f} s of training in all",
            flush=True,
        )
        if options.out:
            mera.save(flow, options.out / f"{options.model}-{edge}.mera")
        print(measured(flow, action, options, trained), flush=True)


if __name__ == "__main__":
    main()
