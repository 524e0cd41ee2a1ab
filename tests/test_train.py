"""Training goes down, stops when it is told to, and goes on as if it had not."""

import json
import math
import os
import signal

import pytest
import torch

import mera
from mera import data
from mera.train import RunFolder, Settings, bits_per_dim, fit, loop
from mera.train.batches import Batches

IMAGES = data.load("msds1", L=8, train_size=60, test_size=20)
SHORT = Settings(steps=6, eval_every=3, batch_size=16, eval_images=10, warmup=2)


def small_flow():
    torch.manual_seed(1)
    return mera.build("rgflow", L=8, layers=1, hidden=(8,))


def test_training_lowers_the_bits():
    flow = small_flow()
    before = bits_per_dim(flow, IMAGES.test)
    result = fit(flow, IMAGES, Settings(steps=60, batch_size=16, lr=5e-3, warmup=5))
    assert (result.steps, result.interrupted) == (60, False)
    assert result.test_bits < before - 0.5


def test_evaluation_is_repeatable_and_leaves_the_random_state():
    flow = small_flow()
    state = torch.get_rng_state()
    assert bits_per_dim(flow, IMAGES.test) == bits_per_dim(flow, IMAGES.test)
    assert bits_per_dim(flow, IMAGES.test, batch_size=7) == pytest.approx(bits_per_dim(flow, IMAGES.test), abs=0.05)
    assert torch.equal(torch.get_rng_state(), state)
    assert bits_per_dim(flow, IMAGES.test, n=5) != bits_per_dim(flow, IMAGES.test)


def test_run_folder_holds_everything(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.create({"model": "rgflow"})
    flow = small_flow()
    result = fit(flow, IMAGES, SHORT, run)
    metrics = run.metrics()
    assert [line["step"] for line in metrics] == [3, 6]
    assert metrics[-1]["test_bits"] == result.test_bits
    assert {"seconds", "train_bits", "gradient_norm", "lr"} <= set(metrics[0])
    assert [p.name for p in sorted(run.samples.iterdir())] == ["step_000003.png", "step_000006.png"]
    assert any(run.tensorboard.iterdir())
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(run.flow().log_prob(x), flow.log_prob(x))
    with pytest.raises(FileExistsError, match=r"Expected a folder without a run; got .*--resume"):
        run.create({})


def interrupt_at(monkeypatch, step):
    """Send SIGINT while that step is being taken."""
    real, count = loop._step, iter(range(1, 10_000))

    def counted(*args):
        if next(count) == step:
            os.kill(os.getpid(), signal.SIGINT)
        return real(*args)

    monkeypatch.setattr(loop, "_step", counted)


class Flipped(data.Images):
    """Images that are flipped at random as they are read, as those of CelebA are."""

    def __getitem__(self, index):
        return self.images[index].flip(-1) if torch.rand(()) < 0.5 else self.images[index]

    def __getitems__(self, indices):
        return [self[index] for index in indices]


FLIPPED = data.ImageData("flipped", 3, Flipped(IMAGES.train.images), IMAGES.test)


@pytest.mark.parametrize("images", [IMAGES, FLIPPED], ids=["plain", "flipped"])
@pytest.mark.parametrize("step", [1, 3, 5])
def test_an_interrupted_run_goes_on_as_if_it_had_not_been(tmp_path, monkeypatch, step, images):
    whole, cut = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "cut")
    whole.create({})
    cut.create({})
    flow = small_flow()
    fit(flow, images, SHORT, whole)
    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        interrupt_at(patch, step)
        result = fit(small_flow(), images, SHORT, cut)
    assert (result.steps, result.interrupted) == (step, True)
    assert signal.getsignal(signal.SIGINT) == before
    torch.manual_seed(99)
    again = cut.flow()
    assert not fit(again, images, SHORT, cut, resume=True).interrupted
    for name, tensor in flow.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    assert cut.metrics()[-1]["test_bits"] == whole.metrics()[-1]["test_bits"]


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    run = RunFolder(tmp_path)
    run.create({})
    flow = small_flow()
    result = fit(flow, IMAGES, SHORT, run)
    lines = run.metrics()
    assert fit(run.flow(), IMAGES, SHORT, run, resume=True) == result
    assert run.metrics() == lines


def test_resuming_needs_a_run():
    with pytest.raises(ValueError, match="Expected the folder of a run to resume; got None"):
        fit(small_flow(), IMAGES, SHORT, resume=True)


def test_a_time_limit_ends_the_run_with_its_schedule():
    flow = small_flow()
    result = fit(flow, IMAGES, Settings(steps=10**9, minutes=0.02, eval_every=10**6, eval_images=10))
    assert 0 < result.steps < 10**6
    assert not result.interrupted


def test_a_loss_that_is_not_finite_stops_and_keeps_what_was_saved(tmp_path, monkeypatch):
    run = RunFolder(tmp_path)
    run.create({})
    real = loop._step

    def poisoned(flow, images, optimizer, settings, factor):
        if len(run.metrics()) == 1:  # after the evaluation at step 3
            with torch.no_grad():
                next(flow.parameters()).fill_(math.nan)
        return real(flow, images, optimizer, settings, factor)

    monkeypatch.setattr(loop, "_step", poisoned)
    with pytest.raises(FloatingPointError, match=r"Expected a finite loss and gradient; got nan bits/dim.*step 3"):
        fit(small_flow(), IMAGES, SHORT, run)
    assert run.state()["step"] == 3
    assert all(tensor.isfinite().all() for tensor in run.flow().state_dict().values())


def test_a_run_can_go_on_from_its_very_start(tmp_path, monkeypatch):
    """A first step that fails, on a corrupt image say, leaves a run that goes on once the image is mended."""
    run = RunFolder(tmp_path)
    run.create({})
    flow = small_flow()
    fit(flow, IMAGES, SHORT)

    def corrupt(*_):
        raise ValueError("a corrupt image")

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_step", corrupt)
        with pytest.raises(ValueError, match="a corrupt image"):
            fit(small_flow(), IMAGES, SHORT, run)
    again = run.flow()
    fit(again, IMAGES, SHORT, run, resume=True)
    for name, tensor in flow.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


def test_a_folder_of_a_run_that_saved_nothing_is_used_again(tmp_path):
    run = RunFolder(tmp_path)
    run.create({"a": 1})
    run.create({"a": 2})
    assert run.config() == {"a": 2}


def test_a_state_of_something_else(tmp_path):
    run = RunFolder(tmp_path)
    run.create({})
    flow = small_flow()
    fit(flow, IMAGES, SHORT, run)
    other = mera.build("rgflow", L=8, layers=2, hidden=(8,))
    for state in (
        {"step": 1},
        [1],
        run.state() | {"random": [torch.zeros(3)]},
        run.state() | {"flow": other.state_dict()},
    ):
        torch.save(state, tmp_path / "state.pt")
        with pytest.raises(ValueError, match="Expected the state of a run of this flow"):
            fit(flow, IMAGES, SHORT, run, resume=True)
        fit(flow, IMAGES, SHORT, run)


def test_batches_are_shuffled_epochs_that_can_be_entered_anywhere():
    stream = iter(Batches(10, 3, seed=4))
    batches = [next(stream) for _ in range(9)]
    for epoch in range(3):
        assert len({i for batch in batches[3 * epoch : 3 * epoch + 3] for i in batch}) == 9
    assert batches[:3] != batches[3:6]
    for start in range(9):
        late = iter(Batches(10, 3, seed=4, start=start))
        assert [next(late) for _ in range(9 - start)] == batches[start:]
    assert len(next(iter(Batches(2, 32, seed=0)))) == 2


def test_sets_without_images():
    empty = data.Images(IMAGES.test.images[:0])
    with pytest.raises(ValueError, match="Expected training and test images; got 60 and 0"):
        fit(small_flow(), data.ImageData("x", 3, IMAGES.train, empty), SHORT)
    with pytest.raises(ValueError, match="Expected at least one image to evaluate; got -3"):
        bits_per_dim(small_flow(), IMAGES.test, -3)


def test_state_and_metrics_that_are_damaged(tmp_path):
    run = RunFolder(tmp_path)
    with pytest.raises(FileNotFoundError, match="Expected the folder of a run"):
        run.config()
    run.create({"a": 1})
    (tmp_path / "state.pt").write_bytes(b"garbage")
    with pytest.raises(ValueError, match=r"Expected the state of a run in .*state\.pt; got a damaged file"):
        run.state()
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"step": 1}) + "\n" + '{"step": ')
    assert run.metrics() == [{"step": 1}]
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="Expected JSON in"):
        run.config()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"steps": 0}, "Expected steps as an integer >= 1; got 0"),
        ({"steps": 1.5}, "Expected steps as an integer >= 1; got 1.5"),
        ({"batch_size": True}, "Expected batch_size as an integer >= 1; got True"),
        ({"seed": 10**20}, "Expected seed as an integer >= 0; got 1"),
        ({"lr": 0.0}, "Expected lr as a positive number; got 0.0"),
        ({"lr": math.nan}, "Expected lr as a positive number; got nan"),
        ({"weight_decay": -1.0}, "Expected weight_decay as a positive number; got -1.0"),
        ({"minutes": "1"}, "Expected minutes as a positive number; got '1'"),
    ],
)
def test_bad_settings(setting, message):
    with pytest.raises(ValueError, match=message):
        Settings(**setting)
