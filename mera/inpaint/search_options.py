"""The options of inpainting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from mera._utils.options import Option, check_fields, count, documented


@documented
@dataclass(frozen=True)
class SearchOptions:
    """Options of `Flow.inpaint`: the search for the likeliest filling, and the sampling of plausible fillings."""

    latents: Annotated[
        int | None,
        Option(
            "number of latents of the flow, chosen at random, that are varied; if None, those in the inference cone of "
            "the mask, which are all that matter.",
        ),
    ] = None
    draws: Annotated[
        int,
        Option(
            "number of random settings of the variables that compete without samples, where the likeliest start Adam, "
            "or where chains do not begin at particles: of angles and of large images.",
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
        int | None, Option("number of steps of Adam; if None, 300, or 15 where it begins at draws.", count(0))
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
            "number of particles that are annealed to start the chains, but for angles and for large images.",
            count(8),
        ),
    ] = 32
    warmup: Annotated[int, Option("number of iterations in which a chain tunes its step size.", count(0))] = 20
    iterations: Annotated[
        int, Option("number of iterations of a chain after the warm-up, from which convergence is estimated.", count(4))
    ] = 20
    leapfrog: Annotated[int, Option("largest number of leapfrog steps in an iteration of a chain.", count(1))] = 5

    def __post_init__(self) -> None:
        check_fields(self)
