"""Clusters, tempering and Hamiltonian Monte Carlo on one theory: the time that an independent m^2 takes, by size.

    python benchmarks/cluster.py "ising(local=True, gap=1)" --L 16 32 64
    python benchmarks/cluster.py "xy(beta=1.12)" --L 16 32 64

This time is 2 tau times the seconds of a draw of one chain, for the integrated autocorrelation time tau of m^2; draws
of all points of tempering count. Each sampler runs for so many seconds, after short runs that show how many draws that
makes. HMC takes the best of several lengths of a trajectory, by runs of a third of that time. The seconds are
those of the process, which other work on the machine does not change. A tau that the verdict does not trust is a lower
bound.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch

from mera import physics
from mera._utils.table import Table

LENGTHS = 1.0, 2.0, 4.0
"""The lengths of trajectories that are tried."""
PILOT = 20
"""Half of the draws of the shortest run."""


def independent(chain: physics.Estimate, busy: float = 1.0) -> tuple[float, str]:
    """The seconds that an independent m^2 takes; and m^2, its autocorrelation time, these seconds and the verdict.

    The seconds of the chain count by the fraction of them in which the process was `busy`.
    """
    draw = 1e3 * busy * chain.seconds / chain.history["m2"].numel()
    tau, error = chain.tau["m2"], chain.tau_error["m2"]
    each = physics.Quantity(2 * tau * draw, 2 * error * draw)
    found = f"m^2 {chain.observables['m2']}, tau {tau:.3g} +- {error:.2g}, {each} ms"
    return 2 * tau * draw / 1e3, f"{found}; {chain.verdicts['m2']}"


def timed(sample: Callable[[int], physics.Estimate], seconds: float) -> tuple[float, str]:
    """What a sampler of so many draws gives in these seconds; see `independent`."""
    draws, spent = PILOT, 0.0
    while spent < seconds / 10:
        began, draws = time.process_time(), 2 * draws
        sample(draws)
        spent = time.process_time() - began
    draws = int(draws * seconds / spent)
    clocks = time.process_time(), time.perf_counter()
    chain = sample(draws)
    busy = (time.process_time() - clocks[0]) / (time.perf_counter() - clocks[1])
    found, text = independent(chain, busy)
    return found, f"{draws:,} draws of {chain.history['m2'].shape[1]} chains; {text}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", help="an action of `mera.physics` with its options")
    parser.add_argument("--L", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--seconds", type=float, default=30.0, help="the time of each sampler on each lattice")
    parser.add_argument("--hottest", type=float, default=0.5, help="the smallest power of tempering")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    action = physics.make(options.action)
    for edge in options.L:
        shape, rows = (1, edge, edge), []

        def hmc(draws: int, length: float, shape: tuple[int, ...] = shape) -> physics.Estimate:
            return physics.hmc(shape, action, draws=draws, warmup=max(100, draws // 10), length=length)

        def temper(draws: int, shape: tuple[int, ...] = shape) -> physics.Estimate:
            warmup = max(100, draws // 10)
            return physics.temper(action, shape, hottest=options.hottest, chains=8, draws=draws, warmup=warmup)

        def clusters(draws: int, shape: tuple[int, ...] = shape) -> physics.Estimate:
            return physics.cluster(action, shape, draws=draws, warmup=max(30, draws // 10))

        tried = {x: timed(partial(hmc, length=x), options.seconds / 3)[0] for x in LENGTHS}
        best = min(tried, key=lambda length: tried[length])
        rows.append((f"HMC, length {best:g}", timed(partial(hmc, length=best), options.seconds)[1]))
        rows.append(("tempering", timed(temper, options.seconds)[1]))
        rows.append(("clusters", timed(clusters, options.seconds)[1]))
        print(f"\n{action!r}, L={edge}")
        print(Table(["sampler", "result"], rows), flush=True)


if __name__ == "__main__":
    main()
