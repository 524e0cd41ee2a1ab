"""What changes when coarse levels of one image meet fine levels of another, read off the mixed images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera._utils.random import fixed_seed
from mera.analysis.edit import mix
from mera.analysis.factors import TREES, as_factors, is_classes, score, screen
from mera.flow import Flow

PIXELS = 100
"""How many variables of the data, those that know a factor best alone, the regressors get."""
LEAST = 60
BATCH = 100


@dataclass(frozen=True, eq=False)
class MixingTable:
    """How far the factors of mixed images follow either image.

    Args:
        names: the names of the factors, in the order of the columns.
        coarse: the weight of A, the image whose levels from h on are taken, (levels + 1, factors).
        fine: the weight of B, the image whose levels below h are taken, (levels + 1, factors).
        regressors: how well the factors can be read off images: R^2, or the balanced accuracy of classes, (factors,).
    """

    names: tuple[str, ...]
    coarse: Tensor
    fine: Tensor
    regressors: Tensor


@torch.no_grad()
def mixing(flow: Flow, images: Tensor, factors: Mapping[str, Any], seed: int = 0) -> MixingTable:
    r"""Which factors of an image mixed by scale (RG-Flow, Eq. 9) follow its coarse levels, and which its fine ones.

    Forests learn to read factors off the first half of the images. The other half makes pairs A and B, mixed at each
    level h. What a forest reads off the mixed images is compared with what it reads off A and B, by least squares:

    .. math:: f(\mathrm{mix}_h) \approx a_h \, f(A) + b_h \, f(B)

    with all f less their mean over the images A and B. At h = 0 the mixed image is A, so that a = 1 and b = 0; above
    the coarsest level it is B.

    Args:
        flow: the flow, not a conditional one.
        images: images (B, C, *shape), uint8.
        factors: by name, a tensor or an array with a value for each image, (B,), or k values, (B, k). Integers of at
            most 20 different values are classes.
        seed: the seed of the dequantisation.

    Raises:
        ValueError: if there are fewer than 60 images, or a factor has not one row for each of them.
        ModuleNotFoundError: if scikit-learn is not installed: `pip install 'mera-flow[analysis]'`.
    """
    values = as_factors(factors, len(images))
    if len(images) < LEAST:
        raise InputError(f"at least {LEAST} images", str(len(images)))
    pixels = _flat(images)
    readers = {name: _Reader(pixels, value) for name, value in values.items()}
    half = len(images) // 2
    pairs = (len(images) - half) // 2
    sources = images[half : half + pairs], images[half + pairs : half + 2 * pairs]
    read = [{name: reader.read(_flat(some)) for name, reader in readers.items()} for some in sources]
    weights = torch.zeros(2, len(flow.plan.latents) + 1, len(values), dtype=torch.float64)
    with fixed_seed(seed):
        levels = len(flow.plan.latents)
        mixed = [_flat(_mixed(flow, *sources, level)) for level in range(levels + 1)]
    for level, some in enumerate(mixed):
        for column, (name, reader) in enumerate(readers.items()):
            target = reader.read(some).ravel()
            design = np.stack([part[name].ravel() for part in read], axis=1)
            weights[:, level, column] = torch.from_numpy(np.linalg.lstsq(design, target, rcond=None)[0])
    return MixingTable(
        tuple(values), weights[0], weights[1], torch.tensor([reader.score for reader in readers.values()])
    )


class _Reader:
    """A forest that reads a factor off images; what it reads is less the mean of the factor.

    Args:
        pixels: images (B, variables); the first half is learnt from.
        value: the factor, (B, k).
    """

    def __init__(self, pixels: np.ndarray, value: np.ndarray) -> None:
        from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

        half = len(pixels) // 2
        kind = ExtraTreesClassifier if is_classes(value) else ExtraTreesRegressor
        self.chosen = screen(pixels[:half], value[:half], PIXELS)
        forest = kind(TREES, min_samples_leaf=2, max_features=0.5, random_state=0)
        self.score, self.model = score(forest, pixels[:, self.chosen], value)
        self.mean = self._raw(pixels[half:]).mean(0)

    def read(self, pixels: np.ndarray) -> np.ndarray:
        """The factor of images, or the probability of each class, less the mean, (B, k)."""
        return self._raw(pixels) - self.mean

    def _raw(self, pixels: np.ndarray) -> np.ndarray:
        probability = getattr(self.model, "predict_proba", None)
        read = (probability or self.model.predict)(pixels[:, self.chosen])
        return read[:, None] if read.ndim == 1 else read


def _mixed(flow: Flow, a: Tensor, b: Tensor, level: int) -> Tensor:
    """Images with the levels from `level` on of A, and the others of B, uint8."""
    parts = []
    for start in range(0, len(a), BATCH):
        z_a, z_b = (flow(flow.from_images(some[start : start + BATCH].to(flow.device)))[0] for some in (a, b))
        parts.append(flow.to_images(flow.inverse(mix(z_a, z_b, level))[0]).cpu())
    return torch.cat(parts)


def _flat(images: Tensor) -> np.ndarray:
    """Images as rows of numbers."""
    return images.flatten(1).float().cpu().numpy()
