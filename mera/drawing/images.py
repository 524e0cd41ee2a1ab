"""Pictures of images, of generation level by level, and of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from os import PathLike
from typing import Any

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor
from torchvision.transforms.v2 import functional as F
from torchvision.utils import make_grid

from mera._utils.files import write_atomically

__all__ = [
    "corrupted",
    "curves",
    "grid",
    "history",
    "labelled",
    "progression",
    "save_figure",
    "save_grid",
    "save_image",
    "stretch",
]

DOTS = 1000
"""How wide a grid is made, at least, by repeating pixels."""


def grid(images: Tensor, columns: int = 8) -> Tensor:
    """uint8 images (N, C, H, W) side by side on grey, as (3, height, width), large enough to look at."""
    images = images.cpu()
    if images.ndim != 4 or images.shape[1] not in (1, 3) or len(images) == 0:
        raise ValueError(f"Expected images (N, 1 or 3, H, W), at least one; got {tuple(images.shape)}")
    sheet = make_grid(images, nrow=columns, padding=2, pad_value=96)
    times = max(1, DOTS // sheet.shape[-1])
    return sheet.repeat_interleave(times, -2).repeat_interleave(times, -1)


def save_grid(images: Tensor, path: str | PathLike[str], columns: int = 8) -> None:
    """Write `grid(images)` as a PNG."""
    save_image(grid(images, columns), path)


def save_image(image: Tensor, path: str | PathLike[str]) -> None:
    """Write a uint8 image (1 or 3, H, W) as a PNG, pixel by pixel."""
    buffer = BytesIO()
    F.to_pil_image(image.cpu()).save(buffer, "png")
    write_atomically(path, buffer.getvalue())


def corrupted(images: Tensor, mask: Tensor) -> Tensor:
    """uint8 images (N, C, H, W) with the masked pixels red, or white where there is but one channel."""
    red = torch.tensor([255, 0, 0][: images.shape[1]], dtype=torch.uint8, device=images.device)
    return torch.where(mask, red.view(-1, 1, 1), images)


def save_figure(figure: Figure, path: str | PathLike[str]) -> None:
    """Write a figure as a PNG."""
    buffer = BytesIO()
    figure.savefig(buffer, dpi=150, format="png")
    write_atomically(path, buffer.getvalue())


def stretch(x: Tensor) -> Tensor:
    """uint8 images of data on any scale: black and white are the quantiles 1% and 99% of all its values."""
    x = x.detach().float().cpu()
    low, high = torch.quantile(x.flatten()[:1_000_000], torch.tensor([0.01, 0.99]))
    return ((x - low) / (high - low).clamp(min=1e-6) * 255).clamp(0, 255).round().to(torch.uint8)


def progression(levels: Sequence[Tensor], title: str = "") -> Figure:
    """Generation level by level, coarsest at the left (paper, Fig. 3a): one row per image, one column per level.

    Args:
        levels: uint8 images (N, C, L_h, L_h) at each level, finest first.
    """
    n = len(levels[0])
    figure = Figure(figsize=(1.6 * len(levels), 1.6 * n + 0.5), layout="constrained")
    axes = figure.subplots(n, len(levels), squeeze=False)
    for column, images in enumerate(reversed(levels)):
        h = len(levels) - 1 - column
        for row, image in enumerate(images):
            _show(axes[row][column], image)
        edges = " x ".join(map(str, images.shape[2:]))
        axes[0][column].set_title(f"h = {h}\n{edges}", fontsize=9)
    figure.suptitle(title, fontsize=10)
    return figure


def curves(runs: Mapping[str, Sequence[Mapping[str, float]]], x: str = "seconds", title: str = "") -> Figure:
    """Bits per dimension on test images over time, a line a run.

    Args:
        runs: the metrics of each run by name; see `RunFolder.metrics`.
        x: the key of the horizontal axis, "seconds" or "step".
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, metrics in runs.items():
        axes.plot([line[x] for line in metrics], [line["test_bits"] for line in metrics], marker="o", ms=3, label=name)
    axes.set_xlabel(x)
    axes.set_ylabel("test bits per dimension")
    axes.grid(alpha=0.3)
    axes.legend()
    axes.set_title(title, fontsize=10)
    return figure


def labelled(images: Tensor, names: Sequence[str], columns: int = 6) -> Figure:
    """uint8 images (N, C, H, W), each under its name."""
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(1.6 * min(columns, len(images)), 1.8 * rows), layout="constrained")
    panels = figure.subplots(rows, min(columns, len(images)), squeeze=False).flat
    for axes in panels:
        axes.set_axis_off()
    for axes, image, name in zip(figure.axes, images, names, strict=False):
        _show(axes, image)
        axes.set_title(name, fontsize=9)
    return figure


def history(log_prob: Tensor, title: str = "") -> Figure:
    """log p of a filled image at each step of a search."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(log_prob.tolist())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="step", ylabel="log p, nats")
    axes.grid(alpha=0.3)
    axes.set_title(title, fontsize=10)
    return figure


def _show(axes: Any, image: Tensor) -> None:
    """A uint8 image (C, H, W) without frame or ticks."""
    pixels = image.cpu().movedim(0, -1).numpy()
    pixels = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_axis_off()
