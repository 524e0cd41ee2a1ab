"""Training a flow by maximum likelihood."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass
from os import PathLike
from typing import Any

from rich.console import Console
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from mera._utils.checks import check_flag
from mera._utils.errors import InputError
from mera._utils.random import seed_all
from mera.data import Examples, as_splits
from mera.density import Density
from mera.io.flows import describe_flow
from mera.train.arguments import check_callbacks, check_data, check_flow, check_run, check_start
from mera.train.batches import BatchLoader, OrderedBatchSampler, ShuffledBatchSampler, example_contexts
from mera.train.callbacks import Callback, History, Progress, RunLogger
from mera.train.draws import as_draws, split_action
from mera.train.kinds import OwnLoss, kind_of
from mera.train.loop import Loop
from mera.train.optimizers import OwnOptimizer
from mera.train.run import RunFolder
from mera.train.schedules import OwnSchedule
from mera.train.settings import Settings, with_options
from mera.train.signals import StopSignal
from mera.train.variational import Variational

__all__ = ["Result", "fit"]

INITIAL_IMAGES = 256
"""Images from which normalisation layers start."""


@dataclass(frozen=True, repr=False)
class Result:
    """The outcome of a run.

    Args:
        steps: steps taken in all.
        test_loss: the loss of the test examples when they were last evaluated, in bits per dimension for images and in
            nats for each variable for fields; NaN if never.
        best: the step with the least loss on the test examples, and that loss; None if never evaluated.
        interrupted: whether the run was asked to stop before it was over.
        flow: the flow to use: the running mean of the weights if there is one, else the flow that was trained.
        history: the metrics of all evaluations, which plot themselves in a notebook.
    """

    steps: int
    test_loss: float
    best: tuple[int, float] | None
    interrupted: bool
    flow: Any
    history: History

    def __repr__(self) -> str:
        """The number of steps and the losses."""
        best = "" if self.best is None else f", best {self.best[1]:.4f} after {self.best[0]} steps"
        state = "interrupted after" if self.interrupted else "finished after"
        return f"Result({state} {self.steps} steps, test {self.test_loss:.4f} {self.history.unit}{best})"

    def _repr_png_(self) -> bytes | None:
        """The curves of the history, which notebooks ask for."""
        return self.history._repr_png_()

    @property
    def test_bits(self) -> float:
        """The test loss of images, bits per dimension."""
        return self.test_loss


def fit(
    flow: Density,
    data: Any,
    settings: Settings | None = None,
    run: RunFolder | str | PathLike[str] | None = None,
    resume: bool | str = False,
    console: Console | None = None,
    quiet: bool = False,
    callbacks: Iterable[Callback] = (),
    loss: Callable[[Density, Any], Tensor] | None = None,
    optimizer: str | OwnOptimizer | None = None,
    schedule: str | OwnSchedule | None = None,
    **options: Any,
) -> Result:
    """Train a flow where it is, on its device and in its dtype (Eq. 7 and App. A of https://arxiv.org/abs/2010.00029).

    Started by torchrun or accelerate launch, the processes share each batch, and the flow moves to the device of each
    process; the result is that of one process. All of them need the same run and callbacks. On SIGINT (Ctrl-C) or
    SIGTERM the step at hand is finished, everything is saved, and the call returns. A second SIGINT ends the process
    as usual.

    Args:
        flow: the flow to train. Normalisation layers that have not started yet do so from the first training images.
        data: examples to learn and to evaluate: uint8 images, whose loss is in bits per dimension, or fields of floats,
            whose loss is in nats for each variable. A tensor or an array (N, C, *shape), which may be a `numpy.memmap`
            larger than memory; a pair (examples, labels); a data set of torch or of the library datasets; an iterable
            such as an `IterableDataset`, which is read in its own order; the name of a registered data set; a pair of
            training and test examples; or a `mera.data.DataSplits`. Without test examples, one in ten is held out. For
            a conditional flow labels are class numbers, or contexts if the flow was built with `context=`. Or an
            action, a function from fields (B, C, *shape) to numbers (B,), such as those of `mera.physics`: the flow
            then learns :math:`e^{-S} / Z` from its own samples, without examples; see `Settings.estimator`. A pair
            (action, fields) adds fields of that density, from another sampler say; see `Settings.field_share`.
        settings: how to train.
        run: the folder for checkpoints, metrics and samples, a path or a `mera.train.RunFolder`; nothing is written if
            None. The command line reads it too: `mera evaluate`, `sample`, `inpaint`, `train --resume`.
        resume: go on from the state in `run`: weights and metrics are then those of a run that was never interrupted,
            bit by bit. "auto" goes on if there is a state and starts if there is none, so that a script or the cell of
            a notebook can run again.
        console: where progress is shown. If None: on a terminal and in a notebook, and nowhere else.
        quiet: show no progress.
        callbacks: what else should happen; see `mera.train.Callback`.
        loss: a loss of your own, `loss(flow, batch)`, in place of the negative log-likelihood; it returns a number, or
            one for each example. A batch is data in the flow's own space, (B, C, *shape); for a conditional flow, a
            pair of data and contexts.
        optimizer: in place of that of the settings: "Muon" for `mera.train.Muon`, or the name of a class in
            torch.optim; an optimiser of the flow's parameters; or a function that makes one of them,
            `functools.partial(torch.optim.SGD, lr=0.1)`.
        schedule: in place of that of the settings: "cosine", or the name of a class in torch.optim.lr_scheduler; a
            schedule of the optimiser; or a function that makes one of it.
        options: fields of `Settings`, in place of those of `settings`: `fit(flow, x, steps=500, lr=1e-3)`.

    Returns:
        The number of steps, the bits per dimension, and the flow to use.

    Raises:
        ValueError: if an argument is of the wrong type, the flow cannot be trained (its dtype is float16, its
            parameters are frozen, gradients are switched off), the images are too few, do not fit the flow, or come
            without the classes that it is conditional on, or processes cannot share a batch equally.
        FileExistsError: if another run writes to the folder, or it holds one to go on with.
        FloatingPointError: if the loss or a gradient is not finite; the message names the first node, the batch is
            written to the run's folder, and what was saved last stays as it is.

    >>> import mera, torch
    >>> flow = mera.build("rgflow", L=4, m=2, channels=1, hidden=(4,), prior="gaussian")
    >>> result = mera.train.fit(flow, torch.randn(64, 1, 4, 4), steps=20, lr=1e-2)
    >>> result.steps, result.test_loss < 2
    (20, True)
    """
    check_flow(flow)
    action, examples = split_action(data)
    if action is None:
        data = as_splits(examples, flow.plan.input.event_shape)
        check_data(data, flow)
    run = RunFolder(run) if isinstance(run, (str, PathLike)) else run
    check_run(flow, settings, run, resume, console)
    if resume == "auto":
        resume = run is not None and bool(run.steps())
    callbacks = check_callbacks(callbacks)
    console = None if check_flag(quiet, "quiet") else _console() if console is None else console
    names = {name: own for name, own in (("optimizer", optimizer), ("schedule", schedule)) if isinstance(own, str)}
    settings = with_options(settings, options | names)
    if "field_share" in options and (action is None or examples is None):
        raise InputError("field_share beside an action and fields", f"field_share={settings.field_share} alone")
    if action is not None:
        data = as_draws(action, flow, examples, settings.field_share)
    own_optimizer = None if isinstance(optimizer, str) else optimizer
    own_schedule = None if isinstance(schedule, str) else schedule
    if isinstance(own_schedule, LRScheduler):
        if isinstance(optimizer, str):
            raise InputError("no name of an optimiser beside a schedule, which has one", repr(optimizer))
        own_optimizer = own_schedule.optimizer if own_optimizer is None else own_optimizer
    if not resume:
        check_start(flow, data.train)
    if own_optimizer is not None and (unused := {"lr", "weight_decay", "optimizer_options"} & options.keys()):
        raise InputError("the options of your own optimizer in itself", f"{', '.join(sorted(unused))} beside it")
    contexts = example_contexts(flow, data.train)
    test_contexts = example_contexts(flow, data.test)
    if action is None:
        kind = kind_of(data.train[0])
    else:
        fields = getattr(data.train, "fields", None)
        n_fields = 0 if fields is None else len(fields)
        kind = Variational(action, settings.estimator, settings.anneal, settings.alpha, n_fields)
    if loss is not None:
        if action is not None:
            raise InputError("no loss of your own beside an action, which is one", repr(loss))
        if not callable(loss):
            raise InputError("a loss as a function of flow and batch", type(loss).__name__)
        kind = OwnLoss(kind, loss)
    loop = Loop(flow, settings, run, len(data.train), kind, own_optimizer, own_schedule)
    sampler = _sampler(loop, data.train)
    history = History()
    callbacks = [history, *_standard_callbacks(loop, test_contexts, console), *callbacks]
    if run is not None and not resume and loop.is_main:
        source = {} if data.source is None else {"data": data.source}
        run.complete(describe_flow(flow) | source | {"settings": asdict(settings)})
    with run.locked() if run is not None and loop.is_main else nullcontext(), StopSignal() as signal:
        if resume and run is not None:
            _resume(loop, run)
        else:
            _start(loop, data.train, contexts)
        sampler.start = loop.step
        workers = 0 if _in_order(data.train) else settings.workers  # each would read all examples
        batches = BatchLoader(data.train, loop.kind, sampler, workers, contexts)
        if settings.compile and loop.progress < 1:
            seconds = loop.compile(next(iter(batches)))
            if console is not None:
                console.print(f"compiled in {seconds:.0f} s")
        _train(loop, batches, data.test, callbacks, signal)
    return Result(loop.step, loop.test_loss, loop.best, loop.progress < 1, loop.ema, history)


def _console() -> Console | None:
    """A console to show progress on where somebody looks: a terminal or a notebook."""
    console = Console()
    return console if console.is_terminal or console.is_jupyter else None


def _sampler(loop: Loop, examples: Examples) -> ShuffledBatchSampler:
    """The order of the training examples; a batch is smaller than asked for if there are fewer examples."""
    n, world_size, settings = loop.n_images, loop.world_size, loop.settings
    batch_size = min(settings.batch_size, n - n % world_size)
    kind = OrderedBatchSampler if _in_order(examples) else ShuffledBatchSampler
    return kind(n, batch_size, settings.seed, rank=loop.rank, world_size=world_size)


def _in_order(examples: Examples) -> bool:
    """Whether examples are read in their own order, without end."""
    return getattr(examples, "in_order", False)


def _standard_callbacks(loop: Loop, test_contexts: Tensor | None, console: Console | None) -> list[Callback]:
    """The files of a run and the progress bar, where they are asked for; samples take all classes in turn."""
    callbacks: list[Callback] = []
    if loop.run is not None:
        callbacks.append(RunLogger(loop.run, test_contexts if loop.flow.context_encoder.classes is None else None))
    if console is not None and loop.is_main:
        callbacks.append(Progress(console))
    return callbacks


def _start(loop: Loop, images: Examples, contexts: Tensor | None) -> None:
    """Start the normalisation layers, and save: whatever happens later, there is a checkpoint to go on from."""
    seed_all(loop.settings.seed)
    x = loop.kind.start(loop.flow, images, INITIAL_IMAGES)
    loop.flow.initialize(x, None if contexts is None else contexts[: len(x)].to(loop.device))
    loop.ema.load_state_dict(loop.flow.state_dict())
    loop.save()


def _resume(loop: Loop, run: RunFolder) -> None:
    """Go on from the last checkpoint, and forget the metrics of later steps, which are about to be taken again."""
    loop.load_state_dict(run.state())
    if loop.is_main:
        run.rewind(loop.step)


def _train(
    loop: Loop, batches: BatchLoader, test_images: Examples, callbacks: list[Callback], signal: StopSignal
) -> None:
    """Steps, evaluations and checkpoints until the run is over or asked to stop."""
    with ExitStack() as stack:
        for callback in callbacks:
            callback.on_start(loop)
            stack.callback(callback.on_end, loop)
        start = time.monotonic() - loop.elapsed
        for batch in batches if loop.progress < 1 else ():
            metrics = loop.training_step(batch)
            for callback in callbacks:
                callback.on_step(loop, metrics)
            loop.synchronize(time.monotonic() - start, signal.is_set)
            finished = loop.progress == 1
            if finished or loop.step % loop.settings.eval_every == 0:
                metrics = loop.evaluate(test_images) | metrics
                for callback in callbacks:
                    callback.on_evaluation(loop, metrics)
                loop.synchronize(time.monotonic() - start, signal.is_set)
                loop.save()
            elif loop.stopping:
                loop.save()
            if finished or loop.stopping:
                break
