"""Runs that went wrong say so; weights are chosen by held-out examples; signals end a script; random states stay."""

import copy
import math
import signal
import subprocess
import sys

import pytest
import torch

import mera
from mera import physics
from mera.data import ArrayDataset
from mera.train import RunFolder, fit, loop
from mera.train.evaluate import example_losses
from mera.train.health import divergence
from tests.helpers.callbacks import At, interrupt
from tests.helpers.training import IMAGES, SHORT, same, small_flow

FIELDS = torch.randn(80, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def flow_of(**options):
    torch.manual_seed(0)
    return mera.build("rgflow", L=4, m=2, channels=1, prior="gaussian", **{"hidden": (8,)} | options)


def scale_by(factor):
    """A function that multiplies all weights of a run."""
    return lambda loop: [parameter.data.mul_(factor) for parameter in loop.flow.parameters()]


def test_verdicts():
    flow = flow_of()
    assert divergence(flow, 1e-6) is None
    for error in (0.2, math.inf, math.nan):
        assert f"the inverse is wrong by {error:.2g}" in divergence(flow, error)
    with torch.no_grad():
        next(flow.parameters()).view(-1)[0] = math.nan
    assert "weights are infinite or NaN" in divergence(flow, 0.0)


def test_a_run_that_diverges_is_called_so():
    def disturb(loop):
        for parameter in loop.flow.parameters():
            parameter.data += 2 * torch.randn_like(parameter)

    torch.manual_seed(0)
    with pytest.warns(UserWarning, match="Training diverged: .*; lower lr, or raise warmup or batch_size"):
        result = fit(flow_of(), FIELDS[:60], steps=4, eval_every=4, lr=1e-9, callbacks=[At(4, disturb)])
    assert result.diverged
    assert "diverged" in repr(result)


@pytest.mark.parametrize(
    "stop", [None, *(pytest.param(stop, marks=pytest.mark.slow) for stop in (lambda loop: loop.stop(), interrupt))]
)
def test_the_best_weights_are_chosen_by_held_out_examples(tmp_path, stop):
    """Also those of a run that stops early."""
    data = FIELDS[:60]
    settings = {"test": FIELDS[60:], "steps": 40, "eval_every": 10, "keep": "best", "on_signal": "return", "lr": 3e-2}
    flow, again = flow_of(hidden=(64,)), flow_of(hidden=(64,))
    result = fit(flow, data, run=tmp_path, callbacks=[] if stop is None else [At(35, stop)], **settings)
    best = min(RunFolder(tmp_path).metrics(), key=lambda entry: entry["validation_nats"])
    assert result.best == (best["step"], best["validation_nats"])
    assert best["step"] < result.steps == (40 if stop is None else 35)
    assert result.interrupted is (stop is interrupt)
    assert result.test_loss == pytest.approx(best["test_nats"])
    assert same(flow, mera.load(tmp_path))
    resumed = fit(again, data, run=tmp_path, resume=True, **settings)
    assert same(again, mera.load(tmp_path))
    if stop is None:
        assert resumed.test_loss == pytest.approx(result.test_loss)


@pytest.fixture
def held_out(monkeypatch):
    """A function that sets the losses of the six held-out examples, evaluation by evaluation."""

    def set_losses(values):
        values, compute = iter(values), loop.losses

        def losses(flow, objective, n, piece):
            found = compute(flow, objective, n, piece)
            return next(values).to(found) if objective.size == 6 else found

        monkeypatch.setattr(loop, "losses", losses)

    return set_losses


def test_a_validation_loss_that_is_nan_is_never_the_best(held_out):
    held_out(torch.full((6,), value) for value in (math.nan, 3.0, math.nan, 5.0, 4.0))
    result = fit(flow_of(), FIELDS[:60], test=FIELDS[60:], steps=5, eval_every=1, keep="best")
    assert result.best == (2, 3.0)


def test_improved_weights_replace_those_of_the_start_if_they_are_surely_better(held_out):
    """The losses of six held-out examples: of the start, lower by 1.1 errors, lower by 11 errors, higher than those."""
    noise, steps = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, -1.0]), []
    held_out([5 + 0 * noise, 4.5 + noise, 4.5 + 0.1 * noise, 4.7 + 0.1 * noise])
    watch = At(1, lambda loop: steps.append(loop.best))
    options = {"test": FIELDS[60:], "steps": 3, "eval_every": 1, "callbacks": [watch]}
    result = fit(flow_of(), FIELDS[:60], keep="improved", **options)
    assert steps == [(0, 5.0)]
    assert result.best == (2, 4.5)


def test_weights_of_the_start_are_kept_if_training_spoils_them():
    flow = flow_of()
    flow.initialize(FIELDS[:60])
    before = copy.deepcopy(flow)
    spoil = At(5, scale_by(3))
    fit(flow, FIELDS[:60], steps=10, eval_every=5, keep="improved", callbacks=[spoil], check=False)
    assert same(flow, before)


def test_good_weights_that_are_kept_have_not_diverged():
    """The last weights have, those of step 10 have not."""
    torch.manual_seed(0)
    callbacks = [At(20, scale_by(30))]
    result = fit(flow_of(), FIELDS[:60], steps=20, eval_every=10, keep="best", callbacks=callbacks)
    assert (result.best[0], result.diverged) == (10, False)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_script_after_everything_is_saved(tmp_path, number):
    script = f"""
import os
from tests.helpers.callbacks import At
from tests.helpers.training import IMAGES, SHORT, same, small_flow
from mera.train import fit
kill = At(2, lambda loop: os.kill(os.getpid(), {int(number)}))
fit(small_flow(), IMAGES, SHORT, {str(tmp_path / "run")!r}, callbacks=[kill])
print("the next training")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "the next training" not in done.stdout
    if number == signal.SIGTERM:
        assert done.returncode == 143
    else:
        assert done.returncode  # -2, or 1 where another package replaces Python's own report
        assert "KeyboardInterrupt" in done.stderr
    assert RunFolder(tmp_path / "run").state()["step"] == 2


def test_a_signal_raises_unless_it_returns():
    with pytest.raises(KeyboardInterrupt):
        fit(small_flow(), IMAGES, SHORT, callbacks=[At(2, interrupt)])
    with pytest.raises(ValueError, match="on_signal among"):
        fit(small_flow(), IMAGES, SHORT, on_signal="ignore")


def test_random_states_are_as_they_were():
    flow = small_flow()
    before = torch.get_rng_state()
    fit(flow, IMAGES, SHORT)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
def test_the_verdict_on_an_action():
    result = fit(flow_of(norm=False), physics.FreeField(1.0), steps=400, batch_size=64, lr=5e-3)
    assert result.verdict.startswith("of 2,000 samples, errors ")
    assert "averages are wrong" not in result.verdict
    assert "pareto_k" in result.history.metrics[-1]
    poor = fit(flow_of(norm=False), physics.Phi4(-6.0, 0.25), steps=2, batch_size=64)
    assert "averages are wrong: the flow misses" in poor.verdict


def test_an_evaluation_takes_as_many_held_out_examples_as_settings_say(monkeypatch):
    sizes, losses = [], loop.losses

    def spied(flow, objective, n, piece):
        sizes.append((n, objective.size))
        assert piece == 4  # as many as a batch
        return losses(flow, objective, n, piece)

    monkeypatch.setattr(loop, "losses", spied)
    x = torch.randn(200, 1, 4, 4)
    fit(flow_of(), x, test=x[:3], steps=1, batch_size=4, keep="best", eval_images=5, quiet=True)
    assert sizes == [(3, 3), (5, 20), (3, 3)]


def test_evaluations_are_spread_over_the_examples():
    """A data set whose classes follow one another is not judged by its first class."""
    x = torch.cat([torch.zeros(50, 1, 4, 4), torch.ones(50, 1, 4, 4)]) + 0.01 * torch.randn(100, 1, 4, 4)
    flow = flow_of()
    result = fit(flow, x, test=x, steps=1, batch_size=4, eval_images=20, quiet=True)
    values = example_losses(flow, ArrayDataset(x), 20)
    whole = example_losses(flow, ArrayDataset(x))
    torch.testing.assert_close(values, whole[::5])
    assert result.test_loss == pytest.approx(values.mean().item())
    assert f"{result.test_loss:.4f} ± " in repr(result)
    own = fit(flow, x, steps=1, loss=lambda f, batch: -f.log_prob(batch).mean(), quiet=True)
    assert math.isnan(own.test_error)
