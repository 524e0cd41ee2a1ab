"""What a flow does with 8-bit images: into its own space, back, and their bits per dimension."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mera._utils.checks import check_tensor
from mera.bijectors import Bijector, Chain, Dequantize, Logit, with_noise
from mera.graph import Plan

__all__ = ["ImageMethods", "default_preprocess"]


def default_preprocess() -> Bijector:
    """From uint8 images to the real line: dequantisation, then the squeezed logit of Dinh et al. (2017)."""
    return Chain([Dequantize(), Logit()])


class ImageMethods:
    """The methods of a flow that take or make images; `Flow` inherits them."""

    plan: Plan
    preprocess: Bijector

    def bits_per_dim(self, images: Tensor, context: Tensor | None = None, *, noise: Tensor | None = None) -> Tensor:
        """-log2 p(image) for each variable of uint8 images (B, C, *shape): (B,), in bits per dimension.

        Preprocessing is counted. Dequantisation draws noise, so that a second call differs a little; the
        expectation is an upper bound.

        Args:
            images: uint8.
            context: of a conditional flow.
            noise: in [0, 1), of the images' shape, to use instead of drawn noise.

        Raises:
            ValueError: if the images are not uint8 or not of the flow's shape, or the noise is not of theirs.
        """
        self._check_images(images)
        if noise is not None:
            check_tensor("noise", noise, self.plan.input.event_shape, None)
            if noise.shape != images.shape or not noise.is_floating_point():
                got = f"{tuple(noise.shape)}, {noise.dtype}"
                raise ValueError(f"Expected noise of shape {tuple(images.shape)}, floats; got {got}")
        x, log_det = self.preprocess(images if noise is None else with_noise(images, noise))
        nats = self.log_prob(x.to(self.dtype), context) + log_det
        return -nats / (math.prod(self.plan.input.event_shape) * math.log(2))

    @torch.no_grad()
    def to_images(self, x: Tensor) -> Tensor:
        """Data in the flow's own space, (B, C, *shape) or a window of it, (B, C, *window), to uint8 images."""
        channels, dim = self.plan.input.channels, self.plan.input.dim
        if not isinstance(x, Tensor) or x.ndim != 2 + dim or x.shape[1] != channels:
            got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(f"Expected data of {channels} channels in {dim} dimensions, (B, C, ...); got {got}")
        if not x.is_floating_point():
            raise ValueError(f"Expected data as floats, in the flow's own space; got {x.dtype}")
        return self.preprocess.inverse(x)[0]

    @torch.no_grad()
    def from_images(self, images: Tensor) -> Tensor:
        """uint8 images (B, C, *shape) to data in the flow's own space, dequantised with noise."""
        self._check_images(images)
        return self.preprocess(images)[0].to(self.dtype)

    def _check_images(self, images: Tensor) -> None:
        check_tensor("images", images, self.plan.input.event_shape, None)
        if images.dtype != torch.uint8:
            raise ValueError(f"Expected images of dtype uint8; got {images.dtype}")
        if images.device != self.device:
            raise ValueError(f"Expected images on {self.device}, where the flow is; got {images.device}")

    if TYPE_CHECKING:  # what Flow provides

        @property
        def dtype(self) -> torch.dtype:
            """The dtype of data and latents."""

        @property
        def device(self) -> torch.device:
            """Where the flow is."""

        def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
            """log p(x), in nats."""
