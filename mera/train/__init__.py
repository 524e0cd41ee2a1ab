"""Training: `fit`, its settings and callbacks, evaluation, and the folder of a run."""

from mera._utils.processes import is_main
from mera.train.callbacks import Callback, History
from mera.train.evaluate import example_losses, sample
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
    "Result",
    "RunFolder",
    "Settings",
    "example_losses",
    "fit",
    "is_main",
    "sample",
]
