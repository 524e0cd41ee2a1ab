"""Training: `fit`, its settings, evaluation, and the folder of a run."""

from mera.train.evaluate import bits_per_dim
from mera.train.loop import Result, fit
from mera.train.run import RunFolder
from mera.train.settings import Settings

__all__ = ["Result", "RunFolder", "Settings", "bits_per_dim", "fit"]
