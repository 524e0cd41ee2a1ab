"""Filling masked pixels: the most likely filling, and samples of all plausible ones (paper, Section 4 and App. D)."""

from mera.inpaint.inpaint import Inpainting, inpaint
from mera.inpaint.mixing import Mixing

__all__ = ["Inpainting", "Mixing", "inpaint"]
