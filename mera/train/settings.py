"""The settings of a training run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mera._utils.checks import check_choice, check_count, check_flag, check_positive
from mera.graph.memory import MEMORY
from mera.train.optimizers import check_optimizer
from mera.train.schedules import check_schedule

__all__ = ["PRESETS", "Options", "Settings"]

Options = Mapping[str, Any]
"""Options of a class of torch, by name."""

MINIMUM = {
    "steps": 1, "batch_size": 1, "accumulate": 1, "workers": 0, "warmup": 0,
    "eval_every": 1, "eval_images": 1, "keep": 1, "seed": 0,
}  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """How to train. The options of the command line have the same names.

    Args:
        steps: steps of the optimiser.
        minutes: stop after so many minutes of training if that comes first, with the schedule of a run of that length;
            no limit if None.
        batch_size: images in a step, over all processes and all parts of a batch.
        accumulate: in how many parts, one after the other, a process takes its share of a batch, to save memory.
        precision: "float32", or "bfloat16" for the matrix products of the networks; log-dets stay in single precision.
        memory: "store", "checkpoint" or "invert" for all nodes; as the flow has it if None. See `Flow.memory`.
        compile: let torch compile the couplings first, which takes a minute or more; the time is shown.
        optimizer: the name of a class in torch.optim.
        optimizer_options: options of the optimiser beside lr and weight_decay.
        lr: the highest learning rate.
        weight_decay: weight decay of the optimiser.
        schedule: "cosine", a linear warm-up and then half a cosine down to 0, or the name of a class in
            torch.optim.lr_scheduler.
        schedule_options: options of a schedule of torch; its number of steps is `steps` unless they say otherwise.
        warmup: steps of the cosine schedule until `lr` is reached.
        clip: the global norm to which gradients are clipped.
        ema: decay of an exponential running mean of the weights, which is then evaluated and saved; 0 for none.
        eval_every: steps between evaluations, checkpoints and grids of samples.
        eval_images: test images in an evaluation.
        keep: how many of the last checkpoints are kept, beside the best one.
        workers: processes that read images ahead; 0 to read them in the process that trains.
        seed: seed of weights, order and noise.

    Raises:
        ValueError: if a number is out of its range, or torch has no such optimiser, schedule or option.
    """

    steps: int = 2000
    minutes: float | None = None
    batch_size: int = 32
    accumulate: int = 1
    precision: str = "float32"
    memory: str | None = None
    compile: bool = False
    optimizer: str = "AdamW"
    optimizer_options: Options | None = None
    lr: float = 8e-3
    weight_decay: float = 5e-5
    schedule: str = "cosine"
    schedule_options: Options | None = None
    warmup: int = 50
    clip: float = 1.0
    ema: float = 0.0
    eval_every: int = 200
    eval_images: int = 500
    keep: int = 2
    workers: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        numbers: dict[str, float] = {
            name: check_count(getattr(self, name), name, minimum) for name, minimum in MINIMUM.items()
        }
        numbers |= {name: check_positive(getattr(self, name), name) for name in ("lr", "clip")}
        numbers |= {name: check_positive(getattr(self, name), name, or_zero=True) for name in ("weight_decay", "ema")}
        if self.minutes is not None:
            numbers["minutes"] = check_positive(self.minutes, "minutes")
        for name, number in numbers.items():
            # Python's own numbers, of whichever library the user's are: a file can hold them
            object.__setattr__(self, name, number)
        if self.ema >= 1:
            raise ValueError(f"Expected ema as a decay below 1; got {self.ema!r}")
        check_choice(self.precision, ("float32", "bfloat16"), "a precision")
        check_flag(self.compile, "compile")
        if self.memory is not None:
            check_choice(self.memory, MEMORY, "memory")
        check_optimizer(self.optimizer, self.optimizer_options or {})
        check_schedule(self.schedule, self.schedule_options or {})


PRESETS: dict[str, dict[str, Any]] = {
    "authors": {
        "batch_size": 64,
        "lr": 1e-3,
        "weight_decay": 5e-2,
        "schedule": "ConstantLR",
        "schedule_options": {"factor": 1.0},
    }
}
"""Settings by the name of a preset of models.

"authors" has those of App. A of https://arxiv.org/abs/2010.00029, with the weight decay of the authors' code.
"""
