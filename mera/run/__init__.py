"""Running a plan: the executor, and the runner that binds a plan to bijectors and contexts."""

from mera.run.executor import run_forward, run_inverse
from mera.run.runner import Runner

__all__ = ["Runner", "run_forward", "run_inverse"]
