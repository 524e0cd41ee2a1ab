"""Filling masked pixels: the most likely filling, and samples of all plausible ones (paper, Section 4 and App. D)."""

from mera.inpaint.inpaint import Inpainting, inpaint
from mera.inpaint.mixing import Mixing
from mera.inpaint.options import SearchOptions

__all__ = ["Inpainting", "Mixing", "SearchOptions", "inpaint"]
