"""Claims of the RG-Flow paper (https://arxiv.org/abs/2010.00029) in numbers: receptive fields, factors, and mixing.

    python examples/paper_tables.py msds1
    python examples/paper_tables.py comparison/msds1/rgflow/seed* --data msds1 --only fields

A flow is a run, a file of `mera.save` or a flow of the package. The script prints four tables by level: "fields" has
the extents of receptive fields: the pixels of the generation cone, the participation ratio and the radius;
"strengths" those of `mera.analysis.strengths`; "factors" how well the latents of a level predict known factors of
other images; "mixing" the weights of both images in the factors of mixed images. The last two need scikit-learn. Of
several flows, it prints means and their standard errors.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

import mera
from mera._utils.random import fixed_seed
from mera._utils.table import Table, plus_minus
from mera.analysis import factors as linear_factors
from mera.analysis import mix, receptive_fields, strengths
from mera.analysis.factors import in_random_order, is_classes, score
from mera.analysis.latents import BATCH, encode_levels
from mera.train.evaluate import mean_and_error

FOREST_PIXELS, FOREST_LATENTS = 100, 30
"""The number of variables of an image, or of a level, that a forest uses: those most correlated with the factor."""
TREES = 100
TITLES = {
    "fields": "extents of receptive fields",
    "strengths": "strengths of receptive fields: Euclidean norms, geometric means over samples",
    "factors": "known factors that each level predicts: R^2 or balanced accuracy on other images",
    "mixing": "weights in the factors of image A, which gives level h and coarser ones, and of image B",
}
"""The title of each table by its name."""


def extents(fields: Tensor, periodic: Sequence[bool]) -> tuple[Tensor, Tensor]:
    r"""The participation ratio of receptive fields, (n,), and their radius in pixels, (n,).

    With the weight :math:`w_x = \sum_c f_{cx}^2` of a pixel, the participation ratio is
    :math:`(\sum_x w_x)^2 / \sum_x w_x^2`: 1 for a field on one pixel, and the number of pixels for a uniform one.
    The radius is the root mean square distance of the squared field from its centre.

    Args:
        fields: receptive fields, (n, C, *shape).
        periodic: for each dimension, whether the lattice is periodic, as in `flow.plan.input.periodic`, so that
            distances are measured on a circle.
    """
    weights = fields.square().sum(1)
    flat = weights.flatten(1)
    total = flat.sum(1).clamp(min=torch.finfo(flat.dtype).tiny)
    square = torch.zeros_like(total)
    for d, n in enumerate(weights.shape[1:]):
        marginal = (weights.movedim(1 + d, 1).flatten(2).sum(2) if weights.ndim > 2 else weights) / total[:, None]
        sites = torch.arange(n, dtype=flat.dtype, device=flat.device)
        if periodic[d]:  # about the best site or midpoint of sites
            centres = torch.arange(0, n, 0.5, dtype=flat.dtype, device=flat.device)
            distance = (sites - centres[:, None]).abs()
            square = square + (marginal @ torch.minimum(distance, n - distance).square().mT).amin(1)
        else:
            mean = marginal @ sites
            square = square + (marginal * (sites - mean[:, None]).square()).sum(1)
    return total.square() / flat.square().sum(1).clamp(min=torch.finfo(flat.dtype).tiny), square.sqrt()


def extents_by_level(flow: mera.Flow, latents: int = 16, samples: int = 16) -> Table:
    """A table of the extents of receptive fields: means over random latents of each level, with standard errors."""
    rows = []
    for level in range(len(flow.plan.latents)):
        every = [(level, *place) for place in np.ndindex(flow.plan.latents[level].lattice.event_shape)]
        selected = [every[i] for i in torch.randperm(len(every))[:latents].tolist()]
        pixels, radius = extents(receptive_fields(flow, selected, samples), flow.plan.input.periodic)
        cones = [flow.generation_cone(level, latent[2:]).pixels.sum().item() for latent in selected]
        errors = [values.std().item() / len(values) ** 0.5 for values in (pixels, radius)]
        values = sum(cones) / len(cones), pixels.mean().item(), errors[0], radius.mean().item(), errors[1]
        rows.append([f"level {level}", *values])
    return Table(["", "cone, pixels", "field, pixels", "error of field", "radius", "error of radius"], rows)


@dataclass(frozen=True, eq=False, repr=False)
class MixingTable:
    """The weights of both source images in the factors of mixed images.

    Args:
        names: the names of the factors, in the order of the columns.
        coarse: the weight of image A, which gives level h and coarser levels, (levels + 1, factors).
        fine: the weight of image B, which gives the levels finer than h, (levels + 1, factors).
        regressors: the test score of the forests on images, R^2 or the balanced accuracy of classes, (factors,).
    """

    names: tuple[str, ...]
    coarse: Tensor
    fine: Tensor
    regressors: Tensor

    @property
    def table(self) -> Table:
        """The weights of images A and B in each factor, with a row for each level h."""
        header = ["", *(f"{name}, {image}" for name in self.names for image in ("A", "B"))]
        weights = torch.stack([self.coarse, self.fine], dim=2).flatten(1).tolist()
        return Table(header, [[f"h = {level}", *row] for level, row in enumerate(weights)])


@torch.no_grad()
def mixing(flow: mera.Flow, images: Tensor, factors: Mapping[str, Any], seed: int = 0) -> MixingTable:
    r"""Measure which factors of images mixed by scale (RG-Flow, Eq. 9) follow the coarse and which the fine levels.

    Forests learn to predict factors from a random half of the images, the same at each call. The other half makes pairs
    A and B, mixed at each level h. The predictions f for mixed images are fitted by the predictions for A and B, by
    least squares:

    .. math:: f(\mathrm{mix}_h) \approx a_h \, f(A) + b_h \, f(B)

    with f less its mean over the other half. At h = 0 the mixed image is A, so that a = 1 and b = 0;
    above the coarsest level it is B.

    Args:
        flow: the flow, which must not be conditional.
        images: images (B, C, *shape), uint8.
        factors: the factors by name; see `mera.analysis.factors`.
        seed: the seed of the dequantisation.

    Returns:
        The weights a and b for h from 0 to the number of levels, and the test scores of the forests.

    """
    order, values = in_random_order(factors, len(images))
    images = images[torch.from_numpy(order)]
    pixels = _flat(images)
    readers, test_scores = zip(*(_reader(pixels, value) for value in values.values()), strict=True)
    half = len(images) // 2
    pairs = (len(images) - half) // 2
    sources = images[half : half + pairs], images[half + pairs : half + 2 * pairs]
    with fixed_seed(seed):
        z_a, z_b = (encode_levels(flow, source) for source in sources)
    a, b = sources
    mixed = [a]
    for h in range(1, len(z_a)):
        batches = zip(*(level.to(flow.device, flow.dtype).split(BATCH) for level in mix(z_a, z_b, h)), strict=True)
        mixed.append(torch.cat([flow.to_images(flow.inverse(batch)[0]).cpu() for batch in batches]))
    mixed.append(b)
    weights = torch.zeros(2, len(mixed), len(values), dtype=torch.float64)
    for column, read in enumerate(readers):
        design = np.stack([read(_flat(source)).ravel() for source in sources], axis=1)
        for level, images_of_level in enumerate(mixed):
            fit = np.linalg.lstsq(design, read(_flat(images_of_level)).ravel(), rcond=None)
            weights[:, level, column] = torch.from_numpy(fit[0])
    return MixingTable(tuple(values), weights[0], weights[1], torch.tensor(test_scores))


@torch.no_grad()
def scores_by_level(flow: mera.Flow, images: Tensor, factors: Mapping[str, Any]) -> Table:
    """A table of the test scores of factors by level, of linear regression, of shuffled factors, and of forests."""
    linear = linear_factors(flow, images, factors).table
    order, values = in_random_order(factors, len(images))
    rows = []
    for row, level in zip(linear.rows, encode_levels(flow, images), strict=True):
        z = level.flatten(1).numpy()[order]
        rows.append([*row, *(fit_forest(z, v, FOREST_LATENTS, min_samples_leaf=5)[1] for v in values.values())])
    return Table([*linear.header, *(f"{name}, forest" for name in values)], rows)


def fit_forest(z: np.ndarray, value: np.ndarray, n: int, **options: Any) -> tuple[np.ndarray, float, Any]:
    """Fit a forest on the n variables most correlated with a factor; return their indices, the test score, the model.

    Variables (B, variables) are selected and the forest is fitted on the first half of the images.
    """
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

    half = len(z) // 2
    target = (value == np.unique(value)).astype(float) if is_classes(value) else value
    a, b = z[:half] - z[:half].mean(0), target[:half] - target[:half].mean(0)
    scale = np.sqrt((a**2).sum(0))[:, None] * np.sqrt((b**2).sum(0))[None]
    squares = (a.T @ b / np.maximum(scale, 1e-12)) ** 2
    columns = np.argsort(-squares.max(1))[:n]
    kind = ExtraTreesClassifier if is_classes(value) else ExtraTreesRegressor
    return columns, *score(kind(TREES, random_state=0, **options), z[:, columns], value)


def _reader(pixels: np.ndarray, value: np.ndarray) -> tuple[Callable[[np.ndarray], np.ndarray], float]:
    """Fit a forest that predicts a factor (B, k) from images (B, variables) on the first half; return its test score.

    The function predicts the factor, or the probability of each class, less the mean over the second half, (B, k).
    """
    columns, test_score, model = fit_forest(pixels, value, FOREST_PIXELS, min_samples_leaf=2, max_features=0.5)
    predict = getattr(model, "predict_proba", model.predict)
    mean = predict(pixels[len(pixels) // 2 :, columns]).mean(0)
    return lambda images: (predict(images[:, columns]) - mean).reshape(len(images), -1), test_score


def _flat(images: Tensor) -> np.ndarray:
    """Flatten images to rows of floats, (B, variables)."""
    return images.flatten(1).float().cpu().numpy()


def means(tables: Sequence[Table]) -> Table:
    """The table of one flow, or the means of those of several flows with their standard errors."""
    values = torch.tensor([[row[1:] for row in table.rows] for table in tables]).movedim(0, 2)
    rows = [
        [row[0], *(plus_minus(*mean_and_error(cell)) for cell in cells)]
        for row, cells in zip(tables[0].rows, values, strict=True)
    ]
    return Table(tables[0].header, rows)


def msds_factors(labels: dict[str, Tensor]) -> dict[str, Tensor]:
    """The factors of `msds1` and `msds2`: the value that all cells share, and the difference of one cell from it.

    Angles a are (cos 2a, sin 2a), since an ellipse turned by 180 degrees is the same ellipse.
    """
    color, angle = labels["color"][:, 1, 1].float(), labels["angle"][:, 1, 1]
    if "global_color" in labels:
        global_color = labels["global_color"].float()
        offset = color - global_color
        return {"global color": global_color, "color of a cell": offset, "angle of a cell": doubled(angle)}
    global_angle = labels["global_angle"]
    offset = (angle - global_angle).float()
    return {"global angle": doubled(global_angle), "angle of a cell": offset, "color of a cell": color}


def doubled(degrees: Tensor) -> Tensor:
    """Angles a as (cos 2a, sin 2a)."""
    radians = torch.deg2rad(2 * degrees.float())
    return torch.stack([radians.cos(), radians.sin()], dim=-1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("flows", nargs="+", help="runs, files, or flows of the package")
    parser.add_argument("--data", help="msds1 or msds2; if left out, that of the first flow's name")
    parser.add_argument("--images", type=int, default=2000, help="the number of images for factors and mixing")
    parser.add_argument("--latents", type=int, default=16, help="latents of each level for the table of fields")
    parser.add_argument("--only", choices=[*TITLES], help="one of the tables")
    arguments = parser.parse_args()
    flows = [mera.load(path) for path in arguments.flows]
    names = [*TITLES] if arguments.only is None else [arguments.only]
    images, factors = torch.empty(0), {}
    if {"factors", "mixing"} & set(names):
        data, shape = arguments.data or arguments.flows[0], flows[0].plan.input.shape
        test = mera.data.load(data, shape, train_size=1, test_size=arguments.images).test
        images, factors = mera.data.first(test, arguments.images), msds_factors(test.labels)
    makers: dict[str, Callable[[Any], Table]] = {
        "fields": lambda flow: extents_by_level(flow, arguments.latents),
        "strengths": lambda flow: strengths(flow, 1024).table,
        "factors": lambda flow: scores_by_level(flow, images, factors),
        "mixing": lambda flow: mixing(flow, images, factors).table,
    }
    for name in names:
        with fixed_seed(0):
            print(f"{TITLES[name]}\n{means([makers[name](flow) for flow in flows])}\n")


if __name__ == "__main__":
    main()
