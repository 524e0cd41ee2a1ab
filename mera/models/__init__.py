"""Models: functions that build flows, by name; `mera.build` calls them."""

from mera.models.authors import load_rgflow_checkpoint
from mera.models.branching_mera import branching
from mera.models.brick_wall import tebd
from mera.models.by_name import build, builder, names, presets, register
from mera.models.decimation import decimation
from mera.models.glow import glow
from mera.models.neural_rg import neuralrg
from mera.models.real_nvp import realnvp
from mera.models.rg_flow import rgflow
from mera.models.trees import ternary, tree
from mera.models.wavelet import wavelet
from mera.models.width import fit_width
from mera.names.flow_options import FieldOptions, PatchOptions
from mera.names.options import Option
from mera.weights import Card, pretrained

__all__ = [
    "Card",
    "FieldOptions",
    "Option",
    "PatchOptions",
    "branching",
    "build",
    "builder",
    "decimation",
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
