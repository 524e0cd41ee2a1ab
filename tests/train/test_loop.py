"""A run is the plain loop of torch: batches, warm-up and cosine, clipping before the step, a running mean after it."""

import copy
import io
import math
from itertools import chain
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console

import mera
from mera.train import Callback, Settings, fit
from mera.train.batches import Order, rows_per_step
from mera.train.callbacks import Progress
from mera.train.loop import Loop
from mera.train.recognize import recognize


def naive(flow, x, settings):
    """Steps in plain torch; the metrics of each, and the mean of the weights."""
    objective = recognize(flow, x[:36], settings.filled({}), test=x[36:]).train
    optimizer = torch.optim.AdamW(flow.parameters(), settings.lr, weight_decay=settings.weight_decay)
    mean, metrics = copy.deepcopy(flow), []
    for step in range(settings.steps):
        progress = step / settings.steps
        rate = settings.lr * min(1, (step + 1) / settings.warmup) * (1 + math.cos(math.pi * progress)) / 2
        optimizer.param_groups[0]["lr"] = rate
        batch = objective.batch(settings.seed, step + 1, range(settings.batch_size))
        loss = objective.loss(flow, batch).mean()
        optimizer.zero_grad()
        loss.backward()
        norm = math.sqrt(sum(parameter.grad.square().sum().item() for parameter in flow.parameters()))
        for parameter in flow.parameters():
            parameter.grad *= min(1, settings.clip / (norm + 1e-6))
        optimizer.step()
        metrics.append({"train_nats": loss.item(), "gradient_norm": norm, "lr": rate})
        with torch.no_grad():
            for a, b in zip(mean.parameters(), flow.parameters(), strict=True):
                a.copy_(b if step == 0 else settings.ema * a + (1 - settings.ema) * b)
    return metrics, mean


class Record(Callback):
    def __init__(self):
        self.metrics, self.evaluations, self.progress = [], [], []

    def on_start(self, loop):
        self.progress.append(loop.progress)

    def on_step(self, loop, metrics):
        self.metrics.append(metrics)
        self.progress.append(loop.progress)

    def on_evaluation(self, loop, metrics):
        self.evaluations.append((loop.step, metrics["test_nats"], metrics["test_nats_error"], loop.best))


def flow():
    return mera.build("rgflow", L=4, m=2, channels=1, hidden=(4,))


@pytest.mark.parametrize(("ema", "clip"), [(0.0, 100.0), (0.0, 0.05), (0.7, 1.0)])
def test_a_run_is_the_plain_loop(ema, clip):
    torch.manual_seed(0)
    options = {"L": 4, "m": 2, "channels": 1, "layers": 1, "hidden": (8,), "norm": False, "block_spins": False}
    flow = mera.build("rgflow", **options).double()
    x = torch.randn(40, 1, 4, 4, dtype=torch.float64).cumsum(2)
    expected = copy.deepcopy(flow)
    settings = Settings(steps=7, batch_size=11, optimizer="AdamW", lr=0.02, weight_decay=0.1, warmup=3, ema=ema,
                        clip=clip, eval_every=2, eval_images=4, seed=5)  # fmt: skip
    metrics, mean = naive(expected, x, settings)
    record = Record()
    result = fit(flow, x[:36], settings, test=x[36:], callbacks=[record])
    for found, line in zip(record.metrics, metrics, strict=True):
        assert found == pytest.approx(line, rel=1e-9)
    for a, b in zip(flow.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-9, rtol=1e-9)
    used = mean if ema else expected
    torch.testing.assert_close(result.flow.log_prob(x), used.log_prob(x), atol=1e-8, rtol=1e-8)
    assert record.progress == pytest.approx([step / 7 for step in range(8)])
    losses = -used.log_prob(x[36:]) / 16
    assert result.test_loss == pytest.approx(losses.mean().item(), rel=1e-8)
    assert result.test_error == pytest.approx(losses.std().item() / 2, rel=1e-8)
    steps, values, errors, best = zip(*record.evaluations, strict=True)
    assert steps == (2, 4, 6, 7)
    assert (values[-1], errors[-1]) == (result.test_loss, result.test_error)
    for number, found in enumerate(best, start=1):
        assert found == min(zip(steps[:number], values[:number], strict=True), key=lambda pair: pair[1])
    assert result.best == best[-1]


def test_rows_of_a_step():
    assert rows_per_step(32, 0, 2) == rows_per_step(32, 100, 2) == 32
    assert rows_per_step(32, 21, 2) == 20
    for arguments in ((3, 100, 2), (32, 1, 2)):
        with pytest.raises(ValueError, match="a batch_size that 2 processes can share"):
            rows_per_step(*arguments)


@pytest.mark.parametrize("n", [12, 14])
def test_an_epoch_has_each_example_once(n):
    """Without an incomplete batch; and epochs can be entered anywhere."""
    orders = []
    for seed in (0, 1):
        order = Order(n, 4, seed)
        steps = [order.indices(step, range(4)) for step in range(1, 31)]
        epochs = [tuple(chain(*steps[i : i + 3])) for i in range(0, 30, 3)]
        assert all(len(set(epoch) & set(range(n))) == 12 for epoch in epochs)
        assert len(set(epochs)) > 5
        assert order.indices(2, [1, 3]) == [steps[1][1], steps[1][3]]
        for start in range(9):
            late = Order(n, 4, seed)
            assert [late.indices(step, range(4)) for step in range(start + 1, 31)] == steps[start:]
        orders.append(epochs)
    assert orders[0] != orders[1]
    assert len({epoch[0] for epoch in orders[0]}) > 3


def test_steps_of_very_many_examples_are_drawn_independently():
    order = Order(10**9, 4, 0)
    steps = [order.indices(step, range(4)) for step in (1, 2, 10**9)]
    assert len(set(chain(*steps))) == 12
    assert order.indices(2, [1, 3]) == steps[1][1::2]


def test_minutes_are_those_of_training_steps(tmp_path, monkeypatch):
    """A clock that steps, evaluations and a callback move by known times; a resume that takes no step says so."""
    now = [0.0]
    monkeypatch.setattr("mera.train.loop.time", SimpleNamespace(monotonic=lambda: now[0]))
    step, evaluate = Loop.training_step, Loop.evaluate

    def moved(method, seconds):
        def call(*args):
            now[0] += seconds
            return method(*args)

        return call

    monkeypatch.setattr(Loop, "training_step", moved(step, 10.0))
    monkeypatch.setattr(Loop, "evaluate", moved(evaluate, 100.0))

    class Slow(Callback):
        def on_step(self, loop, metrics):
            now[0] += 1000.0

    x, options = torch.randn(20, 1, 4, 4), {"run": tmp_path, "callbacks": [Slow()], "eval_every": 2}
    result = fit(flow(), x, minutes=0.5, **options)
    assert result.steps == 3
    clock = [(line["seconds"], line["outside_seconds"]) for line in result.history.metrics]
    assert clock == [(20.0, 2100.0), (30.0, 3200.0)]
    again = fit(flow(), x, minutes=0.5, **options, resume=True)
    assert again.verdict.startswith("no step was taken: the run had ended after 3 steps")
    later = fit(flow(), x, minutes=1, **options, resume=True)
    assert later.steps == 6
    assert later.history.metrics[-1]["seconds"] == 60.0
    assert "no step" not in later.verdict


@pytest.mark.parametrize("checkpoint", [False, True])
def test_progress_by_the_clock_and_checkpoints(checkpoint):
    """Checkpointing ends with the run, unless the flow saved memory before."""
    seen = []

    class Half(Callback):
        def on_start(self, loop):
            loop.elapsed = 30.0
            seen.append((loop.progress, loop.flow.checkpoint))

    for own in (False, True):
        learnt = flow()
        learnt.checkpoint = own
        fit(learnt, torch.randn(20, 1, 4, 4), steps=10, minutes=1, checkpoint=checkpoint, callbacks=[Half()])
        assert learnt.checkpoint == own
    assert seen == [(0.5, checkpoint), (0.5, True)]


def test_the_bar_shows_the_loss_of_recent_steps():
    """A loss that has fallen is not shown as a mean with the first ones, which would lag."""
    log = Console(file=io.StringIO(), width=200)
    bar = Progress(log)
    objective = SimpleNamespace(metric="bits", unit="bits/dim")
    loop = SimpleNamespace(objective=objective, progress=0.5, test_loss=math.nan, outside=0.0, step=0)
    bar.on_start(loop)
    for loop.step in range(1, 101):
        bar.on_step(loop, {"train_bits": 12.0 if loop.step <= 80 else 3.0 + loop.step % 2})
    loop.progress = 1.0
    bar.on_end(loop)
    assert "step 100, 3.500 bits/dim" in log.file.getvalue()
