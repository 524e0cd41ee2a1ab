"""What flows do with 8-bit images unless they are told otherwise."""

from __future__ import annotations

from mera.bijectors.compose import Chain
from mera.bijectors.image import Dequantize, Logit


class ImagePreprocess(Chain):
    """From uint8 images to the real line: dequantisation, then the squeezed logit.

    The two steps are those of `Real NVP <https://arxiv.org/abs/1605.08803>`_ (Dinh et al. 2017, Section 4.1).
    """

    def __init__(self) -> None:
        super().__init__([Dequantize(), Logit()])
