"""Pictures of any size under a flow: maps of how unlikely their parts are, mixtures by scale, and refined pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mera._utils.checks import check_count, check_type
from mera._utils.errors import InputError
from mera._utils.progress import check_console
from mera.analysis.latents import mix
from mera.cones import Streamed
from mera.data import photograph, reflected, resize
from mera.data.picture_files import SUFFIXES, reduced
from mera.data.sources import Source, dtype_of, open_image
from mera.executor.watching import passes_shown
from mera.flow.flow import Flow

if TYPE_CHECKING:
    from rich.console import Console

    from mera.drawing.figures import Picture

LONGEST, COARSE_LONGEST = 960, 480
"""The pixels of the longer edge to which pictures are reduced, and pictures that are to be refined."""
SHOWN_EDGE = 512
"""The longest edge of the image beside its maps, in pixels."""
PictureLike = str | PathLike[str] | Tensor | np.ndarray
"""The path of a picture, or its pixels (C, H, W) uint8."""


@dataclass(frozen=True, eq=False, repr=False)
class PictureMap:
    """A map of how much an image surprises a flow, by site and level.

    Args:
        image: the image, or every second, third, ... pixel of it, (C, h, w) from 0 to 1.
        bits: for each level, finest first, its bits per dimension in cells of the image, (levels, h', w').
        sites: for each level, the edge of one of its sites in pixels.
        shape: the height and the width of the image.
        unit: "bits/dim", or "bits/variable" of fields.
        streamed: the pass over the image, reflected at its last row and column to edges that fit the flow.
        even: the bits of `Streamed.even_map`, which the picture shows; numbers are those of `bits`.
    """

    image: Tensor
    bits: Tensor
    sites: tuple[int, ...]
    shape: tuple[int, int]
    unit: str
    streamed: Streamed
    even: Tensor

    @property
    def is_reflected(self) -> bool:
        """Return whether the image was reflected, so that log p is that of more pixels than the image has."""
        height, width = self.streamed.flow.plan.input.shape
        return (height, width) != self.shape

    @property
    def levels(self) -> list[float]:
        """The bits per dimension of each level, finest first."""
        return self.bits.mean((1, 2)).tolist()

    @property
    def total(self) -> float:
        """The bits per dimension of the image."""
        return sum(self.levels)

    def figure(self) -> Picture:
        """The image beside its maps, in which bright places are surprising."""
        from mera.drawing.curves import map_figure  # late: matplotlib takes a second

        return map_figure(self.image, self.even, self.sites, self.unit, self.levels)

    def _repr_png_(self) -> bytes | None:
        return self.figure()._repr_png_()

    def __repr__(self) -> str:
        levels = ", ".join(f"{bits:.3f}" for bits in self.levels)
        return f"map of {self.shape[0]} x {self.shape[1]} pixels: {self.total:.3f} {self.unit}, by level {levels}"


def map_picture(flow: Flow, picture: PictureLike | Source, *, longest: int | None = None, **options: Any) -> PictureMap:
    """Map log p of an image of any size, by site and level.

    Args:
        flow: the flow, on two dimensions.
        picture: the image: a path, pixels (C, H, W) uint8, or a field of floats in the flow's own space. Of files .npy,
            and of arrays on disk, parts are read.
        longest: the pixels of the longer edge to which a picture is reduced; None for 960 if the picture is a path, and
            for all pixels of arrays and files .npy.
        options: those of `Flow.stream`: `out`, `tile`, `seed`, `console`.

    >>> import mera
    >>> flow = mera.build("rgflow", L=16, hidden=(8,))
    >>> surprise = map_picture(flow, mera.data.photograph()[:, :50, :70])
    >>> surprise.bits.shape, surprise.sites
    (torch.Size([3, 50, 70]), (2, 4, 4))
    """
    check_type(flow, Flow, "a Flow")
    source = as_source(picture, flow.plan.input.channels, longest)
    shape = source.shape[1:]
    fitting: Source = reflected(source, flow)
    resized = flow.resized(fitting.shape[1:])
    streamed = resized.stream(fitting, **options)
    sites = tuple(resized.plan.input.shape[0] // latent.lattice.shape[0] for latent in resized.plan.latents)
    unit = "bits/dim" if source.dtype in (np.uint8, torch.uint8) else "bits/variable"
    bits, even = (streamed.bits(shape=shape, even=it).float() for it in (False, True))
    step = max(1, -(-max(shape) // SHOWN_EDGE))
    rows = [source[:, row : row + 1, :][:, :, ::step].float() for row in range(0, shape[0], step)]
    image = torch.cat(rows, 1)
    if image.max() > 1 or image.min() < 0:
        image = (image - image.min()) / (image.max() - image.min()).clamp(min=1e-12)
    image = image[:3] if len(image) > 2 else image[:1]
    return PictureMap(image, bits, sites, (shape[0], shape[1]), unit, streamed, even)


@torch.no_grad()
def mix_pictures(
    flow: Flow, first: PictureLike, second: PictureLike, levels: Sequence[int], *, longest: int = LONGEST,
    console: Console | None = None,
) -> dict[int, Tensor]:  # fmt: skip
    """Mix two pictures by scale (RG-Flow, Eq. 9): the shapes of the first with the fine structure of the second.

    Args:
        flow: the flow, which learnt images.
        first: the picture whose coarse levels are taken.
        second: the picture whose fine levels are taken; it is cropped and resized to the first.
        levels: the levels from which on all coarser ones are those of the first picture, each for one mixture.
        longest: the pixels of the longer edge to which the first picture is reduced.
        console: the console that shows progress; None shows it on terminals and in notebooks only.

    Returns:
        By level, the mixture, (C, H, W) uint8.
    """
    pixels = _pixels(flow, first, longest)
    pair = torch.stack([pixels, resize(_pixels(flow, second, longest), pixels.shape[1:])])
    images = reflected(pair, flow).to(flow.device)
    resized = flow.resized(images.shape[2:])
    with passes_shown("mix", resized.plan, 1, 2 + len(levels), check_console(console)):
        z = resized(resized.from_images(images))[0]
        a, b = ([level[i : i + 1] for level in z] for i in range(2))
        mixed = {h: resized.to_images(resized.inverse(mix(a, b, h))[0])[0].cpu() for h in levels}
    return {h: image[:, : pixels.shape[1], : pixels.shape[2]] for h, image in mixed.items()}


@torch.no_grad()
def refine_picture(
    flow: Flow, picture: PictureLike, times: int = 2, *, temperature: float = 0.5, longest: int = COARSE_LONGEST,
    console: Console | None = None,
) -> Tensor:  # fmt: skip
    """A picture of twice the edges or more, whose means over cells come near the picture, with details drawn by a flow.

    Args:
        flow: the flow, which learnt images.
        picture: the picture.
        times: the factor of the edges, a power of two.
        temperature: the temperature of the details; below 1 they are smoother.
        longest: the pixels of the longer edge to which the picture is reduced first.
        console: the console that shows progress; None shows it on terminals and in notebooks only.

    Returns:
        The refined picture, (C, times H, times W) uint8.

    Raises:
        ValueError: if the factor is not 2, 4, 8, ...
    """
    levels = check_count(times, "times", 2).bit_length() - 1
    if times != 2**levels:
        raise InputError("times as a power of two, 2 or more", str(times))
    pixels = _pixels(flow, picture, longest)
    height, width = pixels.shape[1:]
    images = reflected(pixels[None], flow).to(flow.device)
    x = flow.resized(images.shape[2:]).from_images(images)
    fine = flow.refine(x, levels, temperature=temperature, means=True, console=console)
    return flow.resized(fine.shape[2:]).to_images(fine)[0, :, : times * height, : times * width].cpu()


def _pixels(flow: Flow, picture: PictureLike, longest: int) -> Tensor:
    """The pixels of a picture, reduced, with as many channels as the flow has."""
    channels = check_type(flow, Flow, "a Flow").plan.input.channels
    pixels = as_source(picture, channels, longest)[:, :, :]
    if len(pixels) != channels:
        raise InputError(f"a picture of {channels} channels, (C, H, W) uint8", str(tuple(pixels.shape)))
    return pixels


def as_source(picture: PictureLike | Source, channels: int, longest: int | None = None) -> Source:
    """Open an image whose parts are read as needed; a picture is reduced first, as `map_picture` describes."""
    if isinstance(picture, (str, PathLike)) and Path(picture).suffix.lower() in SUFFIXES:
        return Source(photograph(picture, LONGEST if longest is None else longest, channels), name=str(picture))
    source = open_image(picture, channels)
    if longest is None:
        return source
    if dtype_of(source) != torch.uint8:
        raise InputError(f"8-bit pixels of {source.name} to reduce", str(source.dtype))
    return Source(reduced(source[:, :, :], check_count(longest, "longest")), name=source.name)
