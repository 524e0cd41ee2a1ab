"""Tables of what a flow has learnt, all of them in one call."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mera._utils.checks import check_choice
from mera._utils.errors import InputError
from mera._utils.random import fixed_seed
from mera.analysis.decompose import decompose
from mera.analysis.factors import factors as factor_table
from mera.analysis.latents import latents_of_level
from mera.analysis.mixing import mixing
from mera.analysis.receptive import extents, receptive_fields, strengths
from mera.analysis.statistics import statistics
from mera.flow import Flow

FIELDS = 16
"""Latents of each level, at random, whose receptive fields are measured."""
BATCH = 100
TABLES = ("levels", "fields", "factors", "mixing")
NEED_FACTORS = ("factors", "mixing")


@dataclass(frozen=True, eq=False)
class Finding:
    """A table of numbers about a flow.

    Args:
        title: what the table shows.
        rows: the names of the rows.
        columns: the names of the columns.
        values: the numbers, (rows, columns); NaN where there is none.
        digits: the digits behind the point that make sense.
        note: how to read the columns.
    """

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: Tensor
    digits: int
    note: str


def explain(
    flow: Flow,
    images: Tensor,
    factors: Mapping[str, Any] | None = None,
    samples: int = 16,
    seed: int = 0,
    only: Collection[str] = TABLES,
    progress: Callable[[str], None] = lambda title: None,
) -> list[Finding]:
    """Measure what a flow has learnt: where it pays, how far latents reach, and what they know.

    Args:
        flow: the flow, not a conditional one.
        images: test images (B, C, *shape), uint8.
        factors: known factors of the images by name, (B,) or (B, k); see `mera.analysis.factors`.
        samples: the number of latents over which receptive fields are averaged.
        seed: the seed of what is random, but for the forests, which are the same each time.
        only: the tables to make, among "levels", "fields", "factors" and "mixing"; the last two need factors.
        progress: called with the name of each table before it is made.

    Returns:
        The tables, in this order; "levels" and "factors" make two each.

    Raises:
        ValueError: if there are too few images, or a factor has not one row for each of them, or there is none
            for tables that all need one.
    """
    make: dict[str, Callable[[], Iterable[Finding]]] = {
        "levels": lambda: _levels(flow, images, seed),
        "fields": lambda: [_reach(flow, samples, seed)],
        "factors": lambda: _knowledge(flow, images, factors or {}, seed),
        "mixing": lambda: [_mixing(flow, images, factors or {}, seed)],
    }
    found: list[Finding] = []
    for name in only:
        check_choice(name, TABLES, "a table")
    if not factors and set(only) <= set(NEED_FACTORS):
        raise InputError(f"data with known factors for {' and '.join(only)}", "none")
    for name in TABLES:
        if name in only and (factors or name not in NEED_FACTORS):
            progress(name)
            found += make[name]()
    return found


def _level_names(flow: Flow) -> tuple[str, ...]:
    """The names of the levels, with their lattices."""
    last = len(flow.plan.latents) - 1
    notes = {0: ", finest", last: ", coarsest"} if last else {}
    return tuple(f"{h} ({level.lattice}{notes.get(h, '')})" for h, level in enumerate(flow.plan.latents))


def _levels(flow: Flow, images: Tensor, seed: int) -> list[Finding]:
    """What each level costs, and its latents against the prior; and their dependence."""
    with fixed_seed(seed), torch.no_grad():
        bits, constant = _bits(flow, images)
    found = statistics(flow, images, seed=seed)
    own = found.information.diagonal()
    across = [(found.information[h].sum() - own[h]) / (len(own) - 1 or math.nan) for h in range(len(own))]
    values = torch.stack(
        [bits, found.mean, found.std, found.kurtosis, found.distance, 1e3 * own, 1e3 * torch.stack(across)],
        dim=1,
    )
    prior = f"The prior has std {found.prior_std:.2f} and excess kurtosis {found.prior_kurtosis:.2f}."
    levels = Finding(
        "what each level costs, and its latents on data",
        _level_names(flow),
        ("bits/dim", "rms of means", "std", "kurtosis", "KS distance", "information within", "information across"),
        values, 3,
        f"bits/dim: with {constant:.3f} of the preprocessing they add up to {bits.sum() + constant:.3f}. KS: "
        f"Kolmogorov-Smirnov, to the prior. information: mean mutual information of two latents, 0.001 nats. {prior}",
    )  # fmt: skip
    tree = Finding(
        "mutual information of two latents by their distance on the tree",
        tuple(map(str, found.tree_distances.tolist())),
        ("0.001 nats", "error"),
        1e3 * torch.stack([found.tree_information, found.tree_error], dim=1),
        2,
        "distance: steps up to the first common site and down again. error: standard error over pairs of latents.",
    )
    return [levels, tree]


def _bits(flow: Flow, images: Tensor) -> tuple[Tensor, float]:
    """The mean bits per dimension of each level, (levels,), and those of the preprocessing."""
    bits, constant = [], []
    for some in images.split(BATCH):
        x, log_det = flow.preprocess(some.to(flow.device))
        bits.append(decompose(flow, x.to(flow.dtype)).bits())
        constant.append(-log_det.double() / (x[0].numel() * math.log(2)))
    return torch.cat(bits).double().mean(0).cpu(), torch.cat(constant).mean().item()


def _reach(flow: Flow, samples: int, seed: int) -> Finding:
    """How strong receptive fields are, and how far they reach."""
    rows = []
    with fixed_seed(seed):
        norms = strengths(flow, samples)
        for h, level in enumerate(norms):
            everything = latents_of_level(flow.plan, h)
            some = [everything[i] for i in torch.randperm(len(everything))[:FIELDS].tolist()]
            extent = extents(receptive_fields(flow, some, samples), flow.plan.input.periodic)
            cones = [flow.generation_cone(h, latent[2:]).pixels.sum().item() for latent in some]
            rows.append([
                torch.tensor(cones).double().mean(), extent.pixels.mean(), extent.radius.mean(),
                level.median(), level.max(), _top_tenth(level),
            ])  # fmt: skip
    return Finding(
        "receptive fields",
        _level_names(flow),
        ("cone, pixels", "field, pixels", "radius", "median strength", "largest", "top tenth"),
        torch.tensor([[float(cell) for cell in row] for row in rows], dtype=torch.float64),
        3,
        f"cone: pixels that a latent can change. field: participation ratio of its receptive field; radius: its root "
        f"mean square; both for {FIELDS} latents at random. strength: Euclidean norm. top tenth: the part of all "
        "strength that the strongest tenth of the latents have.",
    )


def _top_tenth(strengths: Tensor) -> Tensor:
    """The part of the sum of strengths that the strongest tenth of them has."""
    values = strengths.flatten().sort(descending=True).values
    return values[: max(1, round(len(values) / 10))].sum() / values.sum()


def _knowledge(flow: Flow, images: Tensor, factors: Mapping[str, Any], seed: int) -> list[Finding]:
    """How well the levels predict factors, and how cleanly."""
    with fixed_seed(seed):
        table = factor_table(flow, images, factors)
    n = len(table.names)
    names = tuple(f"{name}, {how}" for how in ("linear", "forest") for name in table.names)
    knowledge = Finding(
        "which level knows which factor",
        _level_names(flow), names, torch.cat([table.scores, table.nonlinear], dim=1).double()[:, : 2 * n], 3,
        "R^2 on images that the regressors have not seen, or the balanced accuracy of classes.",
    )  # fmt: skip
    scores = torch.cat([table.dci, table.mig[:, None], table.sap[:, None]], dim=1).double()
    clean = Finding(
        "how cleanly each level holds the factors",
        _level_names(flow), ("DCI disentanglement", "DCI completeness", "MIG", "SAP"), scores, 3,
        "1 if each factor has a latent of its own.",
    )  # fmt: skip
    return [knowledge, clean]


def _mixing(flow: Flow, images: Tensor, factors: Mapping[str, Any], seed: int) -> Finding:
    """Which factors of mixed images follow the coarse levels."""
    table = mixing(flow, images, factors, seed)
    names = tuple(f"{name}, {image}" for name in table.names for image in ("A", "B"))
    values = torch.stack([table.coarse, table.fine], dim=2).flatten(1)
    quality = ", ".join(f"{name} {score:.2f}" for name, score in zip(table.names, table.regressors, strict=True))
    return Finding(
        "mixing: levels from h on of image A, the others of B",
        tuple(f"h = {level}" for level in range(len(values))), names, values, 3,
        f"The weights of A and B in what forests read off the mixed image; how well they read factors: {quality}.",
    )  # fmt: skip
