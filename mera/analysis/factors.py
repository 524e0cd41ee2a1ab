"""Known factors of the data: their prediction from the latents of each level."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mera._utils.checks import check_type
from mera._utils.errors import InputError
from mera._utils.installation import import_optional
from mera._utils.table import Table, Tabled
from mera.analysis.latents import encode_levels
from mera.flow.flow import Flow

MIN_IMAGES = 20
"""The smallest number of images."""
MAX_CLASSES = 20
"""An integer factor with at most this many different values is a class, with more values a number."""


@dataclass(frozen=True, eq=False, repr=False)
class FactorTable(Tabled):
    """Scores for the prediction of each factor from the latents of each level.

    Args:
        names: the names of the factors, in the order of the columns.
        scores: the test score of linear regression on all latents of a level, R^2 or the balanced accuracy of classes,
            (levels, factors).
        shuffled: the scores for factors that are shuffled among the images, (levels, factors): the scores of latents
            that know nothing.
    """

    names: tuple[str, ...]
    scores: Tensor
    shuffled: Tensor

    @property
    def table(self) -> Table:
        """All scores, with a row for each level."""
        header = ["", *self.names, *(f"{name}, shuffled" for name in self.names)]
        scores = torch.cat([self.scores, self.shuffled], dim=1).tolist()
        return Table(header, [[f"level {level}", *row] for level, row in enumerate(scores)])


@torch.no_grad()
def factors(flow: Flow, images: Tensor, factors: Mapping[str, Any], context: Tensor | None = None) -> FactorTable:
    """Score how well the latents of each level predict known factors of images, and shuffled factors.

    Linear regressors are fitted to one half of the images and scored on the other. Images are divided at random, in the
    same way at each call.

    Args:
        images: images (B, C, *shape), uint8; or data in the flow's own space; at least 20.
        factors: by name, a tensor or an array with a value for each image, (B,), or k values, (B, k). Integers of at
            most 20 different values are classes. Angles a of ellipses enter as (cos 2a, sin 2a).
        context: for a conditional flow, the contexts of the images.

    Returns:
        The scores, with a row for each level, finest first.

    Raises:
        ValueError: if scikit-learn is not installed: `pip install 'mera-flow[analysis]'`.
    """
    n = len(check_type(images, Tensor, "images as a tensor"))
    order, values = in_random_order(factors, n)
    levels = [level.flatten(1).numpy()[order] for level in encode_levels(flow, images, context)]
    shuffled = {name: value[np.random.default_rng(1).permutation(n)] for name, value in values.items()}
    scores = [
        torch.tensor([[_linear(z, value) for value in known.values()] for z in levels]) for known in (values, shuffled)
    ]
    return FactorTable(tuple(values), *scores)


def in_random_order(factors: Mapping[str, Any], n: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A fixed random order of n images, and the factors of the images in this order, arrays (n, k), by name."""
    import_optional("sklearn", "analysis")
    if n < MIN_IMAGES:
        raise InputError(f"at least {MIN_IMAGES} images", str(n))
    if not factors:
        raise InputError("a factor", "none")
    order, arrays = np.random.default_rng(0).permutation(n), {}
    for name, value in factors.items():
        array = value.cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
        if array.ndim not in (1, 2) or len(array) != n or not array.size or array.dtype.kind not in "iufb":
            raise InputError(f"the factor {name!r} as numbers ({n},) or ({n}, k)", f"{array.shape}, {array.dtype}")
        if not np.isfinite(array).all():
            raise InputError(f"the factor {name!r} as finite numbers", "infinite values or NaN")
        if len(np.unique(array)) < 2:
            raise InputError(f"the factor {name!r} with two values or more", f"{np.unique(array)[0]} for all images")
        arrays[name] = array[order].reshape(n, -1)
    return order, arrays


def is_classes(value: np.ndarray) -> bool:
    """Return whether a factor (n, k) is a class rather than a number."""
    return value.shape[1] == 1 and value.dtype.kind in "iub" and len(np.unique(value)) <= MAX_CLASSES


def _linear(z: np.ndarray, value: np.ndarray) -> float:
    """The test score of linear regression on all latents."""
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = LogisticRegression(C=0.01, max_iter=300) if is_classes(value) else RidgeCV(np.logspace(0, 6, 13))
    return score(make_pipeline(StandardScaler(), model), z, value)[0]


def score(model: Any, z: np.ndarray, value: np.ndarray) -> tuple[float, Any]:
    """Fit a scikit-learn model on the first half, and score it on the second: R^2, or balanced accuracy of classes.

    The model predicts a factor (n, k) from variables (n, variables). Return the score and the fitted model.
    """
    from sklearn.metrics import balanced_accuracy_score, r2_score

    half = len(z) // 2
    target = value[:, 0] if value.shape[1] == 1 else value
    if is_classes(value) and len(np.unique(target[:half])) < 2:
        raise InputError("two classes or more among half of the images", "one: the other classes have too few images")
    model.fit(z[:half], target[:half])
    metric = balanced_accuracy_score if is_classes(value) else r2_score
    return float(metric(target[half:], model.predict(z[half:]))), model
