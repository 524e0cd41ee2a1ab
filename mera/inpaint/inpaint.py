"""Inpainting, from a restricted flow to its result."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mera._utils.checks import check_choice
from mera._utils.progress import ProgressBar, check_console
from mera.cones import Region, Restriction
from mera.graph.runner import Runner
from mera.inpaint.hmc import hmc
from mera.inpaint.mixing import Mixing, effective_size, split_r_hat
from mera.inpaint.mode import best_draw, climb
from mera.inpaint.options import SearchOptions
from mera.inpaint.spaces import choose_space

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Inpainting", "inpaint"]

ROWS = 128
"""Rows of a Jacobian that are evaluated together."""


@dataclass(frozen=True, eq=False)
class Inpainting:
    """An image whose masked pixels were filled.

    Args:
        image: the most likely filling that was found, (1, C, *shape); the other pixels are what they were, bit for bit.
        log_prob: log p of `image`, in nats, a scalar.
        history: log p of the likeliest filling at each step of the search, (steps + 1,).
        varied: how many variables the search varied. Latents outside the cone count, if some were chosen, though no
            masked pixel moves with them.
        samples: fillings drawn from p(masked pixels | other pixels), (S, C, *shape); None if none were asked for.
        mixing: how well the chains that drew the samples mix; None without samples.
    """

    image: Tensor
    log_prob: Tensor
    history: Tensor
    varied: int
    samples: Tensor | None = None
    mixing: Mixing | None = None

    def __repr__(self) -> str:
        drawn = "" if self.samples is None else f", {len(self.samples)} samples ({self.mixing})"
        return f"Inpainting(log_prob={self.log_prob:.1f}, {self.varied:,} variables varied{drawn})"


def inpaint(
    runner: Runner,
    x: Tensor,
    mask: Region,
    context: Tensor | None = None,
    *,
    console: Console | None = None,
    **options: Any,
) -> Inpainting:
    """Fill masked pixels of one image (paper, Section 4 and App. D).

    Masked pixels are first filled with noise; the likeliest of some random settings of the variables go on to Adam,
    which maximises log p of the filled image. Only the inference cone of the mask is evaluated, and pixels that are not
    masked stay as they are, bit for bit. If samples are asked for, chains of Hamiltonian Monte Carlo then start from
    what Adam found and draw fillings from p(masked pixels | other pixels).

    Args:
        runner: the flow's plan with its bijectors, prior and contexts.
        x: one image, (1, C, *shape), in the flow's own space; under the mask any finite numbers will do.
        mask: a bool mask (H, W) of the pixels to fill, or a span for each dimension.
        context: for a conditional flow: the context of this image.
        console: where progress is shown; nowhere if None.
        options: the fields of `SearchOptions`.

    Raises:
        ValueError: see `Restriction` and `SearchOptions`; or if an option is unknown.
    """
    for name in options:
        check_choice(name, [*SearchOptions.__dataclass_fields__, "console"], "an option of inpaint")
    search = SearchOptions(**options)
    shown_on = check_console(console)
    with torch.inference_mode(False), torch.enable_grad():  # Adam needs gradients, whatever mode the caller is in
        local = Restriction(runner, x, mask, context)
        return _search(local, search, shown_on)


def _search(local: Restriction, search: SearchOptions, console: Console) -> Inpainting:
    """Find the likeliest filling, then draw samples around it."""
    space = choose_space(local, search.space, search.latents)
    start = best_draw(local, space, search.draws, min(max(search.starts, search.samples), search.draws))
    with ProgressBar("fill", console) as progress_bar:
        pixels, log_prob, history = climb(local, space, start, search.steps, search.lr, progress_bar)
    top = int(log_prob.argmax())
    likeliest = Inpainting(local.fill(pixels[top : top + 1]), log_prob[top], history, space.size)
    if not search.samples:
        return likeliest
    starts = pixels.flatten(1)[torch.arange(search.samples) % len(pixels)]
    with ProgressBar("sample", console) as progress_bar:
        chains, mixing = _sample(local, starts, search, progress_bar)
    return replace(likeliest, samples=local.fill(chains[-1].unflatten(1, pixels.shape[1:])), mixing=mixing)


def _sample(
    local: Restriction, start: Tensor, search: SearchOptions, progress_bar: ProgressBar
) -> tuple[Tensor, Mixing]:
    """Chains (iterations, K, C n) from the density of the masked pixels given the others, and how well they mix."""
    shape = local.pixels.shape[1:]

    def log_prob(row: Tensor) -> Tensor:
        return local.log_prob(row.unflatten(1, shape))

    def metric(row: Tensor) -> Tensor:
        """J^T J of the latents with respect to the pixels: minus the second derivatives of a unit Gaussian prior."""
        jacobians = torch.stack([_jacobian(local, one.unflatten(0, shape)) for one in row])
        return jacobians.mT @ jacobians

    chains, values, acceptance = hmc(
        log_prob, metric, start, search.warmup, search.iterations, search.leapfrog, progress_bar
    )
    watched = torch.cat([chains, values[..., None]], dim=2)
    r_hat, effective = split_r_hat(watched).max().item(), effective_size(watched).min().item()
    return chains, Mixing(acceptance, r_hat, effective, chains.shape[0] * chains.shape[1])


def _jacobian(local: Restriction, pixels: Tensor) -> Tensor:
    """d encode / d pixels (C, n), as (latents, C n): a row for each latent, many rows at once."""
    latents = sum(channels * n for channels, n in local.latent_shapes)
    rows = []
    for part in torch.arange(latents, device=pixels.device).split(ROWS):
        copies = pixels.detach().expand(ROWS, -1, -1).clone().requires_grad_()  # as many for a last, shorter part
        z = torch.cat([level.flatten(1) for level in local.encode(copies)], dim=1)
        own = z[torch.arange(len(part), device=z.device), part]  # of each copy the latent whose row it is for
        (gradient,) = torch.autograd.grad(own.sum(), copies)
        rows.append(gradient[: len(part)].flatten(1))
    return torch.cat(rows)
