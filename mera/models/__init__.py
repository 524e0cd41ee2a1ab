"""Models: functions that build flows, by name; `mera.build` calls them."""

from mera._utils.options import Option
from mera.models.authors import load_rgflow_checkpoint
from mera.models.branching_mera import branching
from mera.models.brick_wall import tebd
from mera.models.glow import glow
from mera.models.neural_rg import neuralrg
from mera.models.pretrained import Card, pretrained
from mera.models.real_nvp import realnvp
from mera.models.registry import build, builder, names, presets, register
from mera.models.rg_flow import rgflow
from mera.models.trees import ternary, tree
from mera.models.wavelet import wavelet
from mera.models.width import fit_width

__all__ = [
    "Card",
    "Option",
    "branching",
    "build",
    "builder",
    "fit_width",
    "glow",
    "load_rgflow_checkpoint",
    "names",
    "neuralrg",
    "presets",
    "pretrained",
    "realnvp",
    "register",
    "rgflow",
    "tebd",
    "ternary",
    "tree",
    "wavelet",
]
