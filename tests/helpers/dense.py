"""Bijectors whose Jacobian is zero nowhere that their node allows it to be otherwise."""

import torch
from torch import nn

from mera.bijectors import Bijector


class DenseField(Bijector):
    """Each site depends on all of its kernel, in both directions."""

    def __init__(self, event_shape, kernel, periodic):
        super().__init__(event_shape)
        channels, *self.shape = event_shape
        self.half, self.kernel, self.periodic = channels // 2, kernel, periodic
        n = torch.Size(kernel).numel()
        self.reads = nn.Parameter((0.5 + torch.rand(self.half, n)) / n)
        self.writes = nn.Parameter(0.5 + torch.rand(channels - self.half, *(1 for _ in self.shape)))
        self.mix = nn.ParameterList([torch.eye(channels) + 0.3 * torch.rand(channels, channels) for _ in range(2)])

    @property
    def receptive_kernel(self):
        return self.kernel

    def forward(self, x):
        x = torch.tensordot(x, self.mix[0], ([1], [1])).movedim(-1, 1)
        a, b = x[:, : self.half], x[:, self.half :]
        y = torch.cat([a, b + self._shift(a)], dim=1)
        return torch.tensordot(y, self.mix[1], ([1], [1])).movedim(-1, 1), self._log_det(x, 1)

    def inverse(self, y):
        y = torch.tensordot(y, self.mix[1].inverse(), ([1], [1])).movedim(-1, 1)
        a, b = y[:, : self.half], y[:, self.half :]
        x = torch.cat([a, b - self._shift(a)], dim=1)
        return torch.tensordot(x, self.mix[0].inverse(), ([1], [1])).movedim(-1, 1), self._log_det(y, -1)

    def _log_det(self, x, sign):
        one = sum(torch.linalg.slogdet(m).logabsdet for m in self.mix)
        return (sign * one * torch.Size(self.shape).numel()).expand(x.shape[0])

    def _shift(self, a):
        """A number for each site from all of its kernel."""
        for d, (n, k, wraps) in enumerate(zip(self.shape, self.kernel, self.periodic, strict=True)):
            r = k // 2
            where = torch.arange(-r, n + r)
            inside = ((where >= 0) & (where < n)) | torch.tensor(wraps)
            a = a.index_select(2 + d, where % n) * inside.to(a).view(-1, *[1] * (a.ndim - 3 - d))
            a = a.unfold(2 + d, k, 1)
        windows = a.flatten(2 + len(self.shape))  # (B, half, *sites, kernel)
        numbers = torch.asinh(torch.einsum("bc...k,ck->b...", windows, self.reads))  # whose slope never rounds to 0
        return numbers[:, None] * self.writes
