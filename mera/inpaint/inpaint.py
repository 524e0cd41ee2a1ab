"""Inpainting of one image: a search for the likeliest filling, then sampling of plausible fillings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mera._utils.checks import check_choice, check_precise
from mera._utils.drawn import Drawn
from mera._utils.errors import InputError
from mera._utils.progress import ProgressBar, check_console
from mera._utils.torch_modes import threads_for_calls
from mera.cones import Region, Restriction
from mera.executor.contexts import Context
from mera.executor.plan_module import PlanModule
from mera.inpaint.blocks import MAX_HIDDEN, TOGETHER, blocks_of, tell_cost
from mera.inpaint.gaussian import gaussian_filling, regression, scaled
from mera.inpaint.metric import curvature
from mera.inpaint.posterior import Convergence, LogProbInThreads, Stop, anneal, convergence_of, hmc
from mera.inpaint.search import LatentSpace, climb, populate
from mera.inpaint.search_options import SearchOptions

if TYPE_CHECKING:
    from rich.console import Console

MAX_VARIABLES = 2**20
"""The most variables of an image or window of which a Gaussian is learnt from samples of the flow."""
DRAWS_KEPT = 64
"""The approximate number of draws that are kept for the mean and the spread."""
ADAM, ADAM_FROM_DRAWS = (300, 0.05), (15, 0.1)
"""The steps and the learning rate of Adam from random settings, and from draws."""
STARTS = 4
"""The number of starting points of Adam without samples, side by side, each from a group of draws."""


@dataclass(frozen=True, eq=False)
class Inpainting(Drawn):
    """The result of inpainting an image.

    Args:
        image: the filled image, (1, C, *shape): the medoid of the draws, which is the draw with the smallest mean
            distance to all draws, or the likeliest filling without samples.
            Unmasked pixels are unchanged, bit for bit.
        log_prob: log p of `image`, in nats, a scalar.
        likeliest: the image with the likeliest filling of the search, which is often smoother than any sample.
        history: log p of the likeliest filling at each step of the search, (steps + 1,) or fewer after Ctrl-C; the
            largest is that of `likeliest`.
        varied: the number of variables that the search varied, including randomly chosen latents outside of the cone;
            0 if Ctrl-C came before it.
        mask: the pixels that were filled, a bool mask of the images.
        original: the image before, (1, C, *shape).
        samples: images with fillings drawn from p(masked pixels | other pixels), (S, C, *shape); None if no samples
            were requested.
        draws: evenly spaced draws of the chains, (D, C, *shape), the last of which are `samples`; None without samples.
        convergence: diagnostics of the chains that drew the samples; None without samples, or if Ctrl-C came first.
        stopped: whether Ctrl-C ended the search or the sampling early; what was found until then is kept.
        blocks: the number of blocks in which a large hole was filled, each given those before it; `image` is then one
            plausible filling, and there are no samples.
        pictures: by name, uint8 images (C, H, W) for notebooks: the original image and the likeliest filling; with
            samples, also the medoid, mean and spread of the draws, and the samples; values are from 0 to 1, and the
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
    pictures: dict[str, Tensor] | None = None

    @torch.no_grad()
    def with_pictures(self, to_images: Callable[[Tensor], Tensor]) -> Inpainting:
        """The inpainting with `pictures`, made by `Flow.to_images`."""
        pictures = {"the image": to_images(self.original)[0], "likeliest": to_images(self.likeliest)[0]}
        if self.draws is not None and self.samples is not None:
            draws = to_images(self.draws).float() / 255
            spread = draws.std(0, correction=0)
            white = max(round(spread.max().item(), 2), 0.01)
            pictures |= {"medoid": to_images(self.image)[0], "mean": _uint8(draws.mean(0)),
                         f"spread, {white} is white": _uint8(spread / white)}  # fmt: skip
            pictures |= {f"sample {i}": image for i, image in enumerate(to_images(self.samples), start=1)}
        return replace(self, pictures=pictures)

    def __repr__(self) -> str:
        drawn = "" if self.samples is None else f", {len(self.samples)} samples ({self.convergence})"
        if self.blocks > 1:
            drawn = ", stopped" if self.stopped else f", one plausible filling of {self.blocks} blocks in turn"
        return f"Inpainting(log_prob={self.log_prob:.1f}, {self.varied:,} variables varied{drawn})"


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

    Only the inference cone of the mask is evaluated, and unmasked pixels do not change, bit for bit. For samples,
    particles are annealed from a Gaussian, which is learnt from samples of the flow, to p(masked pixels |
    other pixels), so that they start by mass; the likeliest filling of a picture is often blank, and holds next to no
    mass. Chains of Hamiltonian Monte Carlo then begin at some of the particles, and draw fillings. Adam maximises log p
    from the last draws. Without samples, it starts at the likeliest of random settings of the varied variables, which
    compete in groups, the coarsest level first, while the other variables are those of noise in the masked pixels.

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
        unused = {"draws", "sweeps"} if _begins_at_gaussian(local, flow) else {"particles"}
        unused |= {"steps", "latents"} if local.pixels[0].numel() > TOGETHER else set()
        unused = unused if search.samples else {"particles", "warmup", "iterations", "leapfrog"}
        if passed := sorted(name for name in unused if options.get(name)):
            expected = f"no option that the search does not use, with samples={search.samples}"
            raise InputError(expected, ", ".join(passed))
        with threads_for_calls(x.device):
            if search.samples and local.pixels[0].numel() > TOGETHER:
                return _fill_blocks(local, flow, context, search, progress_console)
            if search.samples:
                tell_cost(local, search, progress_console)
            return _search(local, flow, context, search, progress_console)


def _fill_blocks(
    local: Restriction, flow: PlanModule, context: Context | None, search: SearchOptions, console: Console
) -> Inpainting:
    """Fill a large hole block by block, each given the blocks before it, and a regression for the blocks behind it."""
    hidden, search = local.hidden, replace(search, steps=0)
    if (count := int(hidden.sum())) > MAX_HIDDEN:
        expected = f"at most {MAX_HIDDEN:,} masked pixels (reduce the image, fill parts of the hole, or samples=0)"
        raise InputError(expected, f"{count:,}")
    parts, varied = blocks_of(hidden, local.pixels.shape[1]), 0
    tell_cost(Restriction(flow, local.image, parts[0], context), search, console, len(parts))
    start = regression(flow, local.image, hidden, context)[0].to(local.pixels)
    image = local.fill(start.view(1, *local.pixels.shape[1:]))
    for part in parts:
        block = Restriction(flow, image, part, context)
        found = _search(block, flow, context, search, console)
        image, varied = found.image, varied + found.varied
        if found.stopped:
            break
    log_prob = local.log_prob(image[:, :, hidden])[0].detach()
    return Inpainting(
        image, log_prob, image, log_prob[None], min(varied, image.numel()), hidden, local.image,
        stopped=found.stopped, blocks=len(parts),
    )  # fmt: skip


def _search(
    local: Restriction, flow: PlanModule, context: Context | None, search: SearchOptions, console: Console
) -> Inpainting:
    """Draw samples, or search for the likeliest filling among random ones, then climb."""
    stop = Stop()
    drawn: dict[str, Any] = {}
    if search.samples:
        pixels, log_prob, drawn = _draw(local, flow, context, search, console, stop)
        history, varied = log_prob.max()[None], 0
    if not stop.requested:
        if search.samples:
            space = LatentSpace(local, search.latents, pixels[:1])
            start = space.latents(pixels)
        else:
            groups = min(STARTS, search.draws)
            space = LatentSpace(local, search.latents)
            with ProgressBar("compete", console, at_once=True) as progress_bar:
                start = populate(space, groups, search.draws // groups, search.sweeps, progress_bar)
        steps, lr = ADAM_FROM_DRAWS if search.samples else ADAM
        steps = steps if search.steps is None else search.steps
        with ProgressBar("climb", console) as progress_bar:
            pixels, log_prob, history = climb(space, start, steps, lr, progress_bar, stop)
        varied = space.size
    top = int(log_prob.argmax())
    image = local.fill(pixels[top : top + 1])
    base = {"image": image, "log_prob": log_prob[top]} | drawn
    return Inpainting(
        **base, likeliest=image, history=history, varied=varied, mask=local.hidden, original=local.image,
        stopped=stop.requested,
    )  # fmt: skip


def _begins_at_gaussian(local: Restriction, flow: PlanModule) -> bool:
    """Return whether chains begin at particles that were annealed from a Gaussian, not at fillings that competed."""
    return not flow.of_angles and local.image.numel() <= MAX_VARIABLES


def _draw(
    local: Restriction, flow: PlanModule, context: Context | None, search: SearchOptions, console: Console, stop: Stop
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """The last fillings of all chains, (S, C, n), their log p (S,), and fields of an `Inpainting` from all draws."""
    shape = local.pixels.shape[1:]

    def log_prob_of_row(row: Tensor) -> Tensor:  # (K, C n) to (K,)
        return LogProbInThreads.apply(row, lambda part: local.log_prob(part.unflatten(1, shape)))

    metric = partial(curvature, local, of_angles=flow.of_angles)
    if not _begins_at_gaussian(local, flow):
        space, size = LatentSpace(local), max(search.draws // search.samples, 1)
        with ProgressBar("compete", console, at_once=True) as bar:
            latents = populate(space, search.samples, size, search.sweeps, bar)
        starts = space.decode(latents).flatten(1)
        mass = metric(starts[0])
    else:
        particles = max(search.particles, search.samples)
        with ProgressBar("anneal", console, at_once=True) as bar:
            gaussian = scaled(gaussian_filling(flow, local.image, local.hidden, context), log_prob_of_row, particles)
            rows, mass = anneal(log_prob_of_row, metric, gaussian, particles, search.leapfrog, bar, stop)
        starts = rows[torch.linspace(0, particles - 1, search.samples).long()]
    with ProgressBar("sample", console) as bar:
        lengths = search.warmup, search.iterations, search.leapfrog
        chains, values, acceptance = hmc(log_prob_of_row, metric, starts, mass, *lengths, bar, stop)
    convergence = None if stop.requested and len(chains) < 2 else convergence_of(chains, values, acceptance)
    draws_per_chain = min(len(chains), -(-DRAWS_KEPT // search.samples))
    kept = torch.linspace(len(chains) - 1, 0, draws_per_chain).long().flip(0)
    draws = chains[kept].flatten(0, 1).unflatten(1, shape)
    rows = draws.flatten(1)
    medoid = int(torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist").sum(1).argmin())
    last = chains[-1].unflatten(1, shape)
    fields: dict[str, Any] = {
        "image": local.fill(draws[medoid : medoid + 1]),
        "log_prob": values[kept].flatten()[medoid],
    }
    fields |= {"samples": local.fill(last), "draws": local.fill(draws), "convergence": convergence}
    return last, values[-1], fields
