"""The default preprocessing of 8-bit images."""

from __future__ import annotations

from mera.bijectors.compose import Chain
from mera.bijectors.image import Dequantize, Logit


class ImagePreprocess(Chain):
    """Dequantisation, then the squeezed logit, which maps uint8 images to the real line.

    As in `Real NVP <https://arxiv.org/abs/1605.08803>`_ (Dinh et al. 2017, Section 4.1).
    """

    def __init__(self) -> None:
        super().__init__([Dequantize(), Logit()])
