"""Training: `fit`, its settings and callbacks, evaluation, and the folder of a run."""

from mera._utils.processes import is_main
from mera.train.batches import Objective
from mera.train.callbacks import Callback, History
from mera.train.evaluate import bits_per_dim, sample
from mera.train.fit import Result, fit
from mera.train.loop import Loop
from mera.train.optimizers import Muon
from mera.train.run import RunFolder
from mera.train.settings import PRESETS, Settings

__all__ = [
    "PRESETS",
    "Callback",
    "History",
    "Loop",
    "Muon",
    "Objective",
    "Result",
    "RunFolder",
    "Settings",
    "bits_per_dim",
    "fit",
    "is_main",
    "sample",
]
