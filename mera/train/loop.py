"""The loop of training: steps, evaluations and checkpoints; and its state, which is all that a run is resumed from."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mera._utils.installation import tune_allocator
from mera._utils.processes import SIGNALS, StopSignal, is_main, rank, world_size
from mera._utils.random import get_states, restored_states, set_states
from mera.flow.density import Density
from mera.models.saving import load
from mera.train.batches import Batch, BatchLoss, Objective, autocast, rows_per_step
from mera.train.best import BestWeights
from mera.train.evaluate import PIECE, losses, mean_and_error, pictures_of
from mera.train.exchange import join_group, reduced
from mera.train.health import first_not_finite, inverse_error
from mera.train.optimizers import SCHEDULES, UserOptimizer, UserSchedule, make_optimizer, make_schedule
from mera.train.run import RunFolder
from mera.train.settings import Settings

if TYPE_CHECKING:
    from mera.train.callbacks import Callback

Metrics = dict[str, float]
INITIAL = 256
"""The most examples from which normalisation layers are initialised."""


class Loop:
    """The loop of a training run, whose state callbacks read and checkpoints hold.

    Args:
        flow: the flow to train; with several processes it is moved to the device of this process.
        settings: the settings of training.
        run: the folder for checkpoints; None to write nothing.
        objective: the loss to minimise, which also makes the batches.
        optimizer: the user's own optimiser, which replaces the optimiser of the settings.
        schedule: the user's own schedule, which replaces the schedule of the settings.

    Attributes:
        rank: the index of this process among the `world_size` processes that train together.
        is_main: whether this process writes the files of the run.
        rows: indices of the rows of each batch that this process computes; a batch shrinks if there are fewer examples.
        step: steps taken.
        elapsed: seconds of training steps, including earlier parts of a resumed run.
        outside: seconds besides steps: evaluations, callbacks, compilation; also including earlier parts.
        schedule_from: the step, and the seconds of training steps, at which the schedule of the settings began.
        test_loss: the loss of the last evaluation, in `objective.unit`; NaN before the first evaluation.
        test_error: its standard error; NaN if it is not known.
        kept: the best evaluation so far, and its weights if the run keeps them.
        stopping: whether the run ends after the current step, in all processes.
        signal: the number of the signal that asked any of the processes to stop; 0 for none.
    """

    def __init__(
        self,
        flow: Density,
        settings: Settings,
        run: RunFolder | None,
        objective: Objective,
        optimizer: UserOptimizer | None = None,
        schedule: UserSchedule | None = None,
    ) -> None:
        self.flow, self.settings, self.run, self.objective = flow, settings, run, objective
        self.rank, self.world_size, self.is_main = rank(), world_size(), is_main()
        flow.to(join_group(flow.device))
        share = rows_per_step(settings.batch_size, objective.size, self.world_size) // self.world_size
        self.rows = range(self.rank * share, (self.rank + 1) * share)
        self.piece = min(PIECE, share)  # evaluated at once: memory follows a batch
        if flow.device.type == "cpu":
            tune_allocator()
        self._average = AveragedModel(flow, multi_avg_fn=get_ema_multi_avg_fn(settings.ema)) if settings.ema else None
        self._loss = BatchLoss(flow, objective, settings.precision)
        self._shared = DistributedDataParallel(self._loss) if self.world_size > 1 else None
        self._parameters: list[Tensor] = list(flow.parameters())  # a walk through all modules takes a part of a step
        self.step, self.elapsed, self.outside = 0, 0.0, 0.0
        self.schedule_from = 0, 0.0
        self.test_loss = self.test_error = math.nan
        name, options = settings.optimizer or objective.optimizer, settings.optimizer_options
        self.optimizer, name = make_optimizer(flow, name, settings.lr, settings.weight_decay, options, optimizer)
        self._highest = [group["lr"] for group in self.optimizer.param_groups]
        self.schedule = None if schedule is None else make_schedule(schedule, self.optimizer)
        of_schedule = settings.schedule if self.schedule is None else f"your own {type(self.schedule).__name__}"
        self.names = {"optimizer": name, "schedule": of_schedule}
        self.kept = BestWeights(settings.keep)
        self.signal, self.stopping = 0, False
        self._stop_requested = False

    @property
    def trained(self) -> Density:
        """The flow to evaluate, save and use, which has the running mean of the weights, if the run keeps one."""
        return self.flow if self._average is None else self._average.module  # type: ignore[return-value]

    @property
    def best(self) -> tuple[int, float] | None:
        """Step and loss of the best evaluation, on held-out training examples if the best weights are kept, else on the
        test examples; None before the first one."""
        return self.kept.best

    @property
    def device(self) -> torch.device:
        """The device of the flow."""
        return self.flow.device

    @property
    def progress(self) -> float:
        """The completed fraction of the run, 0 to 1."""
        return self.settings.progress(self.step, self.elapsed)

    def rate(self) -> float:
        """The factor of the highest learning rate, by the schedule of the settings, which begins at `schedule_from`."""
        begun = self.settings.progress(*self.schedule_from)
        progress = (self.progress - begun) / (1 - begun) if begun < 1 else 1.0
        return SCHEDULES[self.settings.schedule](self.step - self.schedule_from[0], self.settings.warmup, progress)

    def stop(self) -> None:
        """Ask the run to save and to end after the current step, in all processes."""
        self._stop_requested = True

    def start(self) -> tuple[Tensor, Tensor | None]:
        """Initialise the normalisation layers, and save a first checkpoint; return the data that were used."""
        x, context = self.objective.start(self.flow, min(INITIAL, max(2, 8 * self.settings.batch_size)))
        self.flow.initialize(x, context)
        self.trained.load_state_dict(self.flow.state_dict())
        self.save()
        return x, context

    def repeat(
        self,
        batches: Iterator[Batch],
        test: Objective,
        validation: Objective | None,
        callbacks: Sequence[Callback],
        signal: StopSignal,
    ) -> None:
        """Take steps, with evaluations and checkpoints, until the run is over or asked to stop."""
        with ExitStack() as stack:
            for callback in callbacks:
                callback.on_start(self)
                stack.callback(callback.on_end, self)
            began = time.monotonic() - self.elapsed - self.outside
            if self.settings.keep == "improved" and self.best is None:
                self.evaluate(test, validation)  # the weights of the start may be the best
            while self.progress < 1 and not self.stopping:
                start = time.monotonic()
                self.outside = start - began - self.elapsed
                before, metrics = self.progress, self.training_step(next(batches))
                elapsed = self.elapsed + time.monotonic() - start
                for callback in callbacks:
                    callback.on_step(self, metrics)
                self.synchronize(elapsed, signal.number)
                if self.settings.evaluates(self.step, before, self.progress):
                    metrics = self.evaluate(test, validation) | metrics
                    self.outside = time.monotonic() - began - self.elapsed
                    metrics["outside_seconds"] = round(self.outside, 3)
                    for callback in callbacks:
                        callback.on_evaluation(self, metrics)
                    self.synchronize(self.elapsed, signal.number)
                    self.save()
                elif self.stopping:
                    self.save()

    def compile(self, batch: Batch) -> None:
        """Compile the loss and its gradient, the whole flow in one piece, by one pass before the clock starts.

        Weights and random numbers stay as they are, and random numbers are the same as without compilation.
        """
        batch, start = tuple(tensor.to(self.device) for tensor in batch), time.monotonic()
        self._loss.compile(options={"fallback_random": True})
        with restored_states(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of torch's code generation
            (self._shared or self._loss)(*batch).backward()
        self._forget_gradients()
        self.outside += time.monotonic() - start

    def training_step(self, batch: Batch) -> Metrics:
        """Take one step of the optimiser.

        Args:
            batch: this process's rows of the batch of the step.

        Returns:
            train_bits (bits per dimension of the batch) or train_nats, gradient_norm (before clipping) and lr.

        Raises:
            FloatingPointError: if the loss or the gradient is not finite; the weights are then unchanged.
        """
        batch = tuple(tensor.to(self.device) for tensor in batch)
        self._forget_gradients()
        self.set_rates(self.rate())
        loss_of_rows: Tensor = (self._shared or self._loss)(*batch) / len(self.rows)
        loss_of_rows.backward()
        mean_loss = reduced(loss_of_rows.detach(), is_mean=True)
        norm = nn.utils.clip_grad_norm_(self._parameters, self.settings.clip)
        lr = self.optimizer.param_groups[0]["lr"]
        loss, gradient_norm = torch.stack([mean_loss, norm]).tolist()  # the only time that a step waits for a GPU
        metrics = {f"train_{self.objective.metric}": loss, "gradient_norm": gradient_norm, "lr": lr}
        if not all(map(math.isfinite, metrics.values())):
            with autocast(self.device, self.settings.precision):
                place = first_not_finite(self.flow, self.objective, batch)
            got = f"{loss} {self.objective.unit} and gradient norm {gradient_norm} at step {self.step + 1}"
            raise FloatingPointError(f"Expected a finite loss and gradient; got {got}: first in {place}")
        self.optimizer.step()
        self.step += 1
        if self.schedule is not None:
            self.schedule.step()
        if self._average is not None:
            self._average.update_parameters(self.flow)
        return metrics

    def synchronize(self, elapsed: float, signal: int) -> None:
        """Synchronize the seconds of training (of the main process) and the requests to stop (of any process).

        `signal` is the number of the signal to stop that this process received, 0 for none.
        """
        requests = [self._stop_requested, *(signal == number for number in SIGNALS)]
        if self.world_size > 1:
            values = [elapsed if self.is_main else 0.0, *map(float, requests)]
            sums = reduced(torch.tensor(values, dtype=torch.float64, device=self.device))
            elapsed, requests = sums[0].item(), [bool(value) for value in sums[1:]]
        self.elapsed, self.stopping = elapsed, any(requests)
        self.signal = next((int(n) for n, is_sent in zip(SIGNALS, requests[1:], strict=True) if is_sent), 0)

    def evaluate(self, test: Objective, validation: Objective | None = None) -> Metrics:
        """Compute the loss on test examples, and remember the best step.

        Args:
            test: the objective of evaluations.
            validation: the objective that chooses the weights to keep; None to keep the last weights.

        Returns:
            step, seconds (of training steps), test_bits or test_nats with its standard error test_bits_error or
            test_nats_error, and inverse_error; for an action also ess, pareto_k, and free_energy with its error.

        Raises:
            FloatingPointError: if the loss is not finite.
        """
        values = self._evaluate(test)
        if not math.isfinite(self.test_loss):
            raise FloatingPointError(
                f"Expected finite {test.unit} on test {test.name}; got {self.test_loss} after step {self.step}"
            )
        metrics = {"step": self.step, "seconds": round(self.elapsed, 3), f"test_{test.metric}": self.test_loss}
        if not math.isnan(self.test_error):
            metrics[f"test_{test.metric}_error"] = self.test_error
        chosen = values if validation is None else self._losses(validation)
        pictures = pictures_of(getattr(test if validation is None else validation, "examples", None), len(chosen))
        chosen_by = self.kept.update(self.step, chosen, self.trained, pictures)
        if validation is not None:
            metrics[f"validation_{test.metric}"] = chosen_by
        return metrics | {"inverse_error": inverse_error(self.trained, test)} | test.metrics(values, self.trained)

    def _evaluate(self, test: Objective) -> Tensor:
        """Compute the losses of `eval_images` test examples, of which `test_loss` and `test_error` are made."""
        values = self._losses(test)
        self.test_loss, error = mean_and_error(values, pictures_of(getattr(test, "examples", None), len(values)))
        self.test_error = error if test.is_of_rows else math.nan
        return values

    def _losses(self, objective: Objective) -> Tensor:
        """The losses of `eval_images` examples: those of the first process, as rounding may differ between machines."""
        n = min(self.settings.eval_images, objective.size) if objective.size else self.settings.eval_images
        values = losses(self.trained, objective, n, self.piece)
        return reduced(values if self.is_main else torch.zeros_like(values))

    def save(self) -> None:
        """Write a checkpoint; only the main process writes."""
        if self.run is not None and self.is_main:
            keeps_older = self.settings.keep != "last" and self.best is not None and self.best[0] != self.step
            flow = None if keeps_older else self.trained
            self.run.save(flow, self.state_dict(), self.step, self.settings.checkpoints)

    def use_best(self, test: Objective) -> None:
        """Load the best weights of the run into `trained`, from memory or from its folder, and evaluate them."""
        weights = self.kept.weights
        if not weights and self.run is not None and self.best is not None:  # resumed after its best step
            weights = load(self.run.path).state_dict()
        if weights:
            self.trained.load_state_dict(weights)
            self._evaluate(test)

    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to resume the run, in one dict, so that all parts belong to one step."""
        schedule = {} if self.schedule is None else self.schedule.state_dict()
        return {
            "step": self.step,
            "elapsed": self.elapsed,
            "outside": self.outside,
            "schedule_from": self.schedule_from,
            "test_loss": self.test_loss,
            "test_error": self.test_error,
            "kept": self.kept.state_dict(),
            "flow": self.flow.state_dict(),
            "ema": None if self._average is None else self._average.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": {key: value for key, value in schedule.items() if not callable(value)},
            "random": get_states(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a result of `state_dict`."""
        self.flow.load_state_dict(state["flow"])
        if self._average is not None:
            self._average.module.load_state_dict(state["ema"])
            self._average.n_averaged.fill_(int(state["step"]))
        self.optimizer.load_state_dict(state["optimizer"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])
        self.step = int(state["step"])
        self.elapsed, self.outside = float(state["elapsed"]), float(state["outside"])
        self.schedule_from = tuple(state["schedule_from"])
        self.test_loss, self.test_error = state["test_loss"], state["test_error"]
        self.kept.load_state_dict(state["kept"])
        set_states(state["random"])

    def set_rates(self, factor: float = 1.0) -> None:
        """Set the learning rates to a fraction of the highest ones, unless the user's own schedule sets them."""
        if self.schedule is None:
            for group, highest in zip(self.optimizer.param_groups, self._highest, strict=True):
                group["lr"] = highest * factor

    def _forget_gradients(self) -> None:
        """Forget the gradients of all parameters, also of those that a user's optimiser does not have."""
        for parameter in self._parameters:
            parameter.grad = None
