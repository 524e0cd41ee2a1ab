"""Clusters, tempering and Hamiltonian Monte Carlo on one theory: the time that an independent m^2 takes, by size.

    python benchmarks/cluster.py "ising(local=True, gap=1)" --L 16 32
    python benchmarks/cluster.py "xy(beta=1.12)" --L 64 --samplers hmc cluster

This time is 2 tau times the seconds of a draw of one chain, for the integrated autocorrelation time tau of m^2; draws
of all points of tempering count. Each sampler runs for so many seconds, after short runs that show how many draws that
makes. The seconds are those of the process, not of the clock on the wall. A tau that the verdict does not trust is too
small.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch

from mera import physics
from mera._utils.table import Table

WARMUP, PILOT = 200, 20
"""The draws before the measurement, and half of the draws of the shortest run."""


def independent(chain: physics.Estimate, busy: float = 1.0) -> tuple[float, str]:
    """The seconds that an independent m^2 takes; and m^2, its autocorrelation time, these seconds and the verdict.

    The seconds of the chain count by the fraction of them in which the process was `busy`.
    """
    draw = 1e3 * busy * chain.seconds / chain.history["m2"].numel()
    tau, error = chain.tau["m2"], chain.tau_error["m2"]
    each = physics.Quantity(2 * tau * draw, 2 * error * draw)
    found = f"m^2 {chain.observables['m2']}, tau {tau:.3g} +- {error:.2g}, {each} ms"
    return 2 * tau * draw / 1e3, f"{found}; {chain.verdicts['m2']}"


def timed(sample: Callable[[int], physics.Estimate], seconds: float) -> tuple[str, str]:
    """The draws that a sampler makes in these seconds, and what they give; see `independent`."""
    draws, spent = PILOT, 0.0
    while spent < seconds / 10:
        began, draws = time.process_time(), 2 * draws
        sample(draws)
        spent = time.process_time() - began
    draws = max(PILOT, int((draws + WARMUP) * seconds / spent) - WARMUP)
    clocks = time.process_time(), time.perf_counter()
    chain = sample(draws)
    busy = (time.process_time() - clocks[0]) / (time.perf_counter() - clocks[1])
    return f"{draws:,} x {chain.history['m2'].shape[1]}", independent(chain, busy)[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", help="an action of `mera.physics` with its options")
    parser.add_argument("--L", type=int, nargs="+", default=[16, 32])
    parser.add_argument(
        "--samplers", nargs="+", choices=["hmc", "temper", "cluster"], default=["hmc", "temper", "cluster"]
    )
    parser.add_argument("--seconds", type=float, default=30.0, help="the time of each sampler on each lattice")
    parser.add_argument("--length", type=float, default=2.0, help="the length of trajectories of HMC")
    parser.add_argument("--hottest", type=float, default=0.5, help="the smallest power of tempering")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    action, rows = physics.make(options.action), []
    own = {"hmc": {"length": options.length}, "temper": {"points": options.hottest, "chains": 8}, "cluster": {}}
    for edge in options.L:
        for name in options.samplers:

            def sample(draws: int, name: str = name, shape: tuple[int, ...] = (1, edge, edge)) -> physics.Estimate:
                first = (shape, action) if name == "hmc" else (action, shape)
                return getattr(physics, name)(*first, draws=draws, warmup=WARMUP, **own[name])

            rows.append((edge, name, *timed(sample, options.seconds)))
            print(Table(["L", "sampler", "draws x chains", f"result for {action!r}"], rows[-1:]), flush=True)


if __name__ == "__main__":
    main()
