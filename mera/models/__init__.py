"""Models: flows by name, for `mera.build`; each is a dataclass of its options."""

from mera._utils.options import Option
from mera.models.authors import load_rgflow_checkpoint
from mera.models.by_name import build, builder, fit_width, names, presets, register
from mera.models.field_models import Decimation, Glow, RealNVP, WaveletFlow
from mera.models.options import FieldModel, Model, PatchModel, StepModel
from mera.models.rg_flow import RGFlow
from mera.models.saving import Card, pretrained
from mera.models.tensor_networks import TEBD, BranchingMERA, NeuralRG, Ternary, Tree

__all__ = [
    "TEBD",
    "BranchingMERA",
    "Card",
    "Decimation",
    "FieldModel",
    "Glow",
    "Model",
    "NeuralRG",
    "Option",
    "PatchModel",
    "RGFlow",
    "RealNVP",
    "StepModel",
    "Ternary",
    "Tree",
    "WaveletFlow",
    "build",
    "builder",
    "fit_width",
    "load_rgflow_checkpoint",
    "names",
    "presets",
    "pretrained",
    "register",
]
