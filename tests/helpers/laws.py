"""The laws that every bijector and every flow must keep, and what the tests of them need."""

import math

import torch
from torch import Tensor, nn

from mera import Flow
from mera.bijectors import Bijector


def randomize(module: nn.Module, scale: float = 0.3) -> nn.Module:
    """float64, and every parameter away from its start, where a coupling is the identity and proves nothing."""
    module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return module


def flat(value: Tensor | tuple[Tensor, ...]) -> Tensor:
    """One row for each sample."""
    levels = value if isinstance(value, tuple) else (value,)
    return torch.cat([level.flatten(1) for level in levels], dim=1)


def jacobian_log_det(f, x: Tensor, context: Tensor | None = None) -> Tensor:
    """log |det df/dx| of each sample, from autograd."""
    dets = []
    for row, sample in enumerate(x):
        given = () if context is None else (context[row : row + 1],)

        def value(s: Tensor, given: tuple[Tensor, ...] = given) -> Tensor:
            return flat(f(s[None], *given)[0])[0]

        jacobian = torch.autograd.functional.jacobian(value, sample, vectorize=True)
        dets.append(torch.linalg.slogdet(jacobian.reshape(sample.numel(), sample.numel())).logabsdet)
    return torch.stack(dets)


def check_laws(f: Bijector | Flow, x: Tensor, context: Tensor | None = None, atol: float = 1e-9) -> None:
    """Round trip, exact log-det, opposite log-dets, their shape, and a gradient for every parameter."""
    given = () if context is None else (context,)
    y, log_det = f(x, *given)
    back, log_det_back = f.inverse(y, *given)
    torch.testing.assert_close(back, x, atol=atol, rtol=atol)
    assert log_det.shape == log_det_back.shape == x.shape[:1]
    torch.testing.assert_close(log_det, -log_det_back, atol=atol, rtol=atol)
    torch.testing.assert_close(log_det, jacobian_log_det(f, x, context), atol=atol, rtol=atol)
    parameters = dict(f.named_parameters())
    if parameters:
        loss = (flat(y) ** 2).sum() + (log_det**2).sum()
        gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        dead = [name for name, g in zip(parameters, gradients, strict=True) if g is None or not g.abs().sum() > 0]
        assert not dead, f"no gradient for {dead}"


class Dense(Bijector):
    """A random dense map of an event, no entry of whose Jacobian is zero: what geometry is tested with."""

    def __init__(self, event_shape: tuple[int, ...]) -> None:
        super().__init__(event_shape)
        n = torch.Size(event_shape).numel()
        self.matrix = nn.Parameter(torch.eye(n) + 0.3 * torch.rand(n, n))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """A matrix, then sinh^-1."""
        y = x.flatten(1) @ self.matrix.T
        slope = -0.5 * torch.log1p(y**2).sum(1)
        return torch.asinh(y).view_as(x), slope + torch.linalg.slogdet(self.matrix).logabsdet

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """sinh, then the inverse matrix."""
        x = torch.sinh(y.flatten(1))
        slope = 0.5 * torch.log1p(x**2).sum(1)
        solved = torch.linalg.solve(self.matrix, x.T).T
        return solved.reshape(y.shape), slope - torch.linalg.slogdet(self.matrix).logabsdet


class PassiveDense(Bijector):
    """The first channel stays; all others depend on each other, as in `Dense`, and on all of the first."""

    def __init__(self, event_shape: tuple[int, ...]) -> None:
        super().__init__(event_shape)
        channels, *sites = event_shape
        self.dense = Dense((channels - 1, *sites))
        n = torch.Size(sites).numel()
        self.reads = nn.Parameter(torch.rand((channels - 1) * n, n))

    @property
    def passive(self) -> int:
        return 1

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Shift the others by what the first says, then mix them."""
        rest, log_det = self.dense(x[:, 1:] + self._shift(x))
        return torch.cat([x[:, :1], rest], dim=1), log_det

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """And back."""
        rest, log_det = self.dense.inverse(y[:, 1:])
        return torch.cat([y[:, :1], rest - self._shift(y)], dim=1), log_det

    def _shift(self, x: Tensor) -> Tensor:
        return (x[:, :1].flatten(1) @ self.reads.T).view_as(x[:, 1:])


class Asinh(Bijector):
    """The inverse hyperbolic sine of each variable: a bijector of the user's own without parameters."""

    per_site = True

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """asinh x, with the derivative 1 / cosh y."""
        y = torch.asinh(x)
        return y, -torch.cosh(y).log().flatten(1).sum(1)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """sinh y."""
        return torch.sinh(y), torch.cosh(y).log().flatten(1).sum(1)


class Bent(Bijector):
    """A slope for negative variables: a bijector of the user's own with an option."""

    per_site = True

    def __init__(self, event_shape: tuple[int, ...], slope: float = 0.5) -> None:
        super().__init__(event_shape)
        self.slope = slope

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scale negative variables."""
        return torch.where(x < 0, x * self.slope, x), math.log(self.slope) * (x < 0).flatten(1).sum(1)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """And back."""
        return torch.where(y < 0, y / self.slope, y), -math.log(self.slope) * (y < 0).flatten(1).sum(1)
