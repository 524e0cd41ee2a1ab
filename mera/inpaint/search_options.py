"""The options of inpainting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from mera._utils.options import Option, check_fields, choice, count, documented

KEPT = ("draw", "mean", "likeliest")
"""The fillings to choose from: a draw has texture, the mean has the least error, the likeliest is the smoothest."""


@documented
@dataclass(frozen=True)
class SearchOptions:
    """Options of `Flow.inpaint`: the search for the likeliest filling, and the sampling of plausible fillings."""

    keep: Annotated[
        str,
        Option(
            "which filling is kept: a draw, the mean of the draws, which is smoother and has a smaller error, or the "
            "likeliest filling, the only one without samples.",
            choice(KEPT, "a kind of filling"),
        ),
    ] = "draw"
    latents: Annotated[
        int | None,
        Option(
            "number of latents of the flow, chosen at random, that are varied without samples; if None, those in the "
            "inference cone of the mask, the only ones that matter.",
        ),
    ] = None
    draws: Annotated[
        int,
        Option(
            "number of random settings of the variables that compete without samples, where the likeliest start Adam, "
            "and for angles, where they start the chains.",
            count(1),
        ),
    ] = 200
    sweeps: Annotated[
        int,
        Option(
            "how often each level of latents is drawn anew in the competition, the coarsest level first; 0 to take the "
            "likeliest of the random settings.",
            count(0),
        ),
    ] = 4
    steps: Annotated[
        int | None,
        Option(
            "number of steps of the search; if None, 300 of Adam, or 30 of L-BFGS from a surface, with samples.",
            count(0),
        ),
    ] = None
    samples: Annotated[
        int,
        Option(
            "number of samples of plausible fillings, each the end of a chain of Hamiltonian Monte Carlo; 0 for the "
            "likeliest filling alone.",
            count(0),
        ),
    ] = 8
    particles: Annotated[
        int,
        Option(
            "number of particles, with which the Gaussian at a mode is compared with that of samples of the flow, and "
            "which are annealed from the latter if it is the better one; 0 for the Gaussian at a mode alone, unscaled.",
            count(0),
        ),
    ] = 32
    warmup: Annotated[int, Option("number of iterations in which a chain tunes its step size.", count(0))] = 8
    iterations: Annotated[
        int, Option("number of iterations of a chain after the warm-up, from which convergence is estimated.", count(4))
    ] = 12
    leapfrog: Annotated[int, Option("largest number of leapfrog steps in an iteration of a chain.", count(1))] = 4

    def __post_init__(self) -> None:
        check_fields(self)
