"""Figures of maps of log p by site and level."""

from __future__ import annotations

import math

from torch import Tensor

from mera.analysis.drawing.figures import Picture, panels


def map_figure(image: Tensor, bits: Tensor, preprocessing: float = math.nan) -> Picture:
    """Draw an image, the bits per dimension of all levels together, and those of each level.

    Args:
        image: the image, reduced, (C, H, W) with values from 0 to 1.
        bits: bits per dimension in cells, (levels, h, w), finest level first.
        preprocessing: bits per dimension of the preprocessing, which the maps do not contain; NaN for fields.
    """
    figure, axes = panels(2 + len(bits), 3, 3.6, 3.4, margin=0.5)
    axes[0].imshow(image.movedim(0, -1).squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=1)
    is_field = math.isnan(preprocessing)
    total = f"the image: {bits.sum(0).mean().item() + preprocessing:.3f} bits/dim"
    axes[0].set_title("the image" if is_field else total, fontsize=9)
    all_levels = "all levels" if is_field else "all levels without preprocessing"
    titles = [all_levels, *(f"level {level}" for level in range(len(bits)))]
    for axis, title, values in zip(axes[1:], titles, [bits.sum(0), *bits], strict=True):
        low, high = values.quantile(0.01).item(), values.quantile(0.99).item()
        shown = axis.imshow(values.numpy(), cmap="magma", vmin=low, vmax=max(high, low + 1e-9))
        axis.set_title(f"{title}: {values.mean():.3f} bits/dim", fontsize=9)
        figure.colorbar(shown, ax=axis, shrink=0.8)
    for axis in axes:
        axis.set(xticks=[], yticks=[])
    return figure
