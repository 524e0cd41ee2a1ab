"""Linear maps of all variables of an event, or of the channels at each site (1 x 1 convolutions)."""

from __future__ import annotations

import copy
import math
from abc import abstractmethod
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from mera._utils.checks import check_choice, check_flag
from mera.bijectors.base import Bijector, log_det_dtype

__all__ = ["LULinear", "Orthogonal"]


def _exactly(x: Tensor) -> torch.autocast:
    """Autocast may halve the precision of networks, but not that of variables, which pass through these products."""
    return torch.autocast(x.device.type, enabled=False)


class _Linear(Bijector):
    """y = W x for vectors x that an event holds: its channels at each site, or all of it.

    Args:
        event_shape: the shape of one event, (C, *sites).
        per_site: W acts on the channels, the same at every site; else on all variables together.

    Raises:
        ValueError: if that is one variable, which there is nothing to mix with.
    """

    def __init__(self, event_shape: tuple[int, ...], per_site: bool = True) -> None:
        super().__init__(event_shape)
        self.per_site = check_flag(per_site, "per_site")
        self.size = event_shape[0] if per_site else math.prod(event_shape)
        self.repeats = math.prod(event_shape) // self.size
        if self.size < 2:
            raise ValueError(f"Expected at least 2 variables to mix; got event shape {tuple(event_shape)}")

    @property
    def receptive_kernel(self) -> tuple[int, ...] | None:
        """A site depends on itself alone, unless W acts on all variables."""
        return (1,) * (len(self.event_shape or ()) - 1) if self.per_site else None

    @abstractmethod
    def _map(self, columns: Tensor) -> Tensor:
        """W x, (B, size, repeats) -> the same."""

    @abstractmethod
    def _solve(self, columns: Tensor) -> Tensor:
        """W^-1 y."""

    @abstractmethod
    def _log_abs_det(self) -> Tensor:
        """ln |det W|."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The product; see `Bijector`."""
        with _exactly(x):
            return self._map(self._columns(x)).reshape(x.shape), self._log_det(x)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The solution; see `Bijector`."""
        with _exactly(y):
            return self._solve(self._columns(y)).reshape(y.shape), -self._log_det(y)

    def _columns(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], self.size, self.repeats)

    def _log_det(self, x: Tensor) -> Tensor:
        return (self._log_abs_det().to(log_det_dtype(x)) * self.repeats).expand(x.shape[0])


class LULinear(_Linear):
    r"""W = P L (U + diag(d)) with a fixed permutation P, L unit lower and U strictly upper triangular (Glow, Eq. 10).

    log \|det J\| is the sum of ln \|d\| for each site. W starts as a random rotation, or as the identity.

    Args:
        event_shape, per_site: W acts on the channels at each site, or on all variables of an event.
        identity: start as the identity.
    """

    permutation: Tensor
    sign: Tensor

    def __init__(self, event_shape: tuple[int, ...], per_site: bool = True, identity: bool = False) -> None:
        super().__init__(event_shape, per_site)
        n = self.size
        start = torch.eye(n) if check_flag(identity, "identity") else nn.init.orthogonal_(torch.empty(n, n))
        p, lower, upper = torch.linalg.lu(start)
        self.register_buffer("permutation", p.T.argmax(1))  # row i of P^T x is entry `permutation[i]` of x
        self.register_buffer("sign", upper.diagonal().sign())
        self.lower = nn.Parameter(lower.tril(-1))
        self.upper = nn.Parameter(upper.triu(1))
        self.log_diagonal = nn.Parameter(upper.diagonal().abs().log())

    def _factors(self) -> tuple[Tensor, Tensor]:
        eye = torch.eye(self.size, dtype=self.lower.dtype, device=self.lower.device)
        diagonal = torch.diag(self.sign * torch.exp(self.log_diagonal))
        return self.lower.tril(-1) + eye, self.upper.triu(1) + diagonal

    def _map(self, columns: Tensor) -> Tensor:
        lower, upper = self._factors()
        return (lower @ (upper @ columns)).index_select(1, self.permutation.argsort())

    def _solve(self, columns: Tensor) -> Tensor:
        single = log_det_dtype(columns)  # torch solves nothing in half precision
        lower, upper = (factor.to(single) for factor in self._factors())
        inner = columns.index_select(1, self.permutation).to(single)
        inner = torch.linalg.solve_triangular(lower, inner, upper=False, unitriangular=True)
        return torch.linalg.solve_triangular(upper, inner, upper=True).to(columns.dtype)

    def _log_abs_det(self) -> Tensor:
        return self.log_diagonal.sum()


class Orthogonal(_Linear):
    """W orthogonal, kept so by `torch.nn.utils.parametrizations.orthogonal`: volumes stay as they are.

    Args:
        event_shape, per_site: W acts on the channels at each site, or on all variables of an event.
        how: torch's word for the parametrisation, "matrix_exp", "cayley" or "householder".
    """

    def __init__(self, event_shape: tuple[int, ...], per_site: bool = True, how: str = "matrix_exp") -> None:
        super().__init__(event_shape, per_site)
        self.how = check_choice(how, ("matrix_exp", "cayley", "householder"), "a parametrisation")
        self.linear = self._parametrized()

    def _parametrized(self) -> nn.Module:
        linear = nn.Linear(self.size, self.size, bias=False)
        # without its fixed first factor, which would be orthogonal in the precision in which it was made only
        return parametrizations.orthogonal(linear, orthogonal_map=self.how, use_trivialization=False)

    def _weight(self) -> Tensor:
        return cast(Tensor, self.linear.weight)

    def _map(self, columns: Tensor) -> Tensor:
        return self._weight() @ columns

    def _solve(self, columns: Tensor) -> Tensor:
        return self._weight().mT @ columns

    def _log_abs_det(self) -> Tensor:
        return next(self.linear.parameters()).new_zeros(())

    def __deepcopy__(self, memo: dict[int, Any]) -> Orthogonal:
        """As torch copies modules, for which their state for pickling would lose what is shared."""
        copied = memo[id(self)] = self.__class__.__new__(self.__class__)
        copied.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return copied

    def __getstate__(self) -> dict[str, Any]:
        """For pickling: torch pickles parametrised modules by their state only."""
        state = super().__getstate__()
        modules = {name: module for name, module in state["_modules"].items() if name != "linear"}
        learnt = [parameter.requires_grad for parameter in self.linear.parameters()]
        return state | {"_modules": modules, "_weights": self.linear.state_dict(), "_learnt": learnt}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Parametrise anew and put the weights back."""
        weights, learnt = state["_weights"], state["_learnt"]
        super().__setstate__({key: value for key, value in state.items() if key not in ("_weights", "_learnt")})
        some = next(iter(weights.values()))
        with torch.random.fork_rng(devices=[]):  # new weights are drawn, and thrown away
            self.linear = self._parametrized().to(some.device, some.dtype)
        self.linear.load_state_dict(weights)
        for parameter, its in zip(self.linear.parameters(), learnt, strict=True):
            parameter.requires_grad_(its)
