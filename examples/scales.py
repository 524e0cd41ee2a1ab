"""Train on a small lattice, measure on large ones: phi^4 from L=16 to L=256.

    python examples/scales.py
    python examples/scales.py --sizes 16 64 --minutes 0.5

All levels of the flow share their weights, so that those learnt at L=16 serve any lattice. Cone Monte Carlo is exact
with them. The table shows, for each lattice, how often steps of one size are accepted at each level, the time of one
step at a single place, and <phi^2> beside Hamiltonian Monte Carlo. Reweighting has no effective sample left on the
large lattices, while acceptance and time of a step at a level stay what they are. At the critical point, chains on
large lattices need far more trajectories than here until they have forgotten their start.
"""

from __future__ import annotations

import argparse
import time

import torch
from rich.console import Console

import mera
from mera import physics
from mera.display.table import Table
from mera.physics.cone_sampler import ConeSampler
from mera.physics.hmc import Trajectories
from mera.physics.moves import Move
from mera.physics.target import field_target

STEP = 0.3
"""The size of all steps of latents."""


def build(L: int) -> mera.Flow:
    """A flow whose weights do not depend on L."""
    options = {"layers": 2, "hidden": (32,), "norm": False, "prior": "gaussian", "share_levels": True}
    return mera.build("rgflow", L=L, m=4, channels=1, **options)


def milliseconds(sampler: ConeSampler, level: int, repeats: int = 5) -> float:
    """The time of a step at one place of a level, for all chains together."""
    move = sampler.moves[level][0]
    change = sampler.wiring.change([move.change.latents[0]])
    single = Move(change, None if move.windows is None else move.windows[:1], move.inner)
    start = time.perf_counter()
    for _ in range(repeats):
        sampler.move(single, STEP)
    return 1e3 * (time.perf_counter() - start) / repeats


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[16, 32, 64, 128, 256])
    parser.add_argument("--mass2", type=float, default=0.25, help="the squared mass; -1.2723 is critical")
    parser.add_argument("--coupling", type=float, default=0.25)
    parser.add_argument("--minutes", type=float, default=4.0, help="training time")
    parser.add_argument("--steps", type=int, default=1_000_000, help="number of training steps, if that comes first")
    parser.add_argument("--levels", type=int, default=3, help="how many of the finest levels move")
    parser.add_argument("--sweeps", type=int, default=20)
    parser.add_argument("--chains", type=int, default=4)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    console = Console(highlight=False)
    action = physics.Phi4(arguments.mass2, arguments.coupling)
    small = build(16)
    settings = {"minutes": arguments.minutes, "steps": arguments.steps, "eval_every": arguments.steps}
    mera.train.fit(small, action, console=console, batch_size=64, lr=5e-3, weight_decay=0.0, **settings)
    rows = []
    for L in arguments.sizes:
        flow = build(L)
        flow.load_state_dict(small.state_dict())
        flow = flow.double()
        ess = physics.estimate(flow, action, 500, batch_size=100).ess
        hmc = physics.hmc((1, L, L), action, chains=arguments.chains, draws=200, warmup=300, length=2.0)
        levels = range(min(arguments.levels, len(flow.plan.latents) - 1))
        sampler = ConeSampler(flow, action, levels, hmc.fields)
        for step in sampler.steps.values():
            step.value = STEP
        mixer = Trajectories(field_target(action, (1, L, L)), length=2.0, step=hmc.steps)
        values, accepted = [], torch.zeros(len(levels))
        for _ in range(arguments.sweeps):
            accepted += torch.tensor(list(sampler.sweep().values())) / arguments.sweeps
            phi = sampler.state.data
            sampler.state.data = mixer.run(phi.flatten(1), 5)[0].view_as(phi)
            values.append(sampler.state.data.square().mean((1, 2, 3)))
        phi2 = torch.stack(values)
        gamma = physics.gamma_method(phi2)
        times = " ".join(f"{milliseconds(sampler, level):.0f}" for level in levels)
        rates = " ".join(f"{rate:.2f}" for rate in accepted.flip(0))
        cones = physics.Quantity(phi2.mean().item(), gamma.error)
        rows.append([L, f"{ess:.4f}", rates, times, str(cones), str(hmc.observables["phi2"])])
        console.print("  ".join(map(str, rows[-1])), soft_wrap=True)
    header = ["L", "ESS", "accepted, finest first", "ms a step", "<phi^2>, cones", "<phi^2>, HMC"]
    console.print(str(Table(header, rows)), soft_wrap=True)


if __name__ == "__main__":
    main()
