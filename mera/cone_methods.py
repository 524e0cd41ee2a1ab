"""What a flow can do within a cone, without looking at the whole of itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from rich.console import Console
from torch import Tensor

from mera._utils.checks import check_tensor, is_integer
from mera.bijectors import Bijector
from mera.cones import (
    Cone,
    Region,
    Restriction,
    Site,
    Span,
    generation_cone,
    inference_cone,
    latents_at,
    sites_of,
    spans,
    window,
)
from mera.cones.indexing import variables_at
from mera.graph import Plan, Step
from mera.graph.contexts import Conditions
from mera.inpaint import Inpainting, inpaint
from mera.priors import Prior

__all__ = ["ConeMethods"]


class ConeMethods:
    """The methods of a flow that need only a cone of it; `Flow` inherits them."""

    plan: Plan
    prior: Prior
    conditions: Conditions
    _reference: Tensor

    def inference_cone(self, region: Region) -> Cone:
        """Which latents can change when these pixels do (paper, Fig. 2d).

        Args:
            region: bool mask (H, W); or for each dimension a slice, a pair (start, stop) or a single site, which also
                does for lattices too large to mask.

        >>> import mera, numpy as np
        >>> cone = mera.build("rgflow", L=32, m=4).inference_cone(np.s_[8:16, 8:16])
        >>> cone.count, [level.sum().item() for level in cone.levels]
        (1092, [64, 36, 16, 16])

        Raises:
            ValueError: if the region is empty, no mask of this lattice, or reaches outside.
        """
        return inference_cone(self.plan, variables_at(sites_of(region, self.plan.input), self.plan.input).flatten())

    def latent_cone(self, level: int, site: Site) -> Cone:
        """What the latents at a site can change, all the way to the pixels, of which `generation_cone` is the last.

        `mera.drawing` draws it, and it exists for lattices too large for a mask. Arguments as for `generation_cone`.
        """
        return generation_cone(self.plan, latents_at(self.plan, level, site))

    def generation_cone(self, level: int, site: Site) -> Tensor:
        """Which pixels the latents at a site can change, bool (H, W) (paper, Fig. 2c).

        Args:
            level: of the latents, 0 for the finest.
            site: its coordinates; or a bool mask (H_h, W_h) of several sites. The cone of latents in several levels
                is the union of their cones.

        Raises:
            ValueError: if there is no such level or site.
        """
        return self.latent_cone(level, site).pixels

    def restrict(self, x: Tensor, mask: Region, context: Tensor | None = None) -> Restriction:
        """Evaluate the flow around one image, where masked pixels change and nowhere else.

        One full pass is made here. From then on `log_prob`, `encode` and `decode` of what is returned evaluate only
        the patches in the inference cone, O(log L) of them for a small mask, and equal those of the whole flow.

        Args:
            x: one image, (1, C, *shape), in the flow's own space.
            mask: bool mask (H, W) of the pixels that change, or a region as for `inference_cone`.
            context: of a conditional flow, for this image; it stays as it is.

        Raises:
            ValueError: if the mask is empty, of another shape, or masks every pixel; if x is not one image of the
                flow's shape, dtype and device, or has NaN or infinite pixels, under the mask or not.
        """
        check_tensor("data", x, self.plan.input.event_shape, self._reference)
        if len(x) != 1:
            raise ValueError(f"Expected one image, (1, C, ...); got {len(x)}")
        if not x.isfinite().all():
            n = int((~x.isfinite()).sum())
            raise ValueError(f"Expected finite pixels, any number under the mask; got {n} NaN or infinite values")
        sites = sites_of(mask, self.plan.input)
        if len(sites) == self.plan.input.sites:
            raise ValueError("Expected a mask that leaves some pixels known; got one that masks them all")
        with torch.inference_mode(False):  # what is kept must serve for gradients, whatever mode the caller is in
            with torch.no_grad():
                given = self.conditions(context, x, self._takes_context)
            return Restriction(self.plan, self._bijector, self.prior, x, sites, given)

    def inpaint(
        self,
        x: Tensor,
        mask: Region,
        context: Tensor | None = None,
        *,
        space: str = "latent",
        latents: str | int = "cone",
        draws: int = 200,
        starts: int = 4,
        steps: int = 300,
        lr: float = 0.05,
        samples: int = 0,
        warmup: int = 300,
        iterations: int = 200,
        leapfrog: int = 16,
        console: Console | None = None,
    ) -> Inpainting:
        """Fill masked pixels of one image (paper, Section 4 and App. D); `torch.manual_seed` makes it repeatable.

        Masked pixels are first filled with noise; the likeliest of `draws` random settings of the variables go on to
        Adam, which maximises log p of the filled image. Only the inference cone of the mask is evaluated, and known
        pixels stay as they are, bit for bit. With `samples`, chains of Hamiltonian Monte Carlo then start from what
        Adam found and draw fillings from p(masked pixels | known ones).

        Args:
            x: one image, (1, C, *shape), in the flow's own space; under the mask any finite numbers will do.
            mask: bool mask (H, W) of the pixels to fill, or a region as for `inference_cone`.
            context: of a conditional flow, for this image.
            space: "latent": vary latents; "pixel": vary the masked pixels themselves.
            latents: "cone": those in the inference cone; "all": all; a number: so many, chosen at random.
            draws: random settings of the variables to start from.
            starts: how many of the likeliest draws Adam starts from, side by side; at least as many as `samples`.
            steps: Adam's.
            lr: Adam's learning rate, which falls to zero along half a cosine.
            samples: chains, each of which ends in one filling drawn from the posterior.
            warmup: iterations in which a chain tunes its steps.
            iterations: iterations of a chain after that, by which mixing is judged.
            leapfrog: leapfrog steps in an iteration of a chain, at most.
            console: a rich Console to show progress on.

        Raises:
            ValueError: as for `restrict`; or if an option has a value that makes no sense.
        """
        with torch.inference_mode(False):  # Adam needs gradients, whatever mode the caller is in
            return inpaint(
                self.restrict(x, mask, context), space=space, latents=latents, draws=draws, starts=starts, steps=steps,
                lr=lr, samples=samples, warmup=warmup, iterations=iterations, leapfrog=leapfrog, console=console,
            )  # fmt: skip

    @torch.no_grad()
    def window(
        self,
        seed: int,
        rows: Span,
        cols: Span | None = None,
        *more: Span,
        temperature: float | Sequence[float] = 1.0,
    ) -> Tensor:
        """A window of the image that a seed stands for: data (1, C, *window) in the flow's own space.

        The noise of each latent is a pure function of seed, level and site, and only latents in the window's cone are
        drawn. So the lattice may have an edge of 2^30; overlapping windows agree to the last bit (on one device, with
        one number of threads); and what is drawn follows the same distribution as `sample`.

        Args:
            seed: from 0 to 2^64 - 1.
            rows, cols, more: for each dimension of the lattice a slice, a range, a pair (start, stop) or a single site.
            temperature: as for `sample`.

        >>> import mera
        >>> flow = mera.build("rgflow", L=2**30, hidden=(8,), share_levels=True)
        >>> flow.window(7, (2**29, 2**29 + 64), (12_345, 12_345 + 48)).shape
        torch.Size([1, 3, 64, 48])

        Raises:
            ValueError: if a span is empty or reaches outside; if the seed is no such integer; if the lattice is too
                large for a field bijector; if the prior has no quantile function; if the flow is conditional.
        """
        if self.plan.context is not None:
            raise ValueError(f"Expected a flow without context for windows; got one with {self.plan.context}")
        window_spans = spans([rows, *([] if cols is None else [cols]), *more], self.plan.input)
        if not is_integer(seed) or not 0 <= seed < 2**64:
            raise ValueError(f"Expected a seed from 0 to 2^64 - 1; got {seed!r}")
        temperatures = self._temperatures(temperature)
        return window(self.plan, self._bijector, self.prior, seed, window_spans, temperatures, self._reference)

    if TYPE_CHECKING:  # what Flow provides

        def _temperatures(self, temperature: float | Sequence[float]) -> list[float]: ...

        def _bijector(self, step: Step) -> Bijector: ...

        def _takes_context(self, step: Step) -> bool: ...
