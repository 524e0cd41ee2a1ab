"""`fit`, which trains a flow on examples or on an action."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from itertools import chain
from os import PathLike
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from mera._utils.checks import check_choice, check_flag
from mera._utils.errors import InputError
from mera._utils.processes import StopSignal, raise_signal
from mera._utils.progress import check_console
from mera._utils.random import restored_states, seed_all
from mera._utils.table import plus_minus
from mera._utils.torch_modes import chosen_threads, threads_set
from mera.flow.density import Density
from mera.graph.summary import count_parameters
from mera.models.saving import describe_flow
from mera.sampling.weights import format_ess
from mera.train.batches import read_batches
from mera.train.callbacks import Callback, History, Progress
from mera.train.health import check_user_bijectors, divergence, inverse_error
from mera.train.loop import Loop
from mera.train.optimizers import UserOptimizer, UserSchedule, cosine
from mera.train.recognize import Objectives, is_action, recognize
from mera.train.run import METRICS, PARTS, RunFolder
from mera.train.settings import LIMITS, PRESETS, Settings

OF_REPLACED = {"optimizer": ("lr", "weight_decay", "optimizer_options"), "schedule": ("warmup",)}
"""The settings that have no effect if the user's own optimiser, or schedule, replaces the one of the settings."""

SPENT = 0.1
"""The share of the highest learning rate below which a run that is made longer is told that it learns little more."""


@dataclass(frozen=True, repr=False)
class Result:
    """The outcome of a run.

    Args:
        steps: the total number of steps.
        test_loss: the loss of the last evaluation, in `unit`; NaN without an evaluation.
        unit: the unit of the loss: "bits/dim" for images, "nats/variable" for fields and actions, "loss" for the user's
            own loss.
        measured: the data of evaluations: "test images", "test fields", or "samples" of the flow for an action.
        best: the step with the lowest loss of all evaluations, and that loss; of the test examples, or with keep="best"
            of the held-out part of the training examples; None without an evaluation.
        interrupted: whether a signal asked the run to stop.
        diverged: whether the weights should not be used: they are not finite, or the inverse is wrong; False if this
            was not checked.
        verdict: a sentence about divergence, or about the weights of samples of an action.
        flow: the flow to use: the running mean of the weights if there is one, else the trained flow; with the weights
            that `Settings.keep` names.
        history: the metrics of all evaluations, which plot themselves in a notebook.
        test_error: the standard error of `test_loss` over the examples of the evaluation; NaN if it is not known.
    """

    steps: int
    test_loss: float
    unit: str
    measured: str
    best: tuple[int, float] | None
    interrupted: bool
    flow: Any
    history: History
    diverged: bool = False
    verdict: str = ""
    test_error: float = math.nan

    def __repr__(self) -> str:
        """The number of steps, the losses and the verdict."""
        best = "" if self.best is None else f", best {self.best[1]:.4f} after {self.best[0]} steps"
        state = "interrupted after" if self.interrupted else "finished after"
        return f"Result({state} {self.steps} steps, {self.losses}{best}; {self.verdict})"

    @property
    def losses(self) -> str:
        """The test loss with its error in words; for an action also the effective sample size and the free energy."""
        last = self.history.metrics[-1] if self.history.metrics else {}
        text = f"{plus_minus(self.test_loss, self.test_error, 4)} {self.unit} on {self.measured}"
        if "ess" in last:
            free_energy = plus_minus(last["free_energy"], last.get("free_energy_error", math.nan))
            text = f"ESS {format_ess(last['ess'], last.get('pareto_k', math.nan))}, free energy {free_energy}, {text}"
        return text

    def _repr_png_(self) -> bytes | None:
        """The curves of the history, which notebooks ask for."""
        return self.history._repr_png_()


def fit(
    flow: Density,
    data: Any,
    settings: Settings | None = None,
    run: RunFolder | str | PathLike[str] | None = None,
    *,
    test: Any = None,
    labels: Any = None,
    test_labels: Any = None,
    check: bool = True,
    resume: bool | str = False,
    rewarm: bool = False,
    console: Console | None = None,
    quiet: bool = False,
    callbacks: Iterable[Callback] = (),
    loss: Callable[[Density, Any], Tensor] | None = None,
    optimizer: str | UserOptimizer | None = None,
    schedule: str | UserSchedule | None = None,
    on_signal: str = "raise",
    extra: Mapping[str, Any] | None = None,
    **options: Any,
) -> Result:
    """Train a flow in place, on its device and in its dtype (Eq. 7 and App. A of https://arxiv.org/abs/2010.00029).

    Processes that torchrun or accelerate launch started share each batch, with a copy of the flow on the device of each
    process; the result equals that of a single process to rounding. All processes need the same `run` and
    `callbacks`. On SIGINT (Ctrl-C) or SIGTERM the current step is finished and everything is saved; then
    `KeyboardInterrupt` or `SystemExit` is raised, so that a script ends (see `on_signal`). A second SIGINT ends the
    process at once. At the end the random states of torch, numpy and Python are as they were.

    Args:
        flow: the flow to train. Normalisation layers that are not initialised yet are set from the first images.
        data: the training data or the action; see the table below.
        settings: the settings of training, of which those that are None depend on the data; None for the defaults.
        test: the test data, of one of the same kinds; if None, one in ten of the training examples is held out.
        labels: the labels of training data, in place of its own: class numbers (N,), or contexts of a flow with
            `context=`.
        test_labels: the labels of `test`.
        check: whether the flow is checked at the end: its inverse, and for an action the weights of samples, together
            with short chains, which takes a while.
        run: the folder for checkpoints, metrics and samples, a path or a `mera.train.RunFolder`; nothing is written if
            None. The command line reads it too: `mera evaluate`, `sample`, `inpaint`, `train --resume`.
        resume: resume from the last checkpoint in `run`; weights and metrics are then bitwise equal to those of an
            uninterrupted run. "auto" resumes if there is a checkpoint and starts otherwise, so that scripts and
            notebook cells can be re-run.
        rewarm: begin the schedule anew where a run is resumed, with a warm-up, and let it end with the longer run.
            Without it, the rates of a run that is made longer are those of the whole run's schedule from there on.
        console: the console on which progress is shown; None shows progress on terminals and in notebooks only.
        quiet: show no progress.
        on_signal: what a signal to stop does after everything is saved: "raise" `KeyboardInterrupt` or `SystemExit`, or
            "return" the result.
        extra: further facts of the run, in its `manifest.json`, of values that JSON can hold.
        callbacks: objects that are called at each step and each evaluation; see `mera.train.Callback`.
        loss: your own loss, `loss(flow, batch)`, in place of the negative log-likelihood; it returns a scalar, or one
            number for each example. A batch is data in the flow's own space, (B, C, *shape); for a conditional flow, a
            pair of data and contexts.
        optimizer: replaces the optimiser of the settings: "Muon" for `mera.train.Muon`, or "AdamW"; an optimiser of the
            flow's parameters; or a function from parameters to one, `functools.partial(torch.optim.SGD, lr=0.1)`.
        schedule: replaces the schedule of the settings: "cosine" or "constant"; or a function from the optimiser to a
            schedule, `functools.partial(torch.optim.lr_scheduler.StepLR, step_size=100)`.
        options: fields of `Settings`, which replace those of `settings`: `fit(flow, x, steps=500, lr=1e-3)`.

    ============================================== ===================================================================
    data                                           learnt as
    ============================================== ===================================================================
    tensor or array (N, C, \\*shape), or a memmap   images (uint8, bits/dim) or fields (floats, nats for each variable);
                                                   `mera.data.as_images` converts pixels of other dtypes
    data set of torch or of the library datasets   the same; items are examples, or tuples or dicts with a label
    name of a registered data set, a file, folder  the same; see `mera.data.load`
    `mera.data.DataSplits`                         its two splits
    action S, a function of fields to (B,)         the density :math:`e^{-S} / Z`, from the flow's own samples
    an ActionFamily                                actions at all parameters of ranges, for a flow with a context
    ============================================== ===================================================================

    Returns:
        The number of steps, the losses, and the flow to use.

    Raises:
        ValueError: if the flow cannot be trained, the data does not fit it, a bijector of your own breaks a law at the
            first batch (see `mera.check`), or the run in the folder learnt other data or had other settings.
        FileExistsError: if another run writes to the folder, or the folder holds a run and `resume` is False.
        FloatingPointError: if the loss or a gradient is not finite; the message names the first node with such an
            output, and the last checkpoint stays as it is.

    Warns:
        UserWarning: if the run diverged.

    >>> import mera, torch
    >>> flow = mera.build("rgflow", L=4, m=2, channels=1, hidden=(4,), prior="gaussian")
    >>> result = mera.train.fit(flow, torch.randn(64, 1, 4, 4), steps=20, lr=1e-2)
    >>> result.steps, result.test_loss < 2
    (20, True)
    """
    _check_trainable(flow)
    check_choice(on_signal, ("raise", "return"), "on_signal")
    run = run if run is None or isinstance(run, RunFolder) else RunFolder(run)
    resumed = _resumes(flow, run, resume)
    if check_flag(rewarm, "rewarm") and (not resumed or not (schedule is None or isinstance(schedule, str))):
        raise InputError("rewarm=True with a run that is resumed and a schedule of the settings", "another call")
    console = check_console(console, quiet)
    settings, user_optimizer, user_schedule = _settings(settings or Settings(), optimizer, schedule, options)
    settings = settings.filled(PRESETS["action"] if is_action(data) else {})
    learnt = recognize(flow, data, settings, loss, test, labels, test_labels)
    loop, history = Loop(flow, settings, run, learnt.train, user_optimizer, user_schedule), History()
    standard: list[Callback] = [history]
    if not console.quiet and loop.is_main:
        standard.append(Progress(console))
    callbacks = [*standard, *callbacks]
    written: dict[str, Any] = run.facts() if resumed and run is not None else {}
    threads = chosen_threads(count_parameters(flow), flow.device, written.get("threads"))
    limits = written.get("limits", {})
    facts = {} if run is None else _facts(loop, learnt, threads, loss) | dict(extra or {})
    locked = run.locked() if run is not None and loop.is_main else nullcontext()
    with locked, restored_states(), StopSignal() as signal, threads_set(threads):
        _open(loop, facts, resumed)
        if rewarm:
            loop.schedule_from = loop.step, loop.elapsed
        elif resumed and (reason := _spent(loop, limits)):
            warnings.warn(reason, stacklevel=2)
        batches = read_batches(learnt.train, settings.seed, loop.rows, loop.step, settings.workers)
        saves_memory, first_step = flow.checkpoint, loop.step
        flow.checkpoint = saves_memory or settings.checkpoint
        try:
            if settings.compile and loop.progress < 1:  # with the first of the remaining batches
                if not console.quiet:
                    console.print("torch compiles the loss, which takes minutes the first time")
                loop.compile(first := next(batches))
                batches = chain([first], batches)
            loop.repeat(batches, learnt.test, learnt.validation, callbacks, signal)
        finally:
            flow.checkpoint = saves_memory
            loop.set_rates()  # so that a user's own optimiser can serve again
        if settings.keep != "last":
            loop.use_best(learnt.test)
        number, diverged, verdict = loop.signal or signal.number, None, "not checked"
        if check:
            if is_action(data) and not (number or console.quiet):
                console.print("checking the weights of samples and short chains; check=False or --no-check omits it")
            diverged = divergence(loop.trained, inverse_error(loop.trained, learnt.test) if history.metrics else 0.0)
            verdict = diverged or (not number and learnt.test.verdict(loop.trained)) or "no sign of divergence"
        if resumed and loop.step == first_step and not number:
            verdict = f"no step was taken: the run had ended after {loop.step} steps; pass a larger steps= or minutes="
    number = number or signal.number  # a signal during the check
    if diverged:
        warnings.warn(f"Training {diverged}", stacklevel=2)
    if number and on_signal == "raise":
        raise_signal(number)
    return Result(
        loop.step, loop.test_loss, learnt.test.unit, learnt.test.measured, loop.best,
        bool(number), loop.trained, history, diverged is not None, verdict, loop.test_error,
    )  # fmt: skip


def _check_trainable(flow: Any) -> None:
    """Refuse any object but a flow, frozen or half-precision weights, and a call without gradients."""
    if not isinstance(flow, Density):
        raise InputError("a Flow to train", repr(flow)[:60])
    if flow.dtype not in (torch.float32, torch.float64):
        mend = 'train flow.float(), with precision="bfloat16" for networks in half precision, and convert it afterwards'
        raise InputError("a flow of float32 or float64 to train", f"{flow.dtype}: {mend}")
    if not any(parameter.requires_grad for parameter in flow.parameters()):
        raise InputError("a flow with a parameter that requires a gradient", "one whose parameters are frozen")
    if not torch.is_grad_enabled():
        raise InputError("fit to run with gradients", "a call within torch.no_grad() or torch.inference_mode()")


def _resumes(flow: Density, run: RunFolder | None, resume: bool | str) -> bool:
    """Return whether a run is resumed; refuse a folder that does not fit `resume`, and a flow that no file can hold."""
    if not isinstance(resume, bool) and resume != "auto":
        raise InputError('resume as True, False or "auto"', repr(resume))
    if run is None:
        if resume is True:
            raise InputError("the folder of a run to resume", "None")
        return False
    if run.steps() and not resume:
        raise FileExistsError(
            f"Expected a folder without a run; got {run.path}: go on with it (resume=True in Python, "
            f"--resume {run.path} on the command line), or choose another"
        )
    describe_flow(flow)  # in each process: only one process writes, and the others should not wait for it
    return bool(run.steps()) if resume == "auto" else resume is True


def _settings(
    settings: Settings,
    optimizer: str | UserOptimizer | None,
    schedule: str | UserSchedule | None,
    options: dict[str, Any],
) -> tuple[Settings, UserOptimizer | None, UserSchedule | None]:
    """The settings with all options, and the user's own optimiser and schedule, each None if it is a name."""
    names = {"optimizer": optimizer, "schedule": schedule}
    options = options | {option: name for option, name in names.items() if isinstance(name, str)}
    for option in options:
        check_choice(option, Settings.__dataclass_fields__, "a setting")
    settings = replace(settings, **options)
    user_optimizer = None if isinstance(optimizer, str) else optimizer
    user_schedule = None if isinstance(schedule, str) else schedule
    if user_schedule is not None and not callable(user_schedule):
        expected = "a function from an optimiser to a schedule, such as functools.partial(StepLR, step_size=10)"
        raise InputError(expected, f"a {type(user_schedule).__name__}")
    for word, own in {"optimizer": user_optimizer, "schedule": user_schedule}.items():
        unused = [name for name in OF_REPLACED[word] if getattr(settings, name) is not None]
        if own is not None and unused:
            raise InputError(f"Pass {', '.join(unused)} to your own {word} itself, not to fit", "")
    return settings, user_optimizer, user_schedule


def _facts(loop: Loop, learnt: Objectives, threads: int, loss: Any) -> dict[str, Any]:
    """The facts of a run for its manifest: the flow, the data or the action, the loss, the settings, the optimiser.

    Facts under "limits" and the number of threads may change when a run is resumed.
    """
    settings = asdict(loop.settings)
    options = ({k: v for k, v in group.items() if k not in ("params", "lr")} for group in loop.optimizer.param_groups)
    return {
        **describe_flow(loop.flow),
        "learns": learnt.train.name,
        **learnt.facts,
        "loss": None if loss is None else f"{loss.__module__}.{getattr(loss, '__qualname__', type(loss).__name__)}",
        "settings": {name: value for name, value in settings.items() if name not in LIMITS},
        **loop.names,
        "optimizer options": list(options),
        "limits": {name: settings[name] for name in LIMITS},
        "threads": threads,
        "source": None if learnt.splits is None else learnt.splits.source,
        "classes": [] if learnt.splits is None else list(learnt.splits.classes),
        "parameters": count_parameters(loop.flow),
    }


def _spent(loop: Loop, limits: Mapping[str, Any]) -> str | None:
    """A sentence on a run that had ended, and is made longer by so little that its rates are almost 0; else None."""
    before = replace(loop.settings, steps=limits["steps"], minutes=limits["minutes"])
    had_ended = before.progress(loop.step, loop.elapsed) == 1 > loop.progress
    highest = cosine(1, 0, loop.progress)
    if not had_ended or loop.names["schedule"] != "cosine" or highest > SPENT:
        return None
    return (
        f"The schedule is almost over: rates are at most {highest:.1%} of lr. rewarm=True (--rewarm) begins a new one"
    )


def _open(loop: Loop, facts: dict[str, Any], resumed: bool) -> None:
    """Write the manifest of the run, if it has a folder; then start, or go on from the last checkpoint."""
    run = loop.run
    if resumed and run is not None:
        before = run.facts()
        run.compare(facts, {"limits", "threads", "source", "parameters", "classes"})  # data may be moved
        facts = before | facts
        loop.load_state_dict(run.state())
        if loop.settings.last_step < loop.step:
            raise InputError(f"steps beyond the {loop.step} that {run.path} has taken", str(loop.settings.last_step))
    if run is not None and loop.is_main:
        run.write(facts, PARTS)
        run.rewrite(METRICS, [line for line in run.metrics() if line["step"] <= loop.step])  # later ones are repeated
    if not resumed:
        seed_all(loop.settings.seed)
        check_user_bijectors(loop.flow, *loop.start())
