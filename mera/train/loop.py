"""A training run at one moment: its step, and the state that it needs to go on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mera._utils.allocator import tune_allocator
from mera._utils.random import get_states, set_states
from mera.data import ImageData
from mera.flow import Flow
from mera.io.archive import write_archive
from mera.io.flows import describe_flow
from mera.train.callbacks import Callback, Metrics
from mera.train.compiled import compile_couplings
from mera.train.diagnose import first_not_finite
from mera.train.evaluate import bits_per_dim
from mera.train.optimizers import make_optimizer, make_schedule
from mera.train.processes import accelerator_for
from mera.train.run import RunFolder
from mera.train.settings import Settings

__all__ = ["Loop"]


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Half precision for what stands it, if that is asked for."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


class Objective(nn.Module):
    """The loss of a batch, as the module that processes share: mean bits per dimension."""

    def __init__(self, flow: Flow, precision: str) -> None:
        super().__init__()
        self.flow, self.precision = flow, precision

    def forward(self, images: Tensor, noise: Tensor, context: Tensor | None = None) -> Tensor:
        """uint8 images and noise (B, C, L, L), and contexts of a conditional flow -> a number."""
        with autocast(images.device, self.precision):
            return self.flow.bits_per_dim(images, context, noise=noise).mean()


class Loop:
    """A run at one moment: what callbacks see and checkpoints hold.

    Attributes:
        flow: what is trained.
        averaged: the running mean of its weights, or the flow itself if none is asked for.
        settings: how.
        step: steps taken.
        spent: seconds of training.
        test_bits: of the last evaluation.
        stopping: whether the run was asked to stop.
        images: how many there are to learn from.
        contexts: those from which sample grids are drawn; None if there are none, or if classes take turns.
    """

    def __init__(self, flow: Flow, settings: Settings) -> None:
        self.accelerator = accelerator_for(flow.device)
        self.flow, self.settings = flow, settings
        if self.accelerator is not None:
            flow.to(self.accelerator.device)
        if flow.device.type == "cpu":
            tune_allocator()
        if settings.memory is not None:
            flow.memory = settings.memory
        self.optimizer = make_optimizer(settings, self.flow.parameters())
        self.schedule = make_schedule(settings, self.optimizer)
        self.mean = AveragedModel(flow, multi_avg_fn=get_ema_multi_avg_fn(settings.ema)) if settings.ema else None
        self.objective: nn.Module = Objective(flow, settings.precision)
        if self.accelerator is not None:
            self.objective = self.accelerator.prepare(self.objective)
        self.step, self.spent, self.test_bits = 0, 0.0, math.nan
        self.best: tuple[int, float] | None = None
        self.asked = self.stopping = False
        self.images = 0
        self.contexts: Tensor | None = None

    @property
    def averaged(self) -> Flow:
        """The flow to evaluate, to save and to use."""
        return self.flow if self.mean is None else cast(Flow, self.mean.module)

    @property
    def device(self) -> torch.device:
        """Where the flow is."""
        return self.flow.device

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes."""
        return self.share[0] == 0

    @property
    def share(self) -> tuple[int, int]:
        """The number of this process, and how many there are."""
        team = self.accelerator
        return (0, 1) if team is None else (team.process_index, team.num_processes)

    @property
    def progress(self) -> float:
        """How much of the run is over, 0 to 1."""
        limit = math.inf if self.settings.minutes is None else 60 * self.settings.minutes
        return min(1.0, max(self.step / self.settings.steps, self.spent / limit))

    def stop(self) -> None:
        """Ask the run to save and to end after the step at hand, in all processes."""
        self.asked = True

    def compile(self, *batch: Tensor) -> float:
        """Compile the couplings with a first step that changes nothing; the seconds that took."""
        pieces = self._pieces(tensor.to(self.device) for tensor in batch)
        seconds = compile_couplings(self.flow, lambda: self.objective(*pieces[0]).backward())
        self.optimizer.zero_grad()
        return seconds

    def take(self, batch: Sequence[Tensor], run: RunFolder | None = None) -> Metrics:
        """One step of the optimiser on this process's share of a batch: images, noise, contexts if there are some.

        Raises:
            FloatingPointError: if loss or gradient is not finite.
        """
        batch = [tensor.to(self.device) for tensor in batch]
        self.schedule.before_step(self.step, self.progress)
        self.optimizer.zero_grad()
        bits = torch.zeros((), device=self.device)
        pieces = self._pieces(batch)
        for index, piece in enumerate(pieces):
            last = index + 1 == len(pieces)
            team = self.accelerator
            with nullcontext() if last or team is None else team.no_sync(self.objective):
                loss = self.objective(*piece) * (len(piece[0]) / len(batch[0]))
                loss.backward()
            bits = bits + loss.detach()
        norm = nn.utils.clip_grad_norm_(self.flow.parameters(), self.settings.clip)
        metrics = {
            "train_bits": self._reduced(bits, "mean").item(),
            "gradient_norm": norm.item(),
            "lr": self.optimizer.param_groups[0]["lr"],
        }
        if not all(map(math.isfinite, metrics.values())):
            raise FloatingPointError(self._explained(metrics, batch, run))
        self.optimizer.step()
        self.schedule.after_step()
        self.step += 1
        if self.mean is not None:
            self.mean.update_parameters(self.flow)
        return metrics

    def agree(self, spent: float, stopping: bool) -> None:
        """Let all processes know the time of the first, and whether any was asked to stop."""
        if self.accelerator is not None:
            mine = [spent if self.is_main else 0.0, float(stopping or self.asked)]
            both = torch.tensor(mine, dtype=torch.float64, device=self.device)
            spent, stopping = self._reduced(both, "sum").tolist()
        self.spent, self.stopping = spent, bool(stopping) or self.asked

    def evaluate(self, data: ImageData, metrics: Metrics, callbacks: Iterable[Callback]) -> None:
        """Bits per dimension on test images.

        Raises:
            FloatingPointError: if they are not finite.
        """
        self.test_bits = bits_per_dim(self.averaged, data.test, self.settings.eval_images)
        if not math.isfinite(self.test_bits):
            raise FloatingPointError(
                f"Expected finite bits/dim on test images; got {self.test_bits} after step {self.step}"
            )
        if self.best is None or self.test_bits < self.best[1]:
            self.best = self.step, self.test_bits
        self.schedule.after_evaluation(self.test_bits)
        known = {"step": self.step, "seconds": round(self.spent, 3), "test_bits": self.test_bits}
        for callback in callbacks:
            callback.on_evaluation(self, known | metrics)

    def save(self, run: RunFolder | None) -> None:
        """Write a checkpoint, in the process that writes."""
        if run is not None and self.is_main:
            best_step = None if self.best is None else self.best[0]
            run.save(self.averaged, self.state_dict(), self.step, self.settings.keep, best_step)

    def state_dict(self) -> dict[str, Any]:
        """All that the run needs to go on, in one piece, so that no part of it can be older than another."""
        return {
            "recipe": describe_flow(self.flow),
            "ways": self._ways(),
            "step": self.step,
            "spent": self.spent,
            "test_bits": self.test_bits,
            "best": self.best,
            "flow": self.flow.state_dict(),
            "mean": None if self.mean is None else self.mean.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "random": get_states(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put everything back.

        Raises:
            ValueError: if the state is not of such a run.
        """
        try:
            if state["recipe"] != describe_flow(self.flow):
                raise ValueError(f"that of {state['recipe']}")
            if state["ways"] != self._ways():
                raise ValueError(f"one with {state['ways']}, not {self._ways()}")
            self.flow.load_state_dict(state["flow"])
            if self.mean is not None:
                self.mean.load_state_dict(state["mean"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.schedule.load_state_dict(state["schedule"])
            self.step, self.spent = int(state["step"]), float(state["spent"])
            self.test_bits, self.best = float(state["test_bits"]), state["best"]
            set_states(state["random"])
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise ValueError(f"Expected the state of a run of this flow; got another: {error}") from error

    def _ways(self) -> dict[str, Any]:
        """Without which the rest of the state makes no sense."""
        settings = self.settings
        kinds = {"optimizer": settings.optimizer, "schedule": settings.schedule, "ema": settings.ema > 0}
        return kinds | {"training images": self.images}

    def _explained(self, metrics: Metrics, batch: Sequence[Tensor], run: RunFolder | None) -> str:
        """What to say of numbers that are not finite; the batch goes to the run's folder."""
        path = None
        if run is not None:  # first, for what follows may need more memory than there is
            path = run.path / f"not_finite_step_{self.step + 1:08d}_process_{self.share[0]}.safetensors"
            write_archive(path, {"step": self.step + 1}, dict(zip(("images", "noise", "context"), batch, strict=False)))
        with autocast(self.device, self.settings.precision):
            found = (first_not_finite(self.flow, *piece) for piece in self._pieces(batch))
            where = next(filter(None, found), "none of the nodes for the images of this process")
        text = (
            f"Expected a finite loss and gradient; got {metrics['train_bits']} bits/dim and gradient norm "
            f"{metrics['gradient_norm']} at step {self.step + 1}: first in {where}"
        )
        return text if path is None else f"{text}; the batch is in {path}"

    def _pieces(self, batch: Iterable[Tensor]) -> list[tuple[Tensor, ...]]:
        """A batch as it is taken, piece by piece."""
        tensors = list(batch)
        size = -(-len(tensors[0]) // self.settings.accumulate)
        return list(zip(*(tensor.split(size) for tensor in tensors), strict=True))

    def _reduced(self, mine: Tensor, how: str) -> Tensor:
        """The sum or the mean over all processes."""
        return mine if self.accelerator is None else self.accelerator.reduce(mine, how)
