"""A Gaussian for masked pixels given the pixels around them, learnt from samples of the flow itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal
from torch.nn import functional as F

from mera._utils.torch_modes import in_threads
from mera.executor.contexts import Context
from mera.executor.passes import run_inverse
from mera.executor.plan_module import PlanModule

SAMPLES, VARIABLES = 4096, 2**20
"""The largest number of samples of a flow, and of variables in all samples."""
BATCH = 64
"""The number of samples that are generated together."""
FEATURES = 1024
"""The largest number of variables around the mask that the mean depends on."""
RIDGES = tuple(10.0**k for k in range(-5, 2))
"""The penalties that are tried, relative to the mean variance of the features."""
SCALES, MARGIN = (1.0, 0.7, 0.5, 0.35), 10.0
"""The factors of deviations that are tried, and how far below the largest a lower bound may be, in nats."""
HELD_OUT = 8
"""One sample in so many chooses the penalty."""
POOL = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


@torch.no_grad()
def gaussian_filling(flow: PlanModule, x: Tensor, mask: Tensor, context: Context | None = None) -> MultivariateNormal:
    """Learn the mean and the covariance of the masked pixels of x (1, C, *shape) by ridge regression.

    The covariance is that of the residuals, drawn towards its diagonal where there are few samples; see `regression`.
    """
    mean, residuals = regression(flow, x, mask, context)
    covariance = residuals.mT @ residuals / len(residuals)
    share = covariance.shape[0] / (covariance.shape[0] + len(residuals))
    covariance = (1 - share) * covariance + share * covariance.diagonal().diag()
    floor = 1e-6 * covariance.diagonal().mean().clamp(min=torch.finfo(x.dtype).tiny)
    covariance.diagonal().add_(floor)
    factor = torch.linalg.cholesky(covariance).to(x)
    return MultivariateNormal(mean.to(x), scale_tril=factor, validate_args=False)


@torch.no_grad()
def regression(flow: PlanModule, x: Tensor, mask: Tensor, context: Context | None = None) -> tuple[Tensor, Tensor]:
    """Predict the masked variables (d,) of x (1, C, *shape) by a ridge regression; also its residuals (samples, d).

    Samples of the flow are the examples, so that no data are needed. Up to 1,024 variables around the mask are the
    features; a part of the samples chooses the penalty.
    """
    variables = flow.plan.input.variables
    samples = _samples(flow, max(64, min(SAMPLES, VARIABLES // variables)), context)
    around = _around(mask, x.shape[1])
    features, targets = (samples[:, :, place].flatten(1).double() for place in (around, mask))
    seen = x[:, :, around].flatten(1).double()
    means = features.mean(0), targets.mean(0)
    features, targets = features - means[0], targets - means[1]
    held_out = torch.arange(len(samples)) % HELD_OUT == 0
    fitted, scored = (features[~held_out], targets[~held_out]), (features[held_out], targets[held_out])
    penalty = min(RIDGES, key=lambda ridge: (_predict(*fitted, scored[0], ridge) - scored[1]).square().mean().item())
    predicted = _predict(features, targets, torch.cat([features, seen - means[0]]), penalty)
    return means[1] + predicted[-1], targets - predicted[:-1]


@torch.no_grad()
def scaled(
    gaussian: MultivariateNormal,
    log_prob: Callable[[Tensor], Tensor],
    draws: int,
    scales: Sequence[float] = SCALES,
    margin: float = MARGIN,
) -> tuple[MultivariateNormal, float]:
    r"""The Gaussian g with the scale of its deviations that fits a density p, and its evidence lower bound.

    Samples of a flow differ more than pictures with the same pixels around a mask. Of a few scales it is the largest
    whose evidence lower bound, the mean of :math:`\ln p - \ln g` over draws from g, is the best up to `margin` in
    nats: the best Gaussian itself is often too narrow, and misses modes. The density p is known up to a constant.
    """
    noise = torch.randn(draws, len(gaussian.loc), dtype=gaussian.loc.dtype).to(gaussian.loc) @ gaussian.scale_tril.mT
    entropy = gaussian.entropy().item()

    def bound(scale: float) -> float:
        found = log_prob(gaussian.loc + scale * noise).nan_to_num(-torch.inf).mean()
        return found.item() + entropy + len(gaussian.loc) * math.log(scale)

    bounds = {scale: bound(scale) for scale in scales}
    fitting = max(scale for scale in scales if bounds[scale] >= max(bounds.values()) - margin)
    scaled_tril = fitting * gaussian.scale_tril
    return MultivariateNormal(gaussian.loc, scale_tril=scaled_tril, validate_args=False), bounds[fitting]


def _samples(flow: PlanModule, n: int, context: Context | None) -> Tensor:
    """Samples of the flow, (n, C, *shape)."""

    def generate(z: Sequence[Tensor]) -> Tensor:
        with torch.no_grad():  # a mode of each thread
            return run_inverse(flow.plan, z, flow.step_function(flow.contexts(context, z[0]), inverse=True))[0]

    shapes = [(n, *latent.lattice.event_shape) for latent in flow.plan.latents]
    z = flow.prior.sample(shapes, [1.0] * len(shapes), flow.reference)
    batches = list(zip(*(level.split(BATCH) for level in z), strict=True))
    return torch.cat(list(in_threads(generate, batches, flow.reference.device)))


def _around(mask: Tensor, channels: int) -> Tensor:
    """The unmasked pixels nearest to the mask, as many whole rings of pixels as have at most 1,024 variables."""
    pool, around, grown = POOL[mask.ndim], torch.zeros_like(mask), mask
    while True:
        grown = pool(grown[None, None].double(), 3, 1, 1)[0, 0] > 0
        wider = grown & ~mask
        if (channels * int(wider.sum()) > FEATURES and around.any()) or torch.equal(wider, around):
            return around
        around = wider


def _predict(features: Tensor, targets: Tensor, at: Tensor, ridge: float) -> Tensor:
    """The prediction of a ridge regression at other features; all are centred.

    Its linear equations have an unknown for each sample or for each feature, whichever are fewer.
    """
    fewer_samples = len(features) < features.shape[1]
    gram = features @ features.mT if fewer_samples else features.mT @ features
    penalty = ridge * features.square().sum(0).mean().clamp(min=torch.finfo(gram.dtype).tiny)
    gram.diagonal().add_(penalty)
    if fewer_samples:
        return at @ features.mT @ torch.linalg.solve(gram, targets)
    return at @ torch.linalg.solve(gram, features.mT @ targets)
