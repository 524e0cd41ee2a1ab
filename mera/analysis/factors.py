"""How well the latents of each level know the factors of the data, and how cleanly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mera._utils.errors import InputError
from mera.analysis.encode import encode_levels
from mera.analysis.scores import dci, mig, sap
from mera.flow import Flow

MOST_CLASSES = 20
"""The most different integers that are classes; more of them are numbers."""
SCREENED = 30
"""How many latents of a level, those that know a factor best alone, the trees of the non-linear regressors get."""
TREES = 100


@dataclass(frozen=True, eq=False)
class FactorTable:
    """How well the latents of each level know each factor.

    Args:
        names: the names of the factors, in the order of the columns.
        scores: the part of a factor that linear regression on all latents of a level explains, out of sample: R^2, or
            for classes the balanced accuracy, (levels, factors).
        nonlinear: the same for forests of trees, on the 30 latents of the level that know the factor best alone.
        dci: by level, disentanglement and completeness (Eastwood & Williams, ICLR 2018), (levels, 2).
        mig: by level, the mutual information gap (https://arxiv.org/abs/1802.04942), (levels,).
        sap: by level, the separated attribute predictability (https://arxiv.org/abs/1711.00848), (levels,).
    """

    names: tuple[str, ...]
    scores: Tensor
    nonlinear: Tensor
    dci: Tensor
    mig: Tensor
    sap: Tensor


@torch.no_grad()
def factors(flow: Flow, images: Tensor, factors: Mapping[str, Any], context: Tensor | None = None) -> FactorTable:
    """How well the latents of each level predict the known factors of images, and how cleanly they hold them.

    Regressors learn from the first half of the images and are scored on the second half.

    Args:
        flow: the flow.
        images: images (B, C, *shape), uint8; or data in the flow's own space.
        factors: by name, a tensor or an array with a value for each image, (B,), or k values, (B, k). Integers of at
            most 20 different values are classes. Angles a of ellipses enter as (cos 2a, sin 2a).
        context: for a conditional flow, the contexts of the images.

    Returns:
        The scores by level and factor.

    Raises:
        ValueError: if there are fewer than 20 images, or a factor has not one row for each of them.
        ModuleNotFoundError: if scikit-learn is not installed: `pip install 'mera-flow[analysis]'`.
    """
    values = as_factors(factors, len(images))
    if len(images) < MOST_CLASSES:
        raise InputError(f"at least {MOST_CLASSES} images", str(len(images)))
    levels = [level.flatten(1).numpy() for level in encode_levels(flow, images, context)]
    columns = np.concatenate(list(values.values()), axis=1)
    scores, nonlinear, gaps = [], [], []
    for z in levels:
        scores.append([_linear(z, value) for value in values.values()])
        found = [_forest(z, value) for value in values.values()]
        nonlinear.append([score for score, _ in found])
        importance = np.stack([row for _, row in found], axis=1)
        gaps.append((*dci(importance), mig(z, columns), sap(z, columns)))
    table = torch.tensor(gaps)
    return FactorTable(
        tuple(values), torch.tensor(scores), torch.tensor(nonlinear), table[:, :2], table[:, 2], table[:, 3]
    )


def as_factors(factors: Mapping[str, Any], n: int) -> dict[str, np.ndarray]:
    """Factors as arrays (n, k), by name.

    Args:
        factors: by name, a tensor or an array, (n,) or (n, k).
        n: the number of images.

    Raises:
        ValueError: if there is no factor, or one of them has not one row of numbers for each image.
    """
    if not factors:
        raise InputError("a factor", "none")
    return {name: _as_array(name, value, n) for name, value in factors.items()}


def _as_array(name: str, value: Any, n: int) -> np.ndarray:
    """A factor as an array (n, k)."""
    array = value.cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
    if array.ndim not in (1, 2) or len(array) != n or array.dtype.kind not in "iufb":
        raise InputError(f"the factor {name!r} as numbers ({n},) or ({n}, k)", f"{array.shape}, {array.dtype}")
    if len(np.unique(array)) < 2:
        raise InputError(f"the factor {name!r} with two values or more", f"{np.unique(array)[0]} for all images")
    return array[:, None] if array.ndim == 1 else array


def is_classes(value: np.ndarray) -> bool:
    """Whether a factor is a class rather than a number.

    Args:
        value: the factor, (n, k).
    """
    return value.shape[1] == 1 and value.dtype.kind in "iub" and len(np.unique(value)) <= MOST_CLASSES


def _linear(z: np.ndarray, value: np.ndarray) -> float:
    """The score of linear regression on all latents, out of sample."""
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = LogisticRegression(C=0.01, max_iter=300) if is_classes(value) else RidgeCV(np.logspace(0, 6, 13))
    return score(make_pipeline(StandardScaler(), model), z, value)[0]


def _forest(z: np.ndarray, value: np.ndarray) -> tuple[float, np.ndarray]:
    """The score of a forest on the latents that know a factor best alone; and the importance of each latent."""
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

    half = len(z) // 2
    chosen = screen(z[:half], value[:half], SCREENED)
    kind = ExtraTreesClassifier if is_classes(value) else ExtraTreesRegressor
    found, model = score(kind(TREES, min_samples_leaf=5, random_state=0), z[:, chosen], value)
    importance = np.zeros(z.shape[1])
    importance[chosen] = model.feature_importances_
    return found, importance


def score(model: Any, z: np.ndarray, value: np.ndarray) -> tuple[float, Any]:
    """Fit a model to the first half, and score it on the second one: R^2, or the balanced accuracy of classes.

    Args:
        model: a regressor or a classifier of scikit-learn.
        z: what the model sees of each image, (n, variables).
        value: the factor, (n, k).

    Returns:
        The score, and the model.
    """
    from sklearn.metrics import balanced_accuracy_score, r2_score

    half = len(z) // 2
    target = value[:, 0] if value.shape[1] == 1 else value
    model.fit(z[:half], target[:half])
    metric = balanced_accuracy_score if is_classes(value) else r2_score
    return float(metric(target[half:], model.predict(z[half:]))), model


def screen(z: np.ndarray, value: np.ndarray, n: int) -> np.ndarray:
    """The variables that alone are most correlated with a factor, the best first.

    Args:
        z: variables of each image, (B, variables).
        value: the factor, (B, k).
        n: how many variables.
    """
    target = (value == np.unique(value)).astype(float) if is_classes(value) else value
    a, b = z - z.mean(0), target - target.mean(0)
    scale = np.sqrt((a**2).sum(0))[:, None] * np.sqrt((b**2).sum(0))[None]
    squares = (a.T @ b / np.maximum(scale, 1e-12)) ** 2
    return np.argsort(-squares.max(1))[:n]
