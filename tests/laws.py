"""The laws that every bijector and every flow must keep, and what the tests of them need."""

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


def jacobian_log_det(f, x: Tensor) -> Tensor:
    """log |det df/dx| of each sample, from autograd."""
    dets = []
    for sample in x:
        jacobian = torch.autograd.functional.jacobian(lambda s: flat(f(s[None])[0])[0], sample, vectorize=True)
        dets.append(torch.linalg.slogdet(jacobian.reshape(sample.numel(), sample.numel())).logabsdet)
    return torch.stack(dets)


def check_laws(f: Bijector | Flow, x: Tensor, atol: float = 1e-9) -> None:
    """Round trip, exact log-det, opposite log-dets, their shape, and a gradient for every parameter."""
    y, log_det = f(x)
    back, log_det_back = f.inverse(y)
    torch.testing.assert_close(back, x, atol=atol, rtol=atol)
    assert log_det.shape == log_det_back.shape == x.shape[:1]
    torch.testing.assert_close(log_det, -log_det_back, atol=atol, rtol=atol)
    torch.testing.assert_close(log_det, jacobian_log_det(f, x), atol=atol, rtol=atol)
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
