"""Two claims of the RG-Flow paper (https://arxiv.org/abs/2010.00029) in numbers: receptive fields, and mixing by scale.

    python examples/paper_tables.py msds1
    python examples/paper_tables.py comparison/msds1/rgflow/seed* --data msds1 --only fields

A flow is a run, a file of `mera.save` or a flow of the package. The script prints two tables by level: "fields" has the
extents of receptive fields, which are the pixels of the generation cone, the participation ratio and the radius;
"mixing" has the weights of both images in the factors of mixed images, and needs scikit-learn and data with known
factors. Of several flows, it prints means and their standard errors.
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
from mera._utils.table import Numbers, Table, numbers, with_error
from mera.analysis import mix, receptive_fields
from mera.analysis.factors import fit_forest, in_random_order
from mera.analysis.latents import BATCH, encode_levels

FOREST_PIXELS = 100
"""The number of variables of an image that a forest uses: those most correlated with the factor."""


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


def extents_by_level(flow: mera.Flow, latents: int = 16, samples: int = 16) -> Numbers:
    """A table of the extents of receptive fields: means over random latents of each level, with standard errors."""
    rows = []
    for level in range(len(flow.plan.latents)):
        every = [(level, *place) for place in np.ndindex(flow.plan.latents[level].lattice.event_shape)]
        selected = [every[i] for i in torch.randperm(len(every))[:latents].tolist()]
        pixels, radius = extents(receptive_fields(flow, selected, samples), flow.plan.input.periodic)
        cones = [flow.generation_cone(level, latent[2:]).pixels.sum().item() for latent in selected]
        errors = [values.std().item() / len(values) ** 0.5 for values in (pixels, radius)]
        rows.append([sum(cones) / len(cones), pixels.mean().item(), errors[0], radius.mean().item(), errors[1]])
    columns = ["cone, pixels", "field, pixels", "error of field", "radius", "error of radius"]
    return numbers([f"level {level}" for level in range(len(rows))], columns, rows)


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
    def table(self) -> Numbers:
        """The weights of images A and B in each factor, with a row for each level h."""
        columns = [f"{name}, {image}" for name in self.names for image in ("A", "B")]
        rows = torch.stack([self.coarse, self.fine], dim=2).flatten(1).tolist()
        return numbers([f"h = {level}" for level in range(len(rows))], columns, rows)


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


def means(tables: Sequence[Numbers]) -> Table:
    """The table of one flow, or the means of those of several flows with their standard errors."""
    values = torch.tensor([table.values for table in tables]).movedim(0, 2).tolist()
    rows = [[row[0], *map(with_error, cells)] for row, cells in zip(tables[0].rows, values, strict=True)]
    return Table(tables[0].header, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("flows", nargs="+", help="runs, files, or flows of the package")
    parser.add_argument("--data", help="a data set with known factors; if left out, that of the first flow's name")
    parser.add_argument("--images", type=int, default=2000, help="the number of images for the table of mixing")
    parser.add_argument("--latents", type=int, default=16, help="latents of each level for the table of fields")
    parser.add_argument("--only", choices=["fields", "mixing"], help="one of the tables")
    arguments = parser.parse_args()
    flows = [mera.load(path) for path in arguments.flows]
    if arguments.only != "mixing":
        with fixed_seed(0):
            print(
                f"extents of receptive fields\n{means([extents_by_level(flow, arguments.latents) for flow in flows])}\n"
            )
    if arguments.only != "fields":
        data, shape = arguments.data or arguments.flows[0], flows[0].plan.input.shape
        test = mera.data.load(data, shape, train_size=1, test_size=arguments.images).test
        images, factors = mera.data.first(test, arguments.images), mera.data.factors(test)
        tables = [mixing(flow, images, factors).table for flow in flows]
        print(
            f"weights in the factors of image A, which gives level h and coarser ones, and of image B\n{means(tables)}"
        )


if __name__ == "__main__":
    main()
