"""Frames of reference: the values at a site, relative to a direction that neighbouring values define.

A frame has the interface of a conditional map of single sites: values (n, B, C) at n sites of B fields, the vectors
(n, K, B, D) of K neighbours, and a context (n, B, E); it returns new values and a log-det (n, B).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from mera._utils.checks import check_count
from mera.bijectors.circular import wrap
from mera.bijectors.conditioners.residual import ResidualMLP
from mera.bijectors.univariate import Univariate, map_variables

NetworkFactory = Callable[[tuple[int, ...], tuple[int, ...], int], nn.Module]
DECAY = 2.5
"""The rate, per site, at which weights of neighbours decrease with their distance before training."""
TINY = 1e-12
"""Added to the first component of a direction, so that there is one where all neighbours are zero."""
SHORTEST = 1e-2
"""The length below which a map of lengths is linear."""
MAX_LOG_SCALE = 2.0
"""The bound of the log-scale of components across the direction."""


class Frame(nn.Module, ABC):
    """The base of frames; by default the vectors of values are the values themselves.

    Arguments of frames are `distances`, the distance of each neighbour in sites, (K,); `transform`, the map f of single
    variables; `network`, which makes networks; and `context`, the number of entries of the context.
    """

    def vectors(self, values: Tensor) -> Tensor:
        """The vectors (..., D) of values (..., C)."""
        return values

    @abstractmethod
    def forward(self, x: Tensor, neighbours: Tensor, context: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        """Map data to latents, or back, as described at the head of this file."""


class DirectedFrame(Frame):
    """The base of frames whose direction is that of a sum of neighbours with learnt positive weights."""

    log_weights: Tensor

    def __init__(self, distances: Sequence[float]) -> None:
        super().__init__()
        distance = torch.tensor(distances, dtype=torch.get_default_dtype())
        log_weights = -DECAY * (distance - distance.min())
        if len(distances) > 1:
            self.log_weights = nn.Parameter(log_weights)
        else:  # the direction of one neighbour does not depend on its weight
            self.register_buffer("log_weights", log_weights, persistent=False)

    def mean(self, neighbours: Tensor) -> tuple[Tensor, Tensor]:
        """The weighted mean of the neighbours, (n, B, D), and its length, (n, B)."""
        weights = torch.softmax(self.log_weights, 0)
        mean = (weights @ neighbours.flatten(2)).unflatten(1, neighbours.shape[2:])
        mean = torch.cat([mean[..., :1] + TINY, mean[..., 1:]], dim=-1)
        return mean, mean.square().sum(-1).sqrt()


class AngleFrame(DirectedFrame):
    r"""An angle relative to the direction of neighbouring angles, :math:`y = f(x - \alpha; c)`.

    .. math:: \alpha = \mathrm{arg} \sum_k w_k e^{i \theta_k}

    The network c reads cosines and sines of the neighbours relative to :math:`\alpha` and the length r of the mean of
    :math:`e^{i \theta_k}`. If all angles turn by one angle, y stays as it is. The log-det is that of f, whose
    parameters `Univariate.aligned` increase with r from the start.
    """

    def __init__(
        self, distances: Sequence[float], transform: Univariate, network: NetworkFactory, context: int = 0
    ) -> None:
        super().__init__(distances)
        self.transform = transform
        self.network = network((2 * len(distances) + 2 + context,), (1,), transform.n_params)
        self.gains = nn.Parameter(torch.zeros(transform.n_params))
        with torch.no_grad():
            for index, value in transform.aligned.items():
                self.gains[index] = value

    def vectors(self, values: Tensor) -> Tensor:
        """Cosines and sines."""
        return torch.cat([values.cos(), values.sin()], dim=-1)

    def forward(self, x: Tensor, neighbours: Tensor, context: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        """Map angles to latents, or back."""
        mean, length = self.mean(neighbours)
        direction = torch.atan2(mean[..., 1], mean[..., 0])
        cosine, sine = (mean / length[..., None])[:, None].unbind(-1)
        along = neighbours[..., 0] * cosine + neighbours[..., 1] * sine
        across = neighbours[..., 1] * cosine - neighbours[..., 0] * sine
        features = torch.cat([along, across, length[:, None], length.square()[:, None]], dim=1)
        params = self.network(rows(features, context))[..., 0] + length.flatten()[:, None] * self.gains
        x = x[..., 0]
        x = x if inverse else wrap(x - direction)
        y, log_slope = map_variables(self.transform, x.flatten(), params, inverse)
        y = y.view(x.shape)
        return (wrap(y + direction) if inverse else y)[..., None], log_slope.view(x.shape)


class VectorFrame(DirectedFrame):
    r"""A vector in the frame of neighbouring vectors: its component along their mean, and the components across.

    A reflection, of determinant :math:`\pm 1`, takes the direction of the mean to the first axis. The component along
    is mapped by a monotone f. The vector of the components across is shifted by a part of the neighbours' mean
    component across and scaled, and its length is mapped by another f, as in `RadialFrame`; all of this depends on the
    component along. Networks read components along, lengths of the components across, and the length of the mean: if
    all vectors turn together, log-densities stay as they are. `channels` is the number of components.
    """

    def __init__(
        self, distances: Sequence[float], channels: int, transform: Univariate, network: NetworkFactory,
        context: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(distances)
        self.transform, count = transform, len(distances)
        features = (2 if channels > 1 else 1) * count + 1 + context
        self.network = network((features,), (1,), transform.n_params)
        n_across = 1 + count + transform.n_params
        self.across = network((features + 1,), (1,), n_across) if channels > 1 else None

    def forward(self, x: Tensor, neighbours: Tensor, context: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        """Map vectors to latents, or back."""
        mean, length = self.mean(neighbours)
        axis = torch.cat([mean[..., :1] + torch.copysign(length[..., None], mean[..., :1]), mean[..., 1:]], dim=-1)
        sign = -torch.copysign(torch.ones_like(length), mean[..., 0])[..., None]
        neighbours = reflected(neighbours, axis[:, None], sign[:, None])
        along, across = neighbours[..., 0], neighbours[..., 1:]
        parts = [along, length[:, None]] if self.across is None else [along, across.square().sum(-1), length[:, None]]
        features = rows(torch.cat(parts, dim=1), context)
        x = x if inverse else reflected(x, axis, sign)
        first, log_det = map_variables(self.transform, x[..., 0].flatten(), self.network(features)[..., 0], inverse)
        y = first.view(x.shape[:2])[..., None]
        if self.across is not None:
            observed = (y if inverse else x[..., :1]).flatten(0, 1)
            raw = self.across(torch.cat([features, observed.to(features)], dim=1))[..., 0]
            sizes = [1 + across.shape[1], self.transform.n_params]
            raw, radial = raw.view(*x.shape[:2], sum(sizes)).split(sizes, dim=-1)
            radial, rest = radial.flatten(0, 1), x[..., 1:]
            log_scale = MAX_LOG_SCALE * torch.tanh(raw[..., :1] / MAX_LOG_SCALE)
            shares = torch.tanh(raw[..., 1:]) * torch.softmax(self.log_weights, 0)
            shift = (shares.transpose(1, 2)[..., None] * across).sum(1)
            if inverse:
                rest, log_radial = lengths_mapped(self.transform, rest, radial, True)
                rest, log_scale = rest * torch.exp(-log_scale) + shift, -log_scale
            else:
                rest = (rest - shift) * torch.exp(log_scale)
                rest, log_radial = lengths_mapped(self.transform, rest, radial, False)
            log_det = log_det + (x.shape[-1] - 1) * log_scale.flatten() + log_radial.flatten()
            y = torch.cat([y, rest], dim=-1)
        return reflected(y, axis, sign) if inverse else y, log_det.view(x.shape[:2])


class RadialFrame(Frame):
    r"""A first vector, without neighbours: its length is mapped, its direction stays.

    .. math:: |y| = f(|x|) - f(0)

    Below a length of 0.01 the map is linear, so that log-densities stay finite at 0.
    """

    def __init__(self, transform: Univariate, network: NetworkFactory, context: int = 0) -> None:
        super().__init__()
        self.transform = transform
        self.network = network((1 + context,), (1,), transform.n_params)

    def forward(self, x: Tensor, neighbours: Tensor, context: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        """Map vectors to latents, or back."""
        params = self.network(rows(torch.ones_like(x[..., 0])[:, None], context))[..., 0]
        return lengths_mapped(self.transform, x, params, inverse)


def lengths_mapped(transform: Univariate, x: Tensor, params: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
    """Map the lengths of vectors (n, B, D) as `RadialFrame` does; return the vectors and log-dets (n, B)."""
    square = x.square().sum(-1)
    shortest = torch.full_like(square, SHORTEST)
    if inverse:
        shortest, _ = _mapped(transform, shortest, params, False)
    length = torch.maximum(square, shortest.square()).sqrt()
    mapped, log_slope = _mapped(transform, length, params, inverse)
    ratio = mapped / length
    log_slope = torch.where(square <= shortest.square(), ratio.log(), log_slope)
    return x * ratio[..., None], log_slope + (x.shape[-1] - 1) * ratio.log()


def _mapped(transform: Univariate, length: Tensor, params: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
    """The lengths f(r) - f(0) for lengths r, or back, and the logarithms of their slopes."""
    zero = map_variables(transform, torch.zeros_like(length).flatten(), params, False)[0].view(length.shape)
    y, log_slope = map_variables(transform, (length + zero if inverse else length).flatten(), params, inverse)
    y, log_slope = y.view(length.shape), log_slope.view(length.shape)
    return y if inverse else y - zero, log_slope


def rows(features: Tensor, context: Tensor) -> Tensor:
    """Features (n, F, B) and a context (n, B, E) as rows (n B, F + E) for a network."""
    return torch.cat([features.transpose(1, 2), context], dim=2).flatten(0, 1)


def reflected(vectors: Tensor, axis: Tensor, sign: Tensor) -> Tensor:
    """Reflect vectors (..., D) at the plane across an axis (..., D), and multiply by a sign: an orthogonal map."""
    dot = (vectors * axis).sum(-1, keepdim=True) / axis.square().sum(-1, keepdim=True)
    return sign * (vectors - 2 * dot * axis)


def frame(
    distances: Sequence[float], context: int, *, transform: Univariate, channels: int, hidden: Sequence[int],
    blocks: int,
) -> Frame | None:  # fmt: skip
    """Make the frame of a site whose neighbours have these distances; None for a first angle, which stays as it is.

    `hidden` and `blocks` are those of the networks, see `ResidualMLP`; for the other arguments see `Frame`.
    """
    network = partial(ResidualMLP, hidden=hidden, blocks=blocks)
    if transform.of_angles:
        check_count(channels, "the number of angles at a site", most=1)
        return AngleFrame(distances, transform, network, context) if distances else None
    if not distances:
        return RadialFrame(transform, network, context)
    return VectorFrame(distances, channels, transform, network, context)
