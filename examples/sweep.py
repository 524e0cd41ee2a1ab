"""Learn and measure an action at all combinations of parameters and seeds, and print a table.

    python examples/sweep.py --cluster slurm --options "slurm_partition=gpu timeout_min=60"

Change `GRID`, `SETTINGS` and `Point` for a sweep of your own. The same command goes on after an interruption: what is
done is not done again. On a cluster, by submitit, a job that comes to its time limit is queued again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from pathlib import Path
from typing import Any

import torch

import mera
from mera import physics
from mera._utils.files import write_atomically
from mera._utils.registry import parse_assignments
from mera._utils.table import Table

GRID = {"mass2": (-1.4, -1.2, -1.0), "L": (8, 16)}
SETTINGS = {"batch_size": 64, "lr": 5e-3, "weight_decay": 0.0}
SHOWN = ("log_z", "abs_m", "binder")


class Point:
    """A run and a measurement of its flow; a cluster may stop and queue it again at any moment."""

    def __call__(self, folder: Path, seed: int, steps: int, mass2: float, L: int) -> Path:
        result = folder / "result.json"
        if result.exists():
            return result
        torch.manual_seed(seed)
        flow, action = mera.build("decimation", L=L, channels=1, hidden=(16,)), physics.Phi4(mass2, coupling=0.25)
        mera.train.fit(flow, action, run=folder, resume="auto", seed=seed, steps=steps, **SETTINGS)
        report = physics.estimate(flow.double(), action, 4000)
        values = {name: list(pair) for name, pair in report.observables.items()}
        values |= {"log_z": [report.log_z, report.log_z_error]}
        write_atomically(result, json.dumps({"values": values, "verdict": report.verdict}).encode())
        return result

    def checkpoint(self, *arguments: Any) -> Any:
        """Called by submitit at the time limit of a job: queue it again, to go on from its last checkpoint."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, *arguments)


def combined(pairs: list[list[float]]) -> tuple[float, float]:
    """The mean over seeds, with the larger error of the quoted one and that of the scatter between seeds."""
    values, errors = torch.tensor(pairs, dtype=torch.float64).T
    quoted = errors.square().sum().sqrt().item() / len(values)
    scatter = values.std().item() / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return values.mean().item(), max(quoted, scatter)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2, help="runs of each combination")
    parser.add_argument("--steps", type=int, default=500, help="steps of training of each run")
    parser.add_argument("--out", type=Path, default=Path("sweep"), help="folder of the runs")
    parser.add_argument("--cluster", choices=["slurm", "local"], help="submit jobs; without it, one run after another")
    parser.add_argument("--options", type=parse_assignments, default={}, help="options of submitit")
    arguments = parser.parse_args()
    out, points, seeds = arguments.out.resolve(), list(itertools.product(*GRID.values())), range(arguments.seeds)
    work = [(out / "_".join(map(str, (*at, seed))), seed, arguments.steps, *at) for at in points for seed in seeds]
    if arguments.cluster:
        import submitit

        executor = submitit.AutoExecutor(out / "jobs", arguments.cluster)
        executor.update_parameters(**arguments.options)
        results = [job.result() for job in executor.map_array(Point(), *zip(*work, strict=True))]
    else:
        results = [Point()(*each) for each in work]
    rows = []
    for i, at in enumerate(points):
        runs = [json.loads(path.read_text()) for path in results[i * len(seeds) : (i + 1) * len(seeds)]]
        pairs = [combined([run["values"][name] for run in runs]) for name in SHOWN]
        verdicts = "; ".join(sorted({run["verdict"].split(":")[0] for run in runs}))
        rows.append([*map(str, at), *(f"{value:.4f} +- {error:.1g}" for value, error in pairs), verdicts])
    print(Table([*GRID, *SHOWN, "verdict"], rows))


if __name__ == "__main__":
    main()
