"""Training a flow by maximum likelihood (paper, Eq. 7 and App. A)."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from rich.console import Console
from torch.utils.data import DataLoader, Dataset

from mera.data import ImageData, first
from mera.flow import Flow
from mera.progress import Ticker
from mera.random import get_states, set_states
from mera.train.batches import Batches
from mera.train.evaluate import bits_per_dim
from mera.train.recorder import Recorder
from mera.train.run import RunFolder
from mera.train.schedule import learning_rate_factor
from mera.train.settings import Settings

__all__ = ["Result", "fit"]

INITIAL_IMAGES = 256
"""Images from which normalisation layers start."""


@dataclass(frozen=True)
class Result:
    """What a run came to.

    Args:
        steps: steps taken in all.
        test_bits: bits per dimension on the test images, at the end.
        interrupted: whether the run was asked to stop before it was over.
    """

    steps: int
    test_bits: float
    interrupted: bool


def fit(
    flow: Flow,
    data: ImageData,
    settings: Settings | None = None,
    run: RunFolder | None = None,
    resume: bool = False,
    console: Console | None = None,
) -> Result:
    """Train a flow where it is, on its device and in its dtype.

    On SIGINT (Ctrl-C) or SIGTERM the step at hand is finished, everything is saved, and the call returns. A second
    one ends the process as usual.

    Args:
        flow: what to train.
        data: its training images are learnt, its test images evaluated.
        settings: how to train.
        run: where to keep what comes of it; nothing is written if None.
        resume: go on from the state in `run`.
        console: where progress is shown; nowhere if None.

    Raises:
        ValueError: if the images do not fit the flow.
        FloatingPointError: if the loss is not finite; what was saved last stays as it is.
    """
    settings = settings or Settings()
    console = console or Console(quiet=True)
    if resume and run is None:
        raise ValueError("Expected the folder of a run to resume; got None")
    if not len(data.train) or not len(data.test):
        raise ValueError(f"Expected training and test images; got {len(data.train)} and {len(data.test)}")
    optimizer = torch.optim.AdamW(flow.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    step, spent, resumed = 0, 0.0, -1
    if resume and run is not None:
        step, spent = resumed, _ = _restore(run.state(), flow, optimizer)
    else:
        torch.manual_seed(settings.seed)
        flow.initialize(flow.from_images(first(data.train, INITIAL_IMAGES).to(flow.device)))
        if run is not None:  # whatever happens, there is something to go on from
            run.save(flow, _state(0, 0.0, flow, optimizer, get_states()))
    order = Batches(len(data.train), settings.batch_size, settings.seed, step)
    own = torch.Generator()  # else the loader would draw from the random state that a resumed run restores
    batches: DataLoader = DataLoader(cast(Dataset, data.train), batch_sampler=order, collate_fn=_collate, generator=own)
    limit = math.inf if settings.minutes is None else 60 * settings.minutes

    def progress() -> float:
        return min(1.0, max(step / settings.steps, spent / limit))

    with (
        Recorder(run) as recorder,
        Ticker("train", console, done=step, fraction=progress()) as ticker,
        _stop_signal() as stop,
    ):
        start = time.monotonic() - spent
        random = get_states()  # before the next batch is drawn, which a resumed run draws again
        for images in batches:
            spent = time.monotonic() - start
            finished = progress() == 1
            if finished or stop.is_set() or (step % settings.eval_every == 0 and step > 0):
                test_bits = bits_per_dim(flow, data.test, settings.eval_images)
                if step > resumed:  # else all of this was written before
                    recorder.evaluation(flow, step, spent, test_bits)
                    if run is not None:
                        run.save(flow, _state(step, spent, flow, optimizer, random))
                if finished or stop.is_set():
                    break
            factor = learning_rate_factor(step, settings.warmup, progress())
            bits, norm = _step(flow, images.to(flow.device), optimizer, settings, factor)
            if not (math.isfinite(bits) and math.isfinite(norm)):
                raise FloatingPointError(
                    f"Expected a finite loss and gradient; got {bits} bits/dim and gradient norm {norm} at step {step}"
                )
            step += 1
            recorder.step(step, bits, norm, settings.lr * factor)
            ticker.update(step, progress(), f"{recorder.smooth_bits:.3f} bits/dim")
            random = get_states()
    return Result(step, test_bits, interrupted=not finished)


def _step(
    flow: Flow, images: torch.Tensor, optimizer: torch.optim.Optimizer, settings: Settings, factor: float
) -> tuple[float, float]:
    """One step of the optimiser: the loss in bits per dimension, and the norm of its gradient."""
    for group in optimizer.param_groups:
        group["lr"] = settings.lr * factor
    optimizer.zero_grad()
    loss = flow.bits_per_dim(images).mean()
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(flow.parameters(), settings.clip)
    if math.isfinite(norm):
        optimizer.step()
    return loss.item(), norm.item()


def _collate(items: Any) -> torch.Tensor:
    """A batch: at once from a set in memory, or one by one from files."""
    return items if isinstance(items, torch.Tensor) else torch.stack(items)


def _state(
    step: int, spent: float, flow: Flow, optimizer: torch.optim.Optimizer, random: list[torch.Tensor]
) -> dict[str, Any]:
    """All that a run needs to go on, in one piece, so that no part of it can be older than another."""
    return {
        "step": step,
        "spent": spent,
        "flow": flow.state_dict(),
        "optimizer": optimizer.state_dict(),
        "random": random,
    }


def _restore(state: dict[str, Any], flow: Flow, optimizer: torch.optim.Optimizer) -> tuple[int, float]:
    """Put flow, optimiser and random states back; the steps taken and the time spent."""
    try:
        flow.load_state_dict(state["flow"])
        optimizer.load_state_dict(state["optimizer"])
        set_states(state["random"])
        return int(state["step"]), float(state["spent"])
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise ValueError(f"Expected the state of a run of this flow; got another, or a damaged one: {error}") from error


@contextmanager
def _stop_signal() -> Iterator[threading.Event]:
    """An event that the first SIGINT or SIGTERM sets; outside the main thread, where none arrive, it stays unset."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in signals}

    def stop(number: int, frame: object) -> None:
        event.set()
        signal.signal(number, before[signal.Signals(number)])

    for number in signals:
        signal.signal(number, stop)
    try:
        yield event
    finally:
        for number in signals:
            signal.signal(number, before[number])
