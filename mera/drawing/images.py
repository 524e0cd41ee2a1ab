"""Figures of images: grids, masks, captions, and generation level by level."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from textwrap import fill

import torch
from einops import rearrange
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL.Image import Image, fromarray
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, pad

from mera._utils.checks import check_count
from mera._utils.errors import InputError
from mera._utils.files import as_path, replacing
from mera.drawing.figures import Picture, panels

MAX_GRID_WIDTH, MAX_IMAGE_WIDTH = 1000, 256
"""The largest width of a grid, and of an image in it, that is enlarged, in pixels."""
MAX_VALUES = 1_000_000
"""The largest number of values from which quantiles are computed."""


def grid(images: Tensor, columns: int = 8) -> Tensor:
    """Place uint8 images (N, 1 or 3, H, W) side by side on grey, enlarged by an integer factor if they are small.

    There are at most `columns` images in a line. The result is one uint8 image (3, height, width).
    """
    _check_images(images)
    columns = min(check_count(columns, "a number of columns"), len(images))
    sheet = images[0].cpu().expand(3, -1, -1)
    if len(images) > 1:
        cells = pad(images.cpu().expand(-1, 3, -1, -1), (0, 2, 0, 2, 0, 0, 0, -len(images) % columns), value=96)
        lines = rearrange(cells, "(lines columns) c h w -> c (lines h) (columns w)", columns=columns)
        sheet = pad(lines, (2, 0, 2, 0), value=96)
    factor = max(1, min(MAX_GRID_WIDTH // sheet.shape[-1], MAX_IMAGE_WIDTH // images.shape[-1]))
    return sheet.repeat_interleave(factor, -2).repeat_interleave(factor, -1)


def to_pil(image: Tensor) -> Image:
    """Convert a uint8 image (1 or 3, H, W) to a PIL image, which notebooks display."""
    return fromarray(image.cpu().movedim(0, -1).squeeze(-1).numpy())


def show(images: Tensor, columns: int = 8) -> Image:
    """Place images side by side in a PIL image, which notebooks display; `.show()` opens a window.

    Images are uint8 (N, C, H, W) or (C, H, W), or real numbers, which are stretched to grey values; see `stretch`. If C
    is neither 1 nor 3, the mean of the channels is shown. There are at most `columns` images in a line.

    >>> import torch
    >>> from mera.drawing.images import show
    >>> show(torch.randn(3, 1, 16, 16)).mode
    'RGB'
    """
    return to_pil(grid(_as_images(images if images.ndim == 4 else images[None]), columns))


def save_grid(images: Tensor, path: str | PathLike[str], columns: int = 8) -> None:
    """Write a grid of uint8 images (N, 1 or 3, H, W) as a PNG; see `grid` and `save_image`."""
    save_image(grid(images, columns), path)


def png_path(path: str | PathLike[str]) -> Path:
    """Add .png to a path without an extension; refuse a path with another extension."""
    picture = as_path(path)
    if picture.suffix.lower() not in ("", ".png"):
        raise InputError("the path of a PNG", str(picture))
    return picture if picture.suffix else picture.with_name(f"{picture.name}.png")


def save_image(image: Tensor, path: str | PathLike[str]) -> None:
    """Write one uint8 image (1 or 3, H, W) as a PNG, pixel by pixel; .png is added to a name without an extension.

    Raises:
        ValueError: if the image has another dtype or shape, or the path has another extension.
    """
    _check_images(image[None])
    with replacing(png_path(path)) as temporary:
        to_pil(image).save(temporary, "png")


def save_figure(figure: Figure, path: str | PathLike[str]) -> None:
    """Write a matplotlib figure as a PNG at 150 dots per inch, or as a PDF; .png is added to a name without extension.

    Raises:
        ValueError: if the path has another extension.
    """
    is_pdf = as_path(path).suffix.lower() == ".pdf"
    with replacing(as_path(path) if is_pdf else png_path(path)) as temporary:
        figure.savefig(temporary, dpi=150, format="pdf" if is_pdf else "png")


def paint_mask(images: Tensor, mask: Tensor) -> Tensor:
    """Paint masked pixels of uint8 images (N, 1 or 3, H, W) red, or white in images of one channel.

    The mask is bool (H, W), true where a pixel is masked.
    """
    _check_images(images)
    if mask.shape != images.shape[-2:]:
        raise InputError(f"a mask {tuple(images.shape[-2:])}", str(tuple(mask.shape)))
    red = torch.tensor([255, 0, 0][: images.shape[1]], dtype=torch.uint8, device=images.device)
    return torch.where(mask, red.view(-1, 1, 1), images)


def stretch(x: Tensor) -> Tensor:
    """Map finite real numbers to uint8 grey values on the CPU: their 1% quantile to black, the 99% quantile to white.

    Quantiles of more than a million numbers are computed from a million evenly spaced entries.
    """
    x = x.detach().float().cpu()
    if not x.isfinite().all():
        raise InputError("finite numbers", f"{int((~x.isfinite()).sum())} NaN or infinite ones")
    values = x.flatten()[:: -(-x.numel() // MAX_VALUES)]
    low, high = torch.quantile(values, torch.tensor([0.01, 0.99]))
    return ((x - low) / (high - low).clamp(min=1e-6) * 255).clamp(0, 255).round().to(torch.uint8)


def coloured(values: Tensor) -> Tensor:
    """Draw numbers (H, W) as a picture (3, H, W), uint8, from the most negative, blue, by 0, white, to red."""
    values = values.double()
    shares = 0.5 + values / (2 * values.abs().max()).clamp(min=torch.finfo(torch.float32).tiny)
    colours = colormaps["RdBu_r"](shares.numpy(), bytes=True)[..., :3]
    return torch.from_numpy(colours).movedim(2, 0)


def progression(levels: Sequence[Tensor], title: str = "") -> Picture:
    """Draw generation level by level (paper, Fig. 3a): one row per image, one column per level, coarsest at the left.

    The levels are those of `flow.progression`: `progression(flow.progression(flow.sample_latents(4)))`.

    Args:
        levels: a lattice (N, C, H, W) for each level, finest first. uint8 images, such as `flow.to_images` of the
            finest level, are shown unchanged. Lattices of as many channels as these are shown in their colours: in an
            affine map of the channels, the one that comes nearest to the means of cells. Other real numbers are
            stretched to grey values, separately for each level; see `stretch`. If C is neither 1 nor 3, as in Glow, the
            mean of the channels is shown.
    """
    columns = [_as_images(_in_colours_of(level, levels[0])) for level in reversed(levels)]
    names = [f"h = {h}\n{' x '.join(map(str, levels[h].shape[2:]))}" for h in reversed(range(len(levels)))]
    captioned = list(zip(names, (images[0] for images in columns), strict=True))
    captioned += [("", images[row]) for row in range(1, len(levels[0])) for images in columns]
    return titled(captioned, len(columns), title=title)


def inpainted(pictures: Mapping[str, Tensor], mask: Tensor, note: str = "", width: float = 1.6) -> Picture:
    """Draw images (1 or 3, H, W) of an inpainting by name, the original one first; its masked pixels are also painted.

    The mask is (H, W), true where a pixel is masked; the note is a line above the images, each of `width` inches.
    """
    (name, before), *rest = pictures.items()
    masked = "what is masked", paint_mask(before[None], mask)[0]
    figure = titled(dict([(name, before), masked, *rest]), width=width)
    figure.suptitle(fill(note, 110), fontsize=8)
    return figure


def boxed(image: Tensor, boxes: Sequence[tuple[tuple[int, int], tuple[int, int]]], width: float = 7.0) -> Picture:
    """Draw a uint8 image (1 or 3, H, W) with numbered boxes, each the span of its rows and that of its columns."""
    from matplotlib.patches import Rectangle

    height, edge = image.shape[1:]
    figure, (axes,) = panels(1, 1, width, width * height / edge)
    draw_image(axes, image)
    for number, ((top, bottom), (left, right)) in enumerate(boxes, 1):
        corner = left - 2.5, top - 2.5
        axes.add_patch(Rectangle(corner, right - left + 4, bottom - top + 4, fill=False, color="red", lw=1))
        axes.annotate(str(number), corner, color="red", fontsize=8, va="bottom")
    axes.set(xlim=(-0.5, edge - 0.5), ylim=(height - 0.5, -0.5))
    return figure


def titled(
    pictures: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]],
    columns: int = 6,
    width: float = 1.6,
    size: int = 9,
    title: str = "",
) -> Picture:
    """Draw images (1 or 3, H, W) line by line, each below its name in a font of the given size.

    There are at most `columns` images in a line, each `width` inches wide and as high as the first one.
    """
    named = list(pictures.items() if isinstance(pictures, Mapping) else pictures)
    height, edge = named[0][1].shape[1:]
    room = 0.2 if any(name for name, _ in named) else 0
    figure, axes = panels(len(named), columns, width, width * height / edge + room, 0.4 if title else 0)
    for panel, (name, image) in zip(axes, named, strict=True):
        draw_image(panel, image)
        panel.set_title(name, fontsize=size)
    figure.suptitle(title, fontsize=10)
    return figure


def _in_colours_of(level: Tensor, images: Tensor) -> Tensor:
    """A lattice (N, C, h, w) in the affine map of its channels that comes nearest to the means of images in cells."""
    channels = level.shape[1]
    if level.dtype == torch.uint8 or images.dtype != torch.uint8 or channels != images.shape[1]:
        return level
    means = adaptive_avg_pool2d(images.detach().cpu().double(), (level.shape[2], level.shape[3]))
    values = level.detach().cpu().double().movedim(1, -1).reshape(-1, channels)
    design = torch.cat([values, torch.ones(len(values), 1, dtype=values.dtype)], 1)
    fitted = design @ torch.linalg.lstsq(design, means.movedim(1, -1).reshape(-1, channels)).solution
    return fitted.view(len(level), *level.shape[2:], channels).movedim(-1, 1).round().clamp(0, 255).to(torch.uint8)


def _as_images(level: Tensor) -> Tensor:
    """Convert lattices (N, C, H, W) to uint8 images of 1 or 3 channels."""
    level = level.detach()
    if level.shape[1] not in (1, 3):
        level = level.float().mean(1, keepdim=True)
    return level if level.dtype == torch.uint8 else stretch(level)


def _check_images(images: Tensor) -> None:
    """Refuse anything but uint8 images (N, 1 or 3, H, W)."""
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
        expected = "uint8 images (N, 1 or 3, H, W), which `flow.to_images` or `stretch` makes"
        raise InputError(expected, f"{tuple(images.shape)}, {images.dtype}")


def draw_image(axes: Axes, image: Tensor) -> None:
    """Draw a uint8 image (1 or 3, H, W) without a frame or ticks."""
    pixels = image.cpu().movedim(0, -1).squeeze(-1).numpy()
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_axis_off()
