"""The settings of a training run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

from mera._utils.errors import InputError
from mera._utils.options import Option, check_fields, choice, count, documented, flag, positive
from mera.train.optimizers import OPTIMIZERS, SCHEDULES, check_options

Options = Mapping[str, Any]
"""Options of a class of torch, by name."""
STEPS = 2000
"""The number of steps of a run whose settings limit neither steps nor minutes."""
EVALUATIONS = 20
"""The number of evaluations in a run whose settings do not say after how many steps they come."""
UNSET: Any = None
"""The default of a setting that depends on the data, until `Settings.filled`."""
USUAL: dict[str, Any] = {"batch_size": 32, "lr": 8e-3, "weight_decay": 5e-5, "eval_images": 500, "warmup": 50}
"""The values of settings that are None, where no preset has others."""


@documented
@dataclass(frozen=True)
class Settings:
    """The settings of training. The options of the command line have the same names.

    Raises:
        ValueError: if a number is out of its range; or if the name of an optimiser, of one of its options, or of a
            schedule is unknown.
    """

    steps: Annotated[
        int | None,
        Option(f"steps of the optimiser; None for {STEPS:,}, or for no limit if there are `minutes`.", count()),
    ] = None
    minutes: Annotated[
        float | None,
        Option(
            "stop after this many minutes of training steps in all, resumed parts included, if that comes before "
            "`steps`; the cosine schedule then ends with the run. Evaluations, callbacks, compilation and the final "
            "check are not counted. No limit if None.",
            positive(),
        ),
    ] = None
    batch_size: Annotated[
        int,
        Option("images in a step, over all processes; None for 32, or 64 for an action.", count()),
    ] = UNSET
    precision: Annotated[
        str,
        Option(
            '"float32", or "bfloat16" for the matrix products of the networks; log-dets stay in single precision.',
            choice(("float32", "bfloat16"), "a precision"),
        ),
    ] = "float32"
    checkpoint: Annotated[
        bool,
        Option(
            "keep only the inputs of layers, and run the layers again in the backward pass: a fraction of the memory, "
            "and twice the time. See `Flow.checkpoint`.",
            flag,
        ),
    ] = False
    compile: Annotated[
        bool,
        Option(
            "let torch compile the loss and its gradient first, which takes minutes, and less the next time. A run is "
            "resumed with the same value.",
            flag,
        ),
    ] = False
    optimizer: Annotated[
        str | None,
        Option(
            '"Muon", see `mera.train.Muon`, or "AdamW"; None for "Muon", or for "AdamW" if a flow learns from an '
            "action. In Python, `fit` takes any optimiser of torch.",
            choice(OPTIMIZERS, "an optimizer"),
        ),
    ] = None
    optimizer_options: Annotated[Options | None, Option("options of the optimiser other than lr and weight_decay.")] = (
        None
    )
    lr: Annotated[float, Option("the highest learning rate; None for 8e-3, or 5e-3 for an action.", positive())] = UNSET
    weight_decay: Annotated[
        float,
        Option(
            "weight decay of the optimiser; None for 5e-5, or 0 for an action. Matrices of Muon have their own, "
            "`decay` in optimizer_options.",
            positive(or_zero=True),
        ),
    ] = UNSET
    schedule: Annotated[
        str,
        Option(
            '"cosine", a linear warm-up and then half a cosine down to 0, or "constant". In Python, `fit` takes any '
            "schedule of torch.",
            choice(SCHEDULES, "a schedule"),
        ),
    ] = "cosine"
    warmup: Annotated[int, Option("steps of the cosine schedule until `lr` is reached; None for 50.", count(0))] = UNSET
    clip: Annotated[float, Option("the global norm to which gradients are clipped.", positive())] = 1.0
    ema: Annotated[
        float,
        Option(
            "decay of an exponential running mean of the weights, which is then evaluated and saved; 0 for none.",
            positive(or_zero=True, most=0.99999),
        ),
    ] = 0.0
    eval_every: Annotated[
        int | None,
        Option(
            "steps between evaluations, checkpoints and grids of samples; None for 20 of them in the run, as many as "
            "`mera compare` has.",
            count(),
        ),
    ] = 200
    eval_images: Annotated[
        int,
        Option("test examples in an evaluation, spread over the split; None for 500, or 2000 for an action.", count()),
    ] = UNSET
    keep: Annotated[
        str,
        Option(
            'weights to use at the end, also of a run that is stopped: "last"; "best", with the lowest loss on '
            "`eval_images` held-out examples, for which one in ten of the training examples is not learnt (of random "
            'windows: pictures, or a part of the only one); or "improved", the best weights if they are better than '
            "those of the start with 97.5 % confidence, example by example. The test examples never choose.",
            choice(("last", "best", "improved"), "the weights to keep"),
        ),
    ] = "last"
    checkpoints: Annotated[int, Option("how many of the last checkpoints are kept.", count())] = 2
    workers: Annotated[
        int,
        Option(
            "processes that read images ahead; 0 to read them in the process that trains.",
            count(0),
        ),
    ] = 0
    seed: Annotated[int, Option("seed of weights, order and noise.", count(0))] = 0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.schedule == "constant" and self.warmup is not None:
            raise InputError('a warmup of the schedule "cosine"', f'warmup={self.warmup} with schedule="constant"')
        if self.optimizer is not None and self.optimizer_options is not None:
            check_options(self.optimizer, self.optimizer_options)
        elif self.optimizer_options:
            raise InputError("Pass the name of the optimizer with optimizer_options", "")

    def filled(self, usual: Mapping[str, Any]) -> Settings:
        """The settings with values in place of None: those of a preset, or else `USUAL`."""
        values = {**USUAL, **usual} | ({} if self.schedule == "cosine" else {"warmup": None})
        return replace(self, **{name: values[name] for name in USUAL if getattr(self, name) is None})

    @property
    def last_step(self) -> float:
        """The number of steps after which the run ends; infinite if only the clock ends it."""
        if self.steps is not None:
            return self.steps
        return STEPS if self.minutes is None else math.inf

    def progress(self, step: int, seconds: float) -> float:
        """The fraction of the run, 0 to 1, that is done after a step and seconds of training steps."""
        limit = math.inf if self.minutes is None else 60 * self.minutes
        return min(1.0, max(step / self.last_step, seconds / limit))

    def evaluates(self, step: int, before: float, progress: float) -> bool:
        """Return whether an evaluation follows a step, which took a run from one fraction of its length to another."""
        if self.eval_every is None:
            return int(EVALUATIONS * progress) > int(EVALUATIONS * before)
        return progress == 1 or step % self.eval_every == 0


LIMITS = (
    "steps", "minutes", "lr", "warmup", "clip", "eval_every", "eval_images", "checkpoints", "checkpoint", "workers",
)  # fmt: skip
"""The settings that may change when a run is resumed."""
PRESETS: dict[str, dict[str, Any]] = {
    "authors": {"batch_size": 64, "optimizer": "AdamW", "lr": 1e-3, "weight_decay": 5e-2, "schedule": "constant"},
    "action": {"batch_size": 64, "lr": 5e-3, "weight_decay": 0.0, "eval_images": 2000},
    "trained": {"lr": 2e-4, "warmup": 20, "ema": 0.98, "keep": "improved", "eval_every": 100},
}
"""Settings by the name of a preset: "authors" has the settings of App. A of https://arxiv.org/abs/2010.00029, with the
weight decay of the authors' code; "action" those for learning from an action; "trained" those for a flow that begins at
trained weights."""
