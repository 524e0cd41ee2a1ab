"""Inpainting of one image: a search for the likeliest filling, then sampling of plausible fillings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from mera._utils.checks import check_choice, check_precise
from mera._utils.drawn import Drawn
from mera._utils.errors import InputError
from mera._utils.progress import ProgressBar, check_console
from mera._utils.torch_modes import threads_for_calls
from mera.cones import Region, Restriction
from mera.executor.contexts import Context
from mera.executor.plan_module import PlanModule
from mera.inpaint.blocks import MAX_HIDDEN, TOGETHER, blocks_of, tell_cost
from mera.inpaint.gaussian import gaussian_filling, scaled
from mera.inpaint.metric import curvature, whitening
from mera.inpaint.posterior import Convergence, LogProbInThreads, Stop, anneal, convergence_of, hmc
from mera.inpaint.search import LatentSpace, ascend, climb, populate
from mera.inpaint.search_options import SearchOptions
from mera.inpaint.surface import biharmonic

if TYPE_CHECKING:
    from rich.console import Console

MAX_VARIABLES = 2**20
"""The most variables of an image or window of which a Gaussian is learnt from samples of the flow."""
DRAWS_KEPT = 64
"""The approximate number of draws that are kept for the mean and the spread."""
STEPS, RATE, STEPS_FROM_SURFACE = 300, 0.05, 30
"""The steps and the learning rate of Adam from random latents, and the steps of L-BFGS from a surface."""
STARTS = 4
"""The number of starting points of Adam without samples, side by side, each from a group of draws."""
LEAST = 8
"""The least number of draws with which the scales of a Gaussian are compared."""
WIDER = (2.0, 1.4, 1.0, 0.7, 0.5)
"""The scales that are tried of the Gaussian at a mode, whose tails are often too light."""
DEVIATIONS = 5.0
"""How far log p of draws may be below the mean of a Gaussian's, in its deviations, before they are implausible."""


@dataclass(frozen=True, eq=False)
class Inpainting(Drawn):
    """The result of inpainting an image.

    Args:
        image: the filled image, (1, C, *shape), by the option `keep`: the draw with the smallest mean distance to all
            draws, the mean of the draws, or the likeliest filling; if it is not plausible, the smooth surface through
            the pixels around the hole. Unmasked pixels are unchanged, bit for bit.
        log_prob: log p of `image`, in nats, a scalar.
        likeliest: the image with the likeliest filling of the search, which is often smoother than any sample.
        history: log p of the likeliest filling at each step of the search, (steps + 1,) or fewer after Ctrl-C; the
            largest is that of `likeliest`.
        varied: the number of variables that the search varied, including randomly chosen latents outside of the cone;
            0 if Ctrl-C came before it.
        mask: the pixels that were filled, a bool mask of the images.
        original: the image before filling, (1, C, *shape).
        samples: images with fillings drawn from p(masked pixels | other pixels), (S, C, *shape); None if no samples
            were requested.
        draws: evenly spaced draws of the chains, (D, C, *shape), the last of which are `samples`; None without samples.
        convergence: diagnostics of the chains that drew the samples; None without samples, or if Ctrl-C came first.
        stopped: whether Ctrl-C ended the search or the sampling early; the results until then are kept.
        blocks: the number of blocks in which a large hole was filled, each given those before it; there are
            then no samples.
        kept: "draw", "mean", "likeliest", or "surface" where that filling is not plausible.
            A filling of d variables is plausible if its log p is at most d / 2 + 5 sqrt(d / 2) nats below that of the
            surface: draws from a Gaussian are so far below its peak. For angles, and without samples, every filling is.
        pictures: by name, uint8 images (C, H, W) for notebooks: the original image and the likeliest filling; with
            samples, also a draw, the mean and the spread of the draws, and the samples; values are from 0 to 1, and the
            name of the spread says which standard deviation is white. None unless the lattice has two dimensions and 1
            or 3 channels.
    """

    image: Tensor
    log_prob: Tensor
    likeliest: Tensor
    history: Tensor
    varied: int
    mask: Tensor
    original: Tensor
    samples: Tensor | None = None
    draws: Tensor | None = None
    convergence: Convergence | None = None
    stopped: bool = False
    blocks: int = 1
    kept: str = "likeliest"
    pictures: dict[str, Tensor] | None = None

    @torch.no_grad()
    def with_pictures(self, to_images: Callable[[Tensor], Tensor]) -> Inpainting:
        """The inpainting with `pictures`, made by `Flow.to_images`."""
        name = "likeliest" if self.blocks == 1 else self.kept
        pictures = {"the image": to_images(self.original)[0], name: to_images(self.likeliest)[0]}
        if self.draws is not None and self.samples is not None:
            draws = to_images(self.draws).float() / 255
            spread = draws.std(0, correction=0)
            white = max(round(spread.max().item(), 2), 0.01)
            pictures |= {"draw": to_images(self.draws[medoid(self.draws)][None])[0], "mean": _uint8(draws.mean(0)),
                         f"spread, {white} is white": _uint8(spread / white)}  # fmt: skip
            pictures |= {f"sample {i}": image for i, image in enumerate(to_images(self.samples), start=1)}
        return replace(self, pictures=pictures)

    @property
    def plausible(self) -> bool:
        """Return whether the filling was as likely as the smooth surface, which is kept if it was not."""
        return self.kept != "surface"

    def __repr__(self) -> str:
        drawn = "" if self.samples is None else f", {len(self.samples)} samples ({self.convergence})"
        if self.blocks > 1:
            drawn = ", stopped" if self.stopped else f", filled in {self.blocks} blocks in turn"
        drawn += "" if self.plausible else ", implausible: the surface is kept"
        return f"Inpainting(log_prob={self.log_prob:.1f}, {self.varied:,} variables varied{drawn})"


def medoid(draws: Tensor) -> int:
    """The index of the draw (D, ...) with the smallest mean distance to all draws."""
    rows = draws.flatten(1)
    return int(torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist").sum(1).argmin())


def _uint8(image: Tensor) -> Tensor:
    """Convert an image with values from 0 to 1 to uint8."""
    return (255 * image).round().clamp(0, 255).to(torch.uint8)


def inpaint(
    flow: PlanModule,
    x: Tensor,
    mask: Region,
    context: Context | None = None,
    *,
    console: Console | None = None,
    **options: Any,
) -> Inpainting:
    """Fill masked pixels of one image (RG-Flow, Section 4 and App. D); see `Flow.inpaint`.

    Only the inference cone of the mask is evaluated, and unmasked pixels do not change, bit for bit. For samples, a
    search climbs from the smooth surface through the pixels around the hole to a mode of p(masked pixels | other
    pixels). A Gaussian there has the curvature of log p at the surface; another is learnt from samples of the flow.
    Chains of Hamiltonian Monte Carlo, which draw fillings, start from the one with the larger evidence lower bound: at
    draws of the Gaussian of the mode, or at particles annealed from that of samples, so that each mode gets chains by
    its mass. Without samples, Adam starts at the likeliest of random settings of the varied latents, which compete in
    groups, the coarsest level first, while the other latents are those of noise in the masked pixels.

    Args:
        flow: the flow.
        x: one image, (1, C, *shape), in the flow's own space; masked pixels may have any finite values.
        mask: a bool mask (H, W), true for the pixels to fill; or a span for each dimension.
        context: the context of the image; None for a flow without context.
        console: the console that shows progress; None shows it on terminals and in notebooks only.
        options: fields of `SearchOptions`.
    """
    for name in options:
        check_choice(name, [*SearchOptions.__dataclass_fields__, "console"], "an option of inpaint")
    search = SearchOptions(**options)
    progress_console = check_console(console)
    if search.samples:
        check_precise(flow.reference.dtype, "samples of fillings")
    with torch.inference_mode(False), torch.enable_grad():  # Adam needs gradients, whatever mode the caller is in
        local = Restriction(flow, x, mask, context)
        in_blocks = search.samples > 0 and local.pixels[0].numel() > TOGETHER
        unused = {"latents", "sweeps"} if search.samples else {"particles", "warmup", "iterations", "leapfrog"}
        unused -= {"sweeps"} if flow.of_angles else set()
        unused |= {"draws"} if search.samples and not flow.of_angles else set()
        unused |= {"particles"} if flow.of_angles else set()
        if passed := sorted(name for name in unused if options.get(name)):
            expected = f"no option that the search does not use, with samples={search.samples}"
            raise InputError(expected, ", ".join(passed))
        if not search.samples and options.get("keep", "likeliest") != "likeliest":
            raise InputError(f"samples for keep={search.keep!r}", "samples=0")
        if flow.of_angles and search.keep == "mean":
            raise InputError("keep='draw' or keep='likeliest' for angles, which have no mean", "keep='mean'")
        with threads_for_calls(x.device):
            if in_blocks:
                return _fill_blocks(local, flow, context, search, progress_console)
            if search.samples:
                tell_cost(local, search, progress_console)
                return _draw(local, flow, context, search, progress_console)
            return _search(local, search, progress_console)


def _fill_blocks(
    local: Restriction, flow: PlanModule, context: Context | None, search: SearchOptions, console: Console
) -> Inpainting:
    """Fill a hole block by block, each given the blocks before it, and the smooth surface in the blocks behind it."""
    hidden = local.hidden
    if (count := int(hidden.sum())) > MAX_HIDDEN:
        expected = f"at most {MAX_HIDDEN:,} masked pixels (reduce the image, fill parts of the hole, or samples=0)"
        raise InputError(expected, f"{count:,}")
    parts = blocks_of(hidden, local.pixels.shape[1])
    tell_cost(Restriction(flow, local.image, parts[0], context), search, console, len(parts))
    lattice = flow.plan.input
    image = local.image if flow.of_angles else biharmonic(local.image, hidden, lattice)
    kept = search.keep
    for part in parts:
        block = Restriction(flow, image, part, context)
        found = _draw(block, flow, context, search, console, in_block=True)
        image, kept = found.image, kept if found.plausible else found.kept
        if found.stopped:
            break
    log_prob = local.log_prob(image[:, :, hidden])[0].detach()
    return Inpainting(
        image, log_prob, image, log_prob[None], local.pixels[0].numel(), hidden, local.image,
        stopped=found.stopped, blocks=len(parts), kept=kept,
    )  # fmt: skip


def _search(local: Restriction, search: SearchOptions, console: Console) -> Inpainting:
    """Search for the likeliest filling among random ones, then climb."""
    stop, groups = Stop(), min(STARTS, search.draws)
    space = LatentSpace(local, search.latents)
    with ProgressBar("compete", console, at_once=True) as progress_bar:
        start = populate(space, groups, search.draws // groups, search.sweeps, progress_bar)
    steps = STEPS if search.steps is None else search.steps
    with ProgressBar("climb", console) as progress_bar:
        found, log_prob, history = climb(
            lambda part: local.log_prob(space.decode(part)), start, steps, RATE, progress_bar, stop
        )
    top = int(log_prob.argmax())
    image = local.fill(space.decode(found[top : top + 1]).detach())
    return Inpainting(
        image, log_prob[top], image, history, space.size, local.hidden, local.image, stopped=stop.requested
    )


def _draw(
    local: Restriction, flow: PlanModule, context: Context | None, search: SearchOptions, console: Console,
    in_block: bool = False,
) -> Inpainting:  # fmt: skip
    """Climb to a mode, and draw fillings by chains from the better of two Gaussians."""
    stop, shape = Stop(), local.pixels.shape[1:]
    particles, variables = max(search.particles, search.samples, LEAST), local.pixels[0].numel()

    def log_prob_of_row(row: Tensor) -> Tensor:  # (K, C n) to (K,)
        return LogProbInThreads.apply(row, lambda part: local.log_prob(part.unflatten(1, shape)))

    def log_prob_of_draws(rows: Tensor) -> Tensor:  # as many at once as there are chains: one recording
        return torch.cat([log_prob_of_row(part) for part in rows.split(max(search.samples, LEAST))])

    metric = partial(curvature, local, of_angles=flow.of_angles)
    if flow.of_angles:
        space, size = LatentSpace(local), max(search.draws // search.samples, 1)
        with ProgressBar("compete", console, at_once=True) as bar:
            starts = space.decode(populate(space, search.samples, size, search.sweeps, bar)).detach().flatten(1)
    else:
        surface = biharmonic(local.image, local.hidden, flow.plan.input)[:, :, local.hidden]
        starts = surface.flatten(1).expand(search.samples, -1)
    first, mass = starts[:1], torch.eye(variables).to(starts)
    mode, top, history = first, log_prob_of_row(first).detach(), log_prob_of_row(first).detach()
    with ProgressBar("climb", console, at_once=True) as bar, stop:
        mass = metric(first[0])
        to_row = whitening(mass)
        steps = STEPS_FROM_SURFACE if search.steps is None else search.steps
        found, top, history = ascend(
            lambda part: log_prob_of_row(first + part @ to_row.mT), torch.zeros_like(first), steps, bar, stop
        )
        mode = (first + found @ to_row.mT).detach()
    if not (flow.of_angles or stop.requested):
        laplace = MultivariateNormal(mode[0], scale_tril=_lower(whitening(mass)), validate_args=False)
        if search.particles:
            laplace, bound = scaled(laplace, log_prob_of_draws, particles, WIDER, 0.0)
        starts = laplace.sample((search.samples,))
        if search.particles and not in_block and local.image.numel() <= MAX_VARIABLES:
            learnt = gaussian_filling(flow, local.image, local.hidden, context)
            learnt, other_bound = scaled(learnt, log_prob_of_draws, particles)
            if other_bound > bound:
                with ProgressBar("anneal", console, at_once=True) as bar:
                    rows, mass = anneal(log_prob_of_row, metric, learnt, particles, search.leapfrog, bar, stop)
                starts = rows[torch.linspace(0, particles - 1, search.samples).long()]
    with ProgressBar("sample", console) as bar:
        lengths = search.warmup, search.iterations, search.leapfrog
        chains, values, acceptance = hmc(log_prob_of_row, starts, mass, *lengths, bar, stop)
    convergence = None if stop.requested and len(chains) < 2 else convergence_of(chains, values, acceptance)
    draws_per_chain = min(len(chains), -(-DRAWS_KEPT // search.samples))
    draws = chains[torch.linspace(len(chains) - 1, 0, draws_per_chain).long().flip(0)].flatten(0, 1)
    best = int(values.argmax())
    likeliest = mode if top >= values.max() else chains.flatten(0, 1)[best : best + 1]
    kept = {"draw": draws[medoid(draws)][None], "mean": draws.mean(0, keepdim=True), "likeliest": likeliest}[
        search.keep
    ]
    name, log_prob, at_surface = search.keep, log_prob_of_row(kept).detach(), log_prob_of_row(first).detach()
    if not flow.of_angles and log_prob < at_surface - variables / 2 - DEVIATIONS * (variables / 2) ** 0.5:
        name, kept, log_prob = "surface", first, at_surface

    def filled(rows: Tensor) -> Tensor:
        return local.fill(rows.unflatten(1, shape))

    return Inpainting(
        image=filled(kept), log_prob=log_prob[0], likeliest=filled(likeliest),
        history=torch.cat([history, values.max()[None]]) if likeliest is not mode else history,
        varied=variables, mask=local.hidden, original=local.image, samples=filled(chains[-1]), draws=filled(draws),
        convergence=convergence, stopped=stop.requested, kept=name,
    )  # fmt: skip


def _lower(factor: Tensor) -> Tensor:
    """The lower triangular L with L L^T = S S^T, for an upper triangular S."""
    return torch.linalg.cholesky(factor.double() @ factor.double().mT).to(factor)
