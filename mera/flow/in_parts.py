"""Methods of a flow about a part of it: cones, restrictions to masked pixels, windows, tiles, and finer lattices."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mera.bijectors import LearntNoise
from mera.cones import Cone, Region, Restriction, Site, Span, Streamed, generation_cone, inference_cone, stream, window
from mera.executor.contexts import Context
from mera.executor.plan_module import PlanModule
from mera.flow.density import Density, Temperature
from mera.flow.refine import refine
from mera.graph import compile
from mera.inpaint import Inpainting, inpaint, inpaint_behind

if TYPE_CHECKING:
    from rich.console import Console


class FlowInParts(Density, PlanModule):
    """The methods of `mera.Flow` that evaluate a part of the flow, at the cost of that part."""

    def inference_cone(self, region: Region) -> Cone:
        """The latents of each level that can change with pixels (RG-Flow, Fig. 2d, https://arxiv.org/abs/2010.00029).

        Args:
            region: the pixels: a bool mask (H, W); or for each dimension a slice, a pair (start, stop) or a single
                site, for lattices of any size.

        Raises:
            ValueError: if the region is empty, reaches outside, or is a mask of another lattice.

        >>> import mera, numpy as np
        >>> cone = mera.build("rgflow", L=32, m=4).inference_cone(np.s_[8:16, 8:16])
        >>> cone.count, [level.sum().item() for level in cone.levels]
        (1092, [64, 36, 16, 16])
        """
        return inference_cone(self.plan, region)

    def generation_cone(self, level: int, site: Site) -> Cone:
        """The pixels, and values on the way to them, that can change when the latents at a site change.

        See RG-Flow, Fig. 2c, https://arxiv.org/abs/2010.00029. The cone of latents of several levels is the union of
        the cones of the levels.

        Args:
            level: the level of the latents, 0 for the finest.
            site: the coordinates of the site in the lattice of the level; or a bool mask (H_h, W_h) of several sites.

        Raises:
            ValueError: if the level or the site does not exist.

        >>> import mera
        >>> cone = mera.build("rgflow", L=32, m=4).generation_cone(level=1, site=(1, 3))
        >>> cone.pixels.shape, int(cone.pixels.sum())
        (torch.Size([32, 32]), 400)
        """
        return generation_cone(self.plan, level, site)

    def restrict(self, x: Tensor, region: Region | Cone, context: Context | None = None) -> Restriction:
        r"""Restrict the flow to masked pixels of one image, so that only the inference cone of the mask is evaluated.

        This call makes one pass through the whole flow. Then `log_prob`, `encode` and `decode` of the restriction
        evaluate only the patches in the inference cone of the mask, :math:`O(\log L)` patches for a small mask, with
        the same values as the whole flow. A restriction is a snapshot: of the flow as it is now, whatever happens to it
        later.

        Args:
            x: one image, (1, C, *shape), in the flow's own space.
            region: the pixels that change: those of a cone; a bool mask (H, W); or for each dimension a slice, a
                pair (start, stop) or a single site.
            context: the context of the image, which does not change; None for a flow without context.

        Raises:
            ValueError: if the region is empty, of another shape, or all pixels; or if x is not one image, or has NaN or
                infinite pixels, in the region or not.
        """
        return Restriction(self, x, region, context)

    def inpaint(self, x: Tensor, mask: Region, context: Context | None = None, **options: Any) -> Inpainting:
        """Fill masked pixels of one image (RG-Flow, Section 4 and App. D, https://arxiv.org/abs/2010.00029).

        `torch.manual_seed` makes the result repeatable.

        Args:
            x: one image, (1, C, *shape), in the flow's own space; masked pixels may have any finite values.
            mask: the pixels to fill, which are not all, as a region of `restrict`.
            context: the context of the image; None for a flow without context.
            options: `console`, a `rich.console.Console` on which progress is shown; and the fields of
                `mera.inpaint.SearchOptions`: keep, latents, draws, sweeps, steps, samples, particles,
                warmup, iterations, leapfrog.

        Returns:
            The filled image (by `keep` a draw, the mean of draws or the likeliest filling), the draws with their
            spread, and the likeliest filling.

        Raises:
            ValueError: if the mask is empty, of another shape, or masks every pixel; if x is not one finite image; or
                if an option is unknown or has an invalid value.
        """
        noise, flow = self.behind_noise()
        if noise is None:
            result = inpaint(flow, x, mask, context, **options)
        else:
            result = inpaint_behind(
                noise, x, mask, lambda y: inpaint(flow, y, mask, context, **options),
                lambda image: self.log_prob(image, context), self.plan.input,
            )  # fmt: skip
        return result.with_pictures(self.to_images) if self.plan.input.is_picture else result

    def window(self, seed: int, *region: Span, temperature: float | Sequence[float] = 1.0) -> Tensor:
        """Generate a window of the image that belongs to a seed, without the rest of the image.

        The noise of each latent is a function of seed, level and site, and only latents in the window's cone are drawn.
        The lattice may therefore have an edge of 2^30; overlapping windows agree up to rounding; and windows have the
        same distribution as samples of `sample`.

        Args:
            seed: an integer from 0 to 2^64 - 1.
            region: for each dimension of the lattice a slice, a range, a pair (start, stop) or a single site.
            temperature: as in `sample`.

        Returns:
            The window (1, C, *window) of data in the flow's own space.

        Raises:
            ValueError: if the lattice is too large for a field bijector, the prior has no quantile function, or the
                flow is conditional and its context is not fixed by `given`.

        >>> import mera
        >>> flow = mera.build("rgflow", L=2**30, layers=1, hidden=(8,), share_levels=True)
        >>> flow.window(7, (2**29, 2**29 + 8), (12_345, 12_345 + 12)).shape
        torch.Size([1, 3, 8, 12])
        """
        return window(self, seed, region, temperature)

    def stream(self, source: Any, out: str | PathLike[str] | None = None, **options: Any) -> Streamed:
        """Evaluate log p of an image that need not fit into memory, exactly, level by level in tiles.

        Tiles are read with as many sites around them as the bijectors of a level need, so that log p, latents and
        lattices are those of `forward`, up to rounding, for any tile. Memory is that of a few tiles. The lattice that
        the next level needs, and maps of log p, go to files .npy on disk.

        Args:
            source: the image, any array-like (C, *shape) with a shape, a dtype and slices: a numpy array or memmap, an
                array of zarr or h5py. Integers of 8 bits are dequantised with noise that is a function of seed and
                site; floats are data in the flow's own space.
            out: an empty or new folder for the maps; None for a temporary one, which is deleted with the result.
            options: `tile`, the edge of a tile in pixels, 512; `context`, of a conditional flow, one for
                all pixels; `seed` of the noise, 0; `console`, a `rich.console.Console` on which progress is shown.

        Returns:
            The result with `log_prob`, `bits_per_dim`, `levels`, `map(level)` and `path`.

        Raises:
            LayoutError: if a bijector acts on a whole lattice at once, as Fourier modes do; the message names the node.
            ValueError: if the source has another shape than the flow, see `resized`, or if values are not finite.
            FileExistsError: if the folder is not empty.

        >>> import mera, torch
        >>> flow = mera.build("rgflow", L=32, channels=1, hidden=(8,)).resized((64, 96))
        >>> x = torch.randn(1, 1, 64, 96)
        >>> result = flow.stream(x[0].numpy(), tile=32)
        >>> abs(result.log_prob - flow.log_prob(x).item()) < 0.1, result.map(1).shape
        (True, (32, 48))
        """
        return stream(self, self.preprocess, source, out, **options)

    @torch.no_grad()
    def refine(
        self, coarse: Tensor, levels: int = 1, *, temperature: Temperature = 1.0, context: Context | None = None,
        means: bool = False, console: Console | None = None,
    ) -> Tensor:  # fmt: skip
        r"""Generate data of twice the edges, given its coarse lattice: super-resolution, and multilevel sampling.

        The latents of the finest levels are drawn, and the coarse lattice takes the place of all others, so that the
        data follow the flow's density given that lattice (https://arxiv.org/abs/2412.12842 for lattice fields). The
        edges of the data follow from those of the coarse lattice, as by `resized`.

        Args:
            coarse: the coarse lattice on the scale of the data, (B, C, *shape): the means of cells for "wavelet", the
                first corners of cells for "decimation". For other models it is the lattice that their own finest level
                keeps, which bijectors have changed: near the means of cells for "rgflow", but not equal to them once
                the flow is trained.
            levels: the number of levels to generate; each doubles the edges.
            temperature: as in `sample`, for all levels of the larger flow.
            context: the contexts; None for a flow without context.
            means: whether the means of cells are to be the coarse data for any flow, for the super-resolution of
                pictures: its own coarse lattice is then found by iteration. The data are plausible and have these
                means, but are not draws from their density given the means.
            console: the console that shows progress; None shows it on terminals and in notebooks only.

        Returns:
            Data in the flow's own space, (B, C, *twice the shape); with a warning if the iteration misses the means.

        Raises:
            ValueError: if the coarse lattice of the flow has other channels than its data, as for "realnvp" and "glow".

        >>> import mera
        >>> flow = mera.build("wavelet", L=16, channels=1, hidden=(8,))
        >>> coarse = torch.randn(2, 1, 8, 8)
        >>> fine = flow.refine(coarse)
        >>> torch.allclose(torch.nn.functional.avg_pool2d(fine, 2), coarse, atol=1e-5)
        True
        """
        return refine(self, coarse, levels, temperature, context, means, console)

    def behind_noise(self) -> tuple[LearntNoise | None, PlanModule]:
        """The learnt noise of pixels with which the flow begins, None if it has none; and the flow behind it."""
        first = next(iter(self.plan.steps), None)
        noise = self.bijectors[first.module] if first is not None and first.module else None
        if first is None or not isinstance(noise, LearntNoise):
            return None, self
        return noise, self.changed(plan=compile(self.layout.resized(self.plan.input.shape, without=first.node)))
