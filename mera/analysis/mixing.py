"""Mixing of coarse levels of one image with fine levels of another: which image determines which factor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera._utils.random import fixed_seed
from mera._utils.table import Numbers, Tabled, numbers
from mera.analysis.edit import mix
from mera.analysis.factors import as_factors, fit_forest, mixed_order
from mera.analysis.latents import BATCH, encode_levels
from mera.flow.flow import Flow

FOREST_PIXELS = 100
"""The number of variables of the data that a forest uses: those most correlated with the factor."""
MIN_IMAGES = 60


@dataclass(frozen=True, eq=False, repr=False)
class MixingTable(Tabled):
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
def mixing(flow: Flow, images: Tensor, factors: Mapping[str, Any], seed: int = 0) -> MixingTable:
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
        factors: by name, a tensor or an array with a value for each image, (B,), or k values, (B, k). Integers of at
            most 20 different values are classes.
        seed: the seed of the dequantisation.

    Returns:
        The weights a and b for h from 0 to the number of levels, and the test scores of the forests.

    Raises:
        ValueError: if there are fewer than 60 images, a factor does not have a row for each image, or scikit-learn is
            not installed: `pip install 'mera-flow[analysis]'`.
    """
    values = as_factors(factors, len(images))
    if len(images) < MIN_IMAGES:
        raise InputError(f"at least {MIN_IMAGES} images", str(len(images)))
    order = mixed_order(len(images))
    images, values = images[torch.from_numpy(order)], {name: value[order] for name, value in values.items()}
    pixels = _flat(images)
    readers = {name: _Reader(pixels, value) for name, value in values.items()}
    half = len(images) // 2
    pairs = (len(images) - half) // 2
    sources = images[half : half + pairs], images[half + pairs : half + 2 * pairs]
    predictions = [{name: reader.read(_flat(source)) for name, reader in readers.items()} for source in sources]
    with fixed_seed(seed):
        z_a, z_b = (encode_levels(flow, source) for source in sources)
    a, b = sources
    mixed = [a, *(_decoded(flow, mix(z_a, z_b, level)) for level in range(1, len(z_a))), b]
    weights = torch.zeros(2, len(mixed), len(values), dtype=torch.float64)
    for level, mixed_pixels in enumerate(map(_flat, mixed)):
        for column, (name, reader) in enumerate(readers.items()):
            target = reader.read(mixed_pixels).ravel()
            design = np.stack([prediction[name].ravel() for prediction in predictions], axis=1)
            weights[:, level, column] = torch.from_numpy(np.linalg.lstsq(design, target, rcond=None)[0])
    return MixingTable(
        tuple(values), weights[0], weights[1], torch.tensor([reader.score for reader in readers.values()])
    )


class _Reader:
    """A forest that predicts a factor (B, k) from images (B, variables), fitted on the first half of the images."""

    def __init__(self, pixels: np.ndarray, value: np.ndarray) -> None:
        forest = fit_forest(pixels, value, FOREST_PIXELS, min_samples_leaf=2, max_features=0.5)
        self.columns, self.score, self.model = forest
        self.mean = self._raw(pixels[len(pixels) // 2 :]).mean(0)

    def read(self, pixels: np.ndarray) -> np.ndarray:
        """The predicted factor, or the probability of each class, less the mean over the second half, (B, k)."""
        return self._raw(pixels) - self.mean

    def _raw(self, pixels: np.ndarray) -> np.ndarray:
        probability = getattr(self.model, "predict_proba", None)
        prediction = (probability or self.model.predict)(pixels[:, self.columns])
        return prediction[:, None] if prediction.ndim == 1 else prediction


def _decoded(flow: Flow, z: Sequence[Tensor]) -> Tensor:
    """The images of latents that `encode_levels` returned, uint8."""
    batches = zip(*(level.to(flow.device, flow.dtype).split(BATCH) for level in z), strict=True)
    return torch.cat([flow.to_images(flow.inverse(batch)[0]).cpu() for batch in batches])


def _flat(images: Tensor) -> np.ndarray:
    """Flatten images to rows of floats, (B, variables)."""
    return images.flatten(1).float().cpu().numpy()
