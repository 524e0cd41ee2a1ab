"""Points of a sweep as jobs of a cluster, by submitit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mera._utils.errors import InputError
from mera._utils.optional import import_optional
from mera.sweep.point import Point

LIMITS = 1000
"""The number of times that a job may come to its time limit and be queued again."""


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
    submitit = import_optional("submitit", "cluster")
    try:
        executor = submitit.AutoExecutor(folder=str(folder), cluster=cluster, **{f"{cluster}_max_num_timeout": LIMITS})
        executor.update_parameters(**options)
    except (NameError, TypeError, AssertionError, RuntimeError, ValueError) as error:
        raise InputError(f"a cluster {cluster} with options of submitit", str(error)) from None
    with executor.batch():
        return [executor.submit(point) for point in points]
