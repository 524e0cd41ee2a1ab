"""Inpainting: the likeliest filling of masked pixels, and samples of plausible fillings (RG-Flow, Sec. 4, App. D)."""

from mera.inpaint.behind_noise import inpaint_behind
from mera.inpaint.inpaint import Inpainting, inpaint
from mera.inpaint.posterior import Convergence
from mera.inpaint.search_options import SearchOptions

__all__ = ["Convergence", "Inpainting", "SearchOptions", "inpaint", "inpaint_behind"]
