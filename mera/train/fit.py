"""Training a flow by maximum likelihood (paper, Eq. 7 and App. A)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass

from accelerate.utils import set_seed
from rich.console import Console
from torch.utils.data import DataLoader

from mera.data import ImageData, first
from mera.flow import Flow
from mera.io.flows import describe_flow
from mera.train.batches import Batches, contexts, loader
from mera.train.callbacks import Callback, Progress, Recorder
from mera.train.loop import Loop
from mera.train.run import RunFolder
from mera.train.settings import Settings
from mera.train.signals import StopSignal

__all__ = ["Result", "fit"]

INITIAL_IMAGES = 256
"""Images from which normalisation layers start."""


@dataclass(frozen=True)
class Result:
    """What a run came to.

    Args:
        steps: steps taken in all.
        test_bits: bits per dimension on the test images when they were last evaluated; NaN if never.
        best: the step with the fewest bits per dimension on the test images, and their number; None if never evaluated.
        interrupted: whether the run was asked to stop before it was over.
        flow: the flow to use: the running mean of the weights if there is one, else the flow that was trained.
    """

    steps: int
    test_bits: float
    best: tuple[int, float] | None
    interrupted: bool
    flow: Flow


def fit(
    flow: Flow,
    data: ImageData,
    settings: Settings | None = None,
    run: RunFolder | None = None,
    resume: bool = False,
    console: Console | None = None,
    callbacks: Iterable[Callback] = (),
) -> Result:
    """Train a flow where it is, on its device and in its dtype.

    Started by torchrun or accelerate launch, the processes share each batch and the flow is on each one's device; the
    result is that of one process. All of them need the same run and callbacks. On SIGINT (Ctrl-C) or SIGTERM the step
    at hand is finished, everything is saved, and the call returns. A second SIGINT ends the process as usual.

    Args:
        flow: what to train.
        data: its training images are learnt, its test images evaluated. For a conditional flow its images carry the
            label "class", or "context" if the flow was built with `context=`.
        settings: how to train.
        run: where to keep what comes of it; nothing is written if None.
        resume: go on from the state in `run`: weights and metrics are then those of a run that was never interrupted,
            bit by bit.
        console: where progress is shown; nowhere if None.
        callbacks: what else should happen; see `mera.train.Callback`.

    Raises:
        ValueError: if the images do not fit the flow, come without the classes that it is conditional on, or processes
            cannot share a batch equally.
        FileExistsError: if another run writes to the folder, or it holds one to go on with.
        FloatingPointError: if the loss or a gradient is not finite; the message names the first node, the batch is
            written to the run's folder, and what was saved last stays as it is.
    """
    settings = settings or Settings()
    if resume and run is None:
        raise ValueError("Expected the folder of a run to resume; got None")
    if not len(data.train) or not len(data.test):
        raise ValueError(f"Expected training and test images; got {len(data.train)} and {len(data.test)}")
    if run is not None and run.steps() and not resume:
        raise FileExistsError(f"Expected a folder without checkpoints, or resume=True; got {run.path}")
    if run is not None:
        describe_flow(flow)  # in each process: only one of them will write, and the others should not wait for it
    known = contexts(flow, data.train)
    known_of_test = contexts(flow, data.test)
    loop = Loop(flow, settings)
    loop.contexts = known_of_test if flow.context_encoder.classes is None else None
    n, (_, shares) = len(data.train), loop.share
    loop.images = n
    size = min(settings.batch_size, n - n % shares)
    batches = Batches(n, size, settings.seed, share=loop.share)
    own: list[Callback] = [] if run is None else [Recorder(run)]
    if console is not None and loop.is_main:
        own.append(Progress(console))
    say = console.print if console is not None else lambda text: None
    with run.locked() if run is not None and loop.is_main else nullcontext(), StopSignal() as signal:
        if resume and run is not None:
            loop.load_state_dict(run.state())
            if loop.is_main:
                run.rewind(loop.step)
        else:
            set_seed(settings.seed)
            images = first(data.train, INITIAL_IMAGES).to(flow.device)
            flow.initialize(flow.from_images(images), None if known is None else known[: len(images)].to(flow.device))
            loop.averaged.load_state_dict(flow.state_dict())
            loop.save(run)  # whatever happens, there is something to go on from
        batches.start = loop.step
        _run(loop, data, loader(data.train, batches, settings.workers, known), run, [*own, *callbacks], signal, say)
    return Result(loop.step, loop.test_bits, loop.best, loop.progress < 1, loop.averaged)


def _run(
    loop: Loop, data: ImageData, batches: DataLoader, run: RunFolder | None, callbacks: list[Callback],
    signal: StopSignal, say: Callable[[str], None],
) -> None:  # fmt: skip
    """Steps, evaluations and checkpoints until the run is over or asked to stop."""
    settings = loop.settings
    if settings.compile and loop.progress < 1:
        say(f"compiled in {loop.compile(*next(iter(batches))):.0f} s")
    with ExitStack() as ends:
        for callback in callbacks:
            callback.on_start(loop)
            ends.callback(callback.on_end, loop)
        start = time.monotonic() - loop.spent
        for batch in batches if loop.progress < 1 else ():
            metrics = loop.take(batch, run)
            for callback in callbacks:
                callback.on_step(loop, metrics)
            loop.agree(time.monotonic() - start, signal.is_set)
            over = loop.progress == 1
            if over or loop.step % settings.eval_every == 0:
                loop.evaluate(data, metrics, callbacks)
                loop.agree(time.monotonic() - start, signal.is_set)
                loop.save(run)
            elif loop.stopping:
                loop.save(run)
            if over or loop.stopping:
                break
