"""All tables of the analysis of a trained flow in one call."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from mera._utils.checks import check_choice
from mera._utils.errors import InputError
from mera._utils.random import fixed_seed
from mera.analysis.decompose import decompose
from mera.analysis.encode import encode_levels
from mera.analysis.factors import factors_of
from mera.analysis.latents import latents_of_level
from mera.analysis.mixing import mixing
from mera.analysis.receptive import extents, receptive_fields
from mera.analysis.statistics import statistics_of
from mera.analysis.strengths import strengths
from mera.display.table import Table, Tabled, numbers
from mera.flow import Flow

FIELDS = 16
"""The number of random latents of each level whose receptive fields are measured."""
STRENGTHS = 1024
"""The number of samples for the strengths of receptive fields."""
BATCH = 100
PAIRS = 2000
"""The number of pairs of latents for mutual information, for each pair of levels and each distance."""
TABLES = ("levels", "fields", "factors", "mixing")
NEED_FACTORS = ("factors", "mixing")


@dataclass(frozen=True, eq=False, repr=False)
class Finding(Tabled):
    """A table of numbers about a flow.

    Args:
        title: the title of the table.
        rows: the names of the rows.
        columns: the names of the columns.
        values: the numbers, (rows, columns); NaN for an empty cell.
        digits: the number of digits after the decimal point.
        note: an explanation of the columns.
    """

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: Tensor
    digits: int
    note: str

    @property
    def table(self) -> Table:
        """The numbers under the names of the columns."""
        return numbers(self.rows, self.columns, self.values.tolist(), self.digits)


def explain(
    flow: Flow,
    images: Tensor,
    factors: Mapping[str, Any] | None = None,
    samples: int = 16,
    seed: int = 0,
    only: Collection[str] = TABLES,
    progress: Callable[[str], None] = lambda title: None,
    show: Callable[[Finding], None] = lambda finding: None,
) -> list[Finding]:
    """Make tables of a trained flow: bits per level, receptive fields of latents, and factors that latents predict.

    Args:
        flow: the flow, which must not be conditional.
        images: test images (B, C, *shape), uint8.
        factors: known factors of the images by name, (B,) or (B, k); see `mera.analysis.factors`.
        samples: the number of samples over which receptive fields are averaged.
        seed: the seed of all random numbers except in the forests, whose seed is fixed.
        only: the tables to make, from "levels", "fields", "factors" and "mixing"; the last two need factors.
        progress: a function that is called with the name of each table before it is made.
        show: a function that is called with each table as soon as it is made.

    Returns:
        The tables, in the order levels, fields, factors, mixing; "levels" and "factors" make two tables each.

    Raises:
        ValueError: if there are too few images, a factor does not have a row for each image, or all requested tables
            need factors and there are none.
    """

    @cache
    def latents() -> list[Tensor]:
        """The latents of the images."""
        with fixed_seed(seed):
            return encode_levels(flow, images)

    make: dict[str, Callable[[], Iterable[Finding]]] = {
        "levels": lambda: _levels(flow, images, latents(), seed),
        "fields": lambda: [_reach(flow, samples, seed)],
        "factors": lambda: _knowledge(flow, latents(), factors or {}),
        "mixing": lambda: [_mixing(flow, images, factors or {}, seed)],
    }
    tables: list[Finding] = []
    for name in only:
        check_choice(name, TABLES, "a table")
    if not factors and set(only) <= set(NEED_FACTORS):
        raise InputError(f"data with known factors for {' and '.join(only)}", "none")
    for name in TABLES:
        if name in only and (factors or name not in NEED_FACTORS):
            progress(name)
            for finding in make[name]():
                show(finding)
                tables.append(finding)
    return tables


def _level_names(flow: Flow) -> tuple[str, ...]:
    """The names of the levels, with their lattices."""
    last = len(flow.plan.latents) - 1
    notes = {0: ", finest", last: ", coarsest"} if last else {}
    return tuple(f"{h} ({level.lattice}{notes.get(h, '')})" for h, level in enumerate(flow.plan.latents))


def _levels(flow: Flow, images: Tensor, latents: list[Tensor], seed: int) -> list[Finding]:
    """Tables of the bits and the latents of each level, and of mutual information by distance on the tree."""
    with fixed_seed(seed), torch.no_grad():
        bits, errors, constant = _bits(flow, images)
        stats = statistics_of(flow, latents, PAIRS)
    own = stats.information.diagonal()
    across = [stats.information[h][torch.arange(len(own)) != h].mean() for h in range(len(own))]
    moments = stats.mean, stats.std, stats.kurtosis, stats.distance
    values = torch.stack([bits, errors, *moments, 1e3 * own, 1e3 * torch.stack(across)], dim=1)
    prior = f"The prior has std {stats.prior_std:.2f} and excess kurtosis {stats.prior_kurtosis:.2f}."
    levels = Finding(
        "cost of each level, and its latents on data",
        _level_names(flow),
        (
            "bits/dim", "error", "rms of means", "std", "kurtosis", "KS distance",
            "information within", "information across",
        ),
        values, 3,
        f"bits/dim: with {constant:.3f} of the preprocessing they add up to {bits.sum() + constant:.3f}. KS: "
        f"Kolmogorov-Smirnov, to the prior. information: mean mutual information of two latents, 0.001 nats. {prior} "
        f"error: standard error over the {len(images)} images. rms of means: less the sampling noise of the images.",
    )  # fmt: skip
    tree = Finding(
        "mutual information of two latents by their distance on the tree",
        tuple(map(str, stats.tree_distances.tolist())),
        ("0.001 nats", "error"),
        1e3 * torch.stack([stats.tree_information, stats.tree_error], dim=1),
        2,
        "distance: steps up to the first common site and down again. error: standard error over pairs of latents.",
    )
    return [levels, tree]


def _bits(flow: Flow, images: Tensor) -> tuple[Tensor, Tensor, float]:
    """The mean bits per dimension of each level with their errors, (levels,) each, and those of the preprocessing."""
    bits, constant = [], []
    for batch in images.split(BATCH):
        x, log_det = flow.preprocess(batch.to(flow.device))
        bits.append(decompose(flow, x.to(flow.dtype)).bits())
        constant.append(-log_det.double() / (x[0].numel() * math.log(2)))
    all_bits = torch.cat(bits).double().cpu()
    return all_bits.mean(0), all_bits.std(0) / math.sqrt(len(all_bits)), torch.cat(constant).mean().item()


def _reach(flow: Flow, samples: int, seed: int) -> Finding:
    """The table of strengths and extents of receptive fields."""
    rows = []
    with fixed_seed(seed):
        norms = strengths(flow, STRENGTHS)
        for h, (level, errors) in enumerate(zip(norms, norms.errors, strict=True)):
            latents = latents_of_level(flow.plan, h)
            latents = [latents[i] for i in torch.randperm(len(latents))[:FIELDS].tolist()]
            extent = extents(receptive_fields(flow, latents, samples), flow.plan.input.periodic)
            cones = [flow.generation_cone(h, latent[2:]).pixels.sum().item() for latent in latents]
            rows.append([
                torch.tensor(cones).double().mean(), *_mean_and_error(extent.pixels), *_mean_and_error(extent.radius),
                level.median(), level.max(), errors.flatten()[level.argmax()], _top_tenth(level),
            ])  # fmt: skip
    return Finding(
        "receptive fields",
        _level_names(flow),
        (
            "cone, pixels",
            "field, pixels",
            "error of field",
            "radius",
            "error of radius",
            "median strength",
            "largest",
            "error of largest",
            "top tenth",
        ),
        torch.tensor([[float(cell) for cell in row] for row in rows], dtype=torch.float64),
        3,
        "cone: pixels that a latent can change. field: participation ratio of its receptive field; radius: its root "
        f"mean square; both are means over {FIELDS} latents at random. strength: Euclidean norm, geometric mean over "
        f"{STRENGTHS:,} samples. errors: standard errors, of the means over latents and of the strength. top tenth: "
        "the part of all strength that the strongest tenth of the latents have.",
    )


def _mean_and_error(values: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of independent values and its standard error; NaN for a single value."""
    spread = values.std() if len(values) > 1 else values.new_tensor(math.nan)
    return values.mean(), spread / len(values) ** 0.5


def _top_tenth(strengths: Tensor) -> Tensor:
    """The fraction of the sum of all strengths that belongs to the strongest tenth."""
    values = strengths.flatten().sort(descending=True).values
    return values[: max(1, round(len(values) / 10))].sum() / values.sum()


def _knowledge(flow: Flow, latents: list[Tensor], factors: Mapping[str, Any]) -> list[Finding]:
    """Tables of prediction scores and disentanglement scores of each level."""
    table = factors_of(latents, factors)
    n = len(table.names)
    names = tuple(f"{name}, {model}" for model in ("linear", "forest") for name in table.names)
    knowledge = Finding(
        "factors that each level predicts",
        _level_names(flow), names, torch.cat([table.scores, table.nonlinear], dim=1).double()[:, : 2 * n], 3,
        "R^2 on images that the regressors have not seen, or the balanced accuracy of classes.",
    )  # fmt: skip
    scores = torch.cat([table.dci, table.mig[:, None], table.sap[:, None]], dim=1).double()
    clean = Finding(
        "disentanglement of the factors in each level",
        _level_names(flow), ("DCI disentanglement", "DCI completeness", "MIG", "SAP"), scores, 3,
        "1 if each factor has a latent of its own.",
    )  # fmt: skip
    return [knowledge, clean]


def _mixing(flow: Flow, images: Tensor, factors: Mapping[str, Any], seed: int) -> Finding:
    """The table of weights of image A and image B in the factors of mixed images."""
    table = mixing(flow, images, factors, seed)
    names = tuple(f"{name}, {image}" for name in table.names for image in ("A", "B"))
    values = torch.stack([table.coarse, table.fine], dim=2).flatten(1)
    quality = ", ".join(f"{name} {score:.2f}" for name, score in zip(table.names, table.regressors, strict=True))
    return Finding(
        "mixing: level h and coarser levels of image A, finer levels of B",
        tuple(f"h = {level}" for level in range(len(values))), names, values, 3,
        f"The weights of A and B in the predictions of forests for the mixed image; scores of the forests: {quality}.",
    )  # fmt: skip
