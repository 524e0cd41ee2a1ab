"""How inpainting searches and samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from mera._utils.checks import check_choice
from mera._utils.options import Option, check_fields, choice, count, documented, positive

__all__ = ["SearchOptions"]


def _which_latents(value: Any, name: str) -> str | int:
    """Refuse what is neither "cone", "all" nor a number of latents, which the flow itself bounds."""
    return check_choice(value, ["cone", "all"], "latents to vary") if isinstance(value, str) else value


@documented
@dataclass(frozen=True)
class SearchOptions:
    """How `Flow.inpaint` searches for the likeliest filling and samples the plausible ones.

    Raises:
        ValueError: if a value makes no sense.
    """

    space: Annotated[
        str,
        Option(
            '"latent" to vary latents, "pixel" to vary the masked pixels themselves.',
            choice(["latent", "pixel"], "a space"),
        ),
    ] = "latent"
    latents: Annotated[
        str | int,
        Option(
            'which latents are varied: "cone" for the ones in the inference cone of the mask, "all", or how many, '
            "chosen at random.",
            _which_latents,
        ),
    ] = "cone"
    draws: Annotated[int, Option("random settings of the variables, of which the likeliest go on.", count(1))] = 200
    starts: Annotated[
        int,
        Option(
            "how many of the likeliest draws Adam starts from, side by side; with `samples`, at least that many.",
            count(1),
        ),
    ] = 4
    steps: Annotated[int, Option("steps of Adam.", count(0))] = 300
    lr: Annotated[
        float,
        Option(
            "learning rate of Adam, which falls to zero along half a cosine.",
            positive("a learning rate"),
        ),
    ] = 0.05
    samples: Annotated[
        int,
        Option(
            "chains of Hamiltonian Monte Carlo, each of which ends in one filling drawn from the posterior.", count(0)
        ),
    ] = 0
    warmup: Annotated[int, Option("iterations in which a chain tunes its step size.", count(0))] = 300
    iterations: Annotated[
        int, Option("iterations of a chain after the warm-up, by which mixing is judged.", count(4))
    ] = 200
    leapfrog: Annotated[int, Option("the most leapfrog steps in an iteration of a chain.", count(1))] = 16

    def __post_init__(self) -> None:
        check_fields(self)
