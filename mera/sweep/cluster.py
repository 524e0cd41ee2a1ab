"""Points of a sweep as jobs of a cluster, by submitit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mera._utils.errors import InputError
from mera.sweep.point import Point, stop_running

LIMITS = 1000
"""The number of times that a job may come to its time limit and be queued again."""


class Job:
    """A point as a job, which is queued again when it comes to its time limit."""

    def __init__(self, point: Point) -> None:
        self.point = point

    def __call__(self) -> int:
        """Run what remains of the point; return 0, or the exit status of the command that failed."""
        return self.point()

    def checkpoint(self) -> Any:
        """Save what the point has learnt and measured; return the job to queue again.

        submitit calls this shortly before the time limit.
        """
        from submitit.helpers import DelayedSubmission

        stop_running()
        return DelayedSubmission(self)


def submit(points: Sequence[Point], folder: Path, cluster: str, options: Mapping[str, Any]) -> list[Any]:
    """Submit points as an array of jobs; return the jobs of submitit.

    Args:
        points: the points.
        folder: the folder of the logs.
        cluster: "slurm", or "local" for processes of this machine.
        options: options of submitit, such as timeout_min, slurm_partition, gpus_per_node.

    Raises:
        ValueError: if submitit is not installed, or an option is invalid.
    """
    try:
        import submitit
    except ImportError:
        raise InputError('the package submitit (pip install "mera-flow[cluster]")', "none") from None
    try:
        executor = submitit.AutoExecutor(folder=str(folder), cluster=cluster, **{f"{cluster}_max_num_timeout": LIMITS})
        executor.update_parameters(**options)
    except (NameError, TypeError, AssertionError, RuntimeError, ValueError) as error:
        raise InputError(f"a cluster {cluster} with options of submitit", str(error)) from None
    with executor.batch():
        return [executor.submit(Job(point)) for point in points]
