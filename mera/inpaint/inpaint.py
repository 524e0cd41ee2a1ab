"""Inpainting, from a restricted flow to its result."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real

import torch
from rich.console import Console
from torch import Tensor

from mera._utils.checks import is_integer
from mera._utils.progress import ProgressBar
from mera.cones import Restriction
from mera.inpaint.hmc import hmc
from mera.inpaint.mixing import Mixing, effective_size, split_r_hat
from mera.inpaint.mode import best_draw, climb
from mera.inpaint.spaces import choose_space

__all__ = ["Inpainting", "inpaint"]

ROWS = 128
"""Rows of a Jacobian that are evaluated together."""


@dataclass(frozen=True, eq=False)
class Inpainting:
    """What came of filling the masked pixels of an image.

    Args:
        image: (1, C, *shape), the most likely filling that was found; known pixels are what they were, bit for bit.
        log_prob: its log p, in nats, a scalar.
        history: log p of the likeliest filling at each step, (steps + 1,).
        varied: how many variables were varied to find it. Latents outside the cone count, if some were chosen, though
            no masked pixel moves with them.
        samples: (S, C, *shape), fillings drawn from p(masked | known), or None if none was asked for.
        mixing: how well the chains that drew them mix.
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
    local: Restriction,
    *,
    space: str,
    latents: str | int,
    draws: int,
    starts: int,
    steps: int,
    lr: float,
    samples: int,
    warmup: int,
    iterations: int,
    leapfrog: int,
    console: Console | None,
) -> Inpainting:
    """Fill masked pixels; `Flow.inpaint` says how."""
    for name, value, least in (
        ("draws", draws, 1), ("starts", starts, 1), ("steps", steps, 0), ("samples", samples, 0),
        ("warmup", warmup, 0), ("iterations", iterations, 4), ("leapfrog", leapfrog, 1),
    ):  # fmt: skip
        if not is_integer(value) or value < least:
            raise ValueError(f"Expected {name} as an integer >= {least}; got {value!r}")
    if not isinstance(lr, Real) or isinstance(lr, bool) or not 0 < lr < math.inf:
        raise ValueError(f"Expected a positive learning rate; got {lr!r}")
    console = console or Console(quiet=True)
    with torch.enable_grad():
        coordinates = choose_space(local, space, latents)
        start = best_draw(local, coordinates, draws, min(max(starts, samples), draws))
        with ProgressBar("fill", console) as progress_bar:
            pixels, log_prob, history = climb(local, coordinates, start, steps, lr, progress_bar)
        top = int(log_prob.argmax())
        best = local.fill(pixels[top : top + 1]), log_prob[top], history, coordinates.size
        if not samples:
            return Inpainting(*best)
        chains = pixels.flatten(1)[torch.arange(samples) % len(pixels)]
        with ProgressBar("sample", console) as progress_bar:
            traced, mixing = _sample(local, chains, warmup, iterations, leapfrog, progress_bar)
        return Inpainting(*best, local.fill(traced[-1].unflatten(1, pixels.shape[1:])), mixing)


def _sample(
    local: Restriction, start: Tensor, warmup: int, iterations: int, leapfrog: int, progress_bar: ProgressBar
) -> tuple[Tensor, Mixing]:
    """Chains (iterations, K, C n) from the density of the masked pixels given the known ones."""
    shape = local.pixels.shape[1:]

    def log_prob(row: Tensor) -> Tensor:
        return local.log_prob(row.unflatten(1, shape))

    def metric(row: Tensor) -> Tensor:
        """J^T J of the latents with respect to the pixels: minus the second derivatives of a unit Gaussian prior."""
        jacobians = torch.stack([_jacobian(local, one.unflatten(0, shape)) for one in row])
        return jacobians.mT @ jacobians

    chains, values, acceptance = hmc(log_prob, metric, start, warmup, iterations, leapfrog, progress_bar)
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
