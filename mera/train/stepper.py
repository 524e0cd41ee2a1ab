"""Steps of an optimiser on a flow: its gradients are clipped and applied."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from mera.density import Density
from mera.train.bundles import Bundles
from mera.train.optimizers import OwnOptimizer, named_optimizer, own_optimizer
from mera.train.settings import Settings


class Stepper:
    """The optimiser of a flow: the user's own, or one by name, which then steps on `Bundles` of parameters.

    Args:
        flow: the flow.
        settings: the settings of training.
        name: the name of the optimiser, if the user has none.
        own: the user's own optimiser.

    Attributes:
        optimizer: the optimiser.
        name: its name.
    """

    def __init__(self, flow: Density, settings: Settings, name: str, own: OwnOptimizer | None = None) -> None:
        self._parameters = list(flow.parameters())  # a walk through all modules takes a part of a step
        self._bundles: Bundles | None = None
        if own is not None:
            self.optimizer: Optimizer = own_optimizer(own, self._parameters)
            self.name = f"your own {type(self.optimizer).__name__}"
            return
        options = settings.optimizer_options or {}
        self.optimizer, self.name = named_optimizer(name, flow, settings.lr, settings.weight_decay, options), name
        self._bundles = Bundles(self.optimizer)

    def zero(self) -> None:
        """Forget the gradients."""
        if self._bundles is None:
            self.optimizer.zero_grad()
        for parameter in self._parameters:
            parameter.grad = None

    def clip(self, most: float) -> Tensor:
        """Clip the gradients to a global norm of `most`, and return the norm before, a scalar."""
        if self._bundles is None:
            return nn.utils.clip_grad_norm_(self._parameters, most)
        self._bundles.gather()
        return nn.utils.clip_grad_norm_(self._bundles.wholes, most)

    def step(self) -> None:
        """Take a step along the clipped gradients."""
        if self._bundles is None:
            self.optimizer.step()
        else:
            self._bundles.step()

    def release(self) -> None:
        """Give each parameter memory of its own; no step follows."""
        if self._bundles is not None:
            self._bundles.release()

    def state_dict(self) -> dict[str, Any]:
        """The state of the optimiser, parameter by parameter."""
        if self._bundles is not None:
            self._bundles.unbundle()
        return self.optimizer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a state."""
        if self._bundles is not None:
            self._bundles.unbundle()
        self.optimizer.load_state_dict(state)
