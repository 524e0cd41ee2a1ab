"""Training goes down, stops when it is told to, and goes on as if it had not."""

import json
import math
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch

import mera
from mera import data
from mera.archive import read_archive
from mera.bijectors import ActNorm, Bijector, Coupling
from mera.train import Callback, RunFolder, Settings, bits_per_dim, fit, loop
from mera.train.batches import Batches, noisy
from mera.train.compiled import compile_couplings
from mera.train.diagnose import first_not_finite

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
    assert bits_per_dim(flow, IMAGES.test, batch_size=7) == pytest.approx(bits_per_dim(flow, IMAGES.test), abs=1e-6)
    assert bits_per_dim(flow, IMAGES.test, seed=1) != bits_per_dim(flow, IMAGES.test)
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


class At(Callback):
    """Do something right after a step, before anything is saved."""

    def __init__(self, step, action):
        self.step, self.action = step, action

    def on_step(self, loop, metrics):
        if loop.step == self.step:
            self.action(loop)


def interrupt(loop):
    os.kill(os.getpid(), signal.SIGINT)


class Flipped(data.Images):
    """Images that are flipped at random as they are read, as those of CelebA are."""

    def __getitem__(self, index):
        return self.images[index].flip(-1) if torch.rand(()) < 0.5 else self.images[index]

    def __getitems__(self, indices):
        return [self[index] for index in indices]


FLIPPED = data.ImageData("flipped", 3, Flipped(IMAGES.train.images), IMAGES.test)


def same(a, b):
    """Whether two flows have the same weights, bit by bit."""
    return all(torch.equal(b.state_dict()[name], tensor) for name, tensor in a.state_dict().items())


def lines(run):
    """The metrics, but for what a clock says."""
    return [{key: value for key, value in line.items() if key != "seconds"} for line in run.metrics()]


OTHERS = {
    "plain": {},
    "ema": {"ema": 0.9, "accumulate": 2},
    "sgd": {"optimizer": "SGD", "optimizer_options": {"momentum": 0.9}, "schedule": "OneCycleLR", "lr": 1e-3},
    "plateau": {"schedule": "ReduceLROnPlateau", "schedule_options": {"patience": 0, "threshold": 10.0}},
    "step": {"optimizer": "RMSprop", "schedule": "MultiStepLR", "schedule_options": {"milestones": [2, 4]}},
    "bfloat16": {"precision": "bfloat16"},
    "workers": {"workers": 1},
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("step", [1, 3, 5])
def test_an_interrupted_run_goes_on_as_if_it_had_not_been(tmp_path, step, other):
    images = FLIPPED if other in ("plain", "workers") else IMAGES
    settings = replace(SHORT, **OTHERS[other])
    whole, cut = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "cut")
    whole.create({})
    cut.create({})
    flow = small_flow()
    expected = fit(flow, images, settings, whole)
    before = signal.getsignal(signal.SIGINT)
    result = fit(small_flow(), images, settings, cut, callbacks=[At(step, interrupt)])
    assert (result.steps, result.interrupted) == (step, True)
    assert signal.getsignal(signal.SIGINT) == before
    torch.manual_seed(99)
    again = small_flow()
    result = fit(again, images, settings, cut, resume=True)
    assert not result.interrupted
    assert same(flow, again)
    assert same(expected.flow, result.flow)
    assert same(expected.flow, cut.flow())
    assert lines(cut) == lines(whole)
    assert cut.state()["best"] == whole.state()["best"]
    if other == "ema":
        assert not same(flow, result.flow)
    if other == "plateau":
        assert result.steps == 6
        assert lines(cut)[-1]["lr"] < settings.lr


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    run = RunFolder(tmp_path)
    run.create({})
    flow = small_flow()
    result = fit(flow, IMAGES, SHORT, run)
    before = run.metrics()
    again = fit(run.flow(), IMAGES, SHORT, run, resume=True)
    assert (again.steps, again.test_bits, again.interrupted) == (result.steps, result.test_bits, False)
    assert same(again.flow, flow)
    assert run.metrics() == before


def test_resuming_needs_a_run():
    with pytest.raises(ValueError, match="Expected the folder of a run to resume; got None"):
        fit(small_flow(), IMAGES, SHORT, resume=True)


def test_a_time_limit_ends_the_run_with_its_schedule():
    flow = small_flow()
    result = fit(flow, IMAGES, Settings(steps=10**9, minutes=0.02, eval_every=10**6, eval_images=10))
    assert 0 < result.steps < 10**6
    assert not result.interrupted


def test_a_loss_that_is_not_finite_stops_and_keeps_what_was_saved(tmp_path):
    run = RunFolder(tmp_path)
    run.create({})

    def poison(loop):
        with torch.no_grad():
            next(loop.flow.bijectors["decimator1"].parameters()).fill_(math.nan)

    expected = (
        r"got nan bits/dim and gradient norm nan at step 4: first in the output of node 'decimator1' at level 1; the"
    )
    with pytest.raises(FloatingPointError, match=expected) as error:
        fit(small_flow(), IMAGES, replace(SHORT, eval_every=2), run, callbacks=[At(3, poison)])
    assert run.state()["step"] == 2
    assert all(tensor.isfinite().all() for tensor in run.flow().state_dict().values())
    description, batch = read_archive(next(tmp_path.glob("not_finite_step_00000004_process_0.safetensors")))
    assert description == {"step": 4}
    assert "not_finite_step_00000004" in str(error.value)
    assert batch["images"].shape == batch["noise"].shape == (16, 3, 8, 8)


class Steep(Bijector):
    """The identity, whose derivative is written as one of sqrt at 0."""

    def forward(self, x):
        return x + 0 * (x - x.detach()).abs().sqrt(), x.new_zeros(len(x))

    def inverse(self, y):
        return y, y.new_zeros(len(y))


def test_the_first_node_whose_gradient_is_not_finite():
    layout = mera.Layout((4, 4), 1)
    x = layout.local(layout.input, ActNorm, kernel=2, name="first")
    x = layout.local(x, Steep(), kernel=2, name="steep")
    layout.latent(layout.local(x, ActNorm, kernel=2, name="last"))
    flow = mera.Flow(layout)
    images = torch.randint(0, 256, (3, 1, 4, 4), dtype=torch.uint8)
    where = first_not_finite(flow, images, torch.rand(images.shape))
    assert where == "the gradient that enters node 'first' at level 0 from the latents"


def test_a_run_can_go_on_from_its_very_start(tmp_path):
    """A first step that fails, on a corrupt image say, leaves a run that goes on once the image is mended."""
    run = RunFolder(tmp_path)
    run.create({})
    flow = small_flow()
    fit(flow, IMAGES, SHORT)

    class Corrupt(data.Images):
        """Read once from the first to the last, to start from; then one is found to be corrupt."""

        reads = 0

        def __getitem__(self, index):
            self.reads += 1
            if self.reads > len(self):
                raise ValueError("Expected an image in a.png; got a corrupt one")
            return super().__getitem__(index)

    broken = data.ImageData("broken", 3, Corrupt(IMAGES.train.images), IMAGES.test)
    with pytest.raises(ValueError, match=r"a\.png"):
        fit(small_flow(), broken, SHORT, run)
    assert run.steps() == [0]
    again = small_flow()
    fit(again, IMAGES, SHORT, run, resume=True)
    assert same(flow, again)


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
    state = run.state()
    other = mera.build("rgflow", L=8, layers=2, hidden=(8,))
    for wrong in ({"step": 1}, state | {"random": {}}, state | {"flow": other.state_dict()}):
        run.save(flow, wrong, 100)
        with pytest.raises(ValueError, match="Expected the state of a run of this flow"):
            fit(flow, IMAGES, SHORT, run, resume=True)


def test_batches_are_shuffled_epochs_that_can_be_entered_anywhere():
    def images(stream, n):
        return [[index for _, _, index in next(stream)] for _ in range(n)]

    batches = images(iter(Batches(10, 3, seed=4)), 9)
    for epoch in range(3):
        assert len({i for batch in batches[3 * epoch : 3 * epoch + 3] for i in batch}) == 9
    assert batches[:3] != batches[3:6]
    for start in range(9):
        late = iter(Batches(10, 3, seed=4, start=start))
        assert images(late, 9 - start) == batches[start:]


def test_a_mean_starts_where_the_flow_does(tmp_path):
    run = RunFolder(tmp_path)
    run.create({})
    seen = []

    class AtStart(Callback):
        def on_start(self, loop):
            seen.append(
                same(loop.averaged, loop.flow) and same(run.flow(), loop.flow) and loop.averaged is not loop.flow
            )

    fit(small_flow(), IMAGES, replace(SHORT, ema=0.9, steps=1), run, callbacks=[AtStart()])
    assert seen == [True]


def test_an_evaluation_that_is_no_number_stops_the_run(tmp_path, monkeypatch):
    """What was saved last can go on; what diverged is neither saved nor the best."""
    found, run = iter([4.0, 3.0, 5.0, math.inf]), RunFolder(tmp_path)
    run.create({})
    monkeypatch.setattr(loop, "bits_per_dim", lambda *_: next(found))
    with pytest.raises(FloatingPointError, match="Expected finite bits/dim on test images; got inf after step 4"):
        fit(small_flow(), IMAGES, replace(SHORT, steps=5, eval_every=1), run)
    state = run.state()
    assert (state["step"], state["best"]) == (3, (2, 3.0))
    assert [line["test_bits"] for line in run.metrics()] == [4, 3, 5]


def test_states_of_other_ways(tmp_path):
    run = RunFolder(tmp_path)
    run.create({})
    fit(small_flow(), IMAGES, replace(SHORT, ema=0.9), run)
    for other in (
        {"ema": 0.0},
        {"optimizer": "RMSprop"},
        {"schedule": "ExponentialLR", "schedule_options": {"gamma": 1}},
    ):
        with pytest.raises(ValueError, match="Expected the state of a run of this flow; got another: one with"):
            fit(small_flow(), IMAGES, replace(SHORT, **{"ema": 0.9} | other), run, resume=True)


def test_a_callback_stops_the_run_at_an_evaluation():
    class Enough(Callback):
        def on_evaluation(self, loop, metrics):
            loop.stop()

    result = fit(small_flow(), IMAGES, SHORT, callbacks=[Enough()])
    assert (result.steps, result.interrupted) == (3, True)


def test_optimizer_options_that_exclude_fusing():
    fit(small_flow(), IMAGES, replace(SHORT, steps=1, optimizer_options={"foreach": True}))


def test_numbers_of_numpy_are_settings():
    assert repr(Settings(lr=np.float32(0.5), steps=np.int64(3))) == repr(Settings(lr=0.5, steps=3))


@pytest.mark.parametrize("conditioner", ["joint", "paper"])
def test_compiled_couplings_are_called_as_modules(conditioner, monkeypatch):
    """Else what was compiled would not run."""
    flow, calls = mera.build("rgflow", L=8, hidden=(8,), conditioner=conditioner), []
    couplings = [module for module in flow.modules() if isinstance(module, Coupling)]

    def compile(coupling, dynamic):
        def call(*arguments):
            calls.append(coupling)
            return coupling.forward(*arguments)

        coupling._compiled_call_impl = call  # where torch keeps what it compiled

    monkeypatch.setattr(Coupling, "compile", compile)
    assert compile_couplings(flow, lambda: flow.log_prob(torch.randn(2, 3, 8, 8))) >= 0
    assert len(calls) == len(couplings) == len(set(calls))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:The .grad attribute:UserWarning")  # torch's own
def test_compiled_couplings_learn_the_same():
    flow, other = small_flow(), small_flow()
    fit(flow.double(), IMAGES, replace(SHORT, steps=2))
    fit(other.double(), IMAGES, replace(SHORT, steps=2, compile=True))
    for name, tensor in flow.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], tensor, atol=1e-9, rtol=0, msg=name)


def test_shares_make_up_the_batch():
    whole = next(iter(Batches(20, 6, seed=1)))
    shares = [next(iter(Batches(20, 6, seed=1, share=(index, 3)))) for index in range(3)]
    assert [key for share in shares for key in share] == whole
    with pytest.raises(ValueError, match="Expected a batch_size that 4 processes can share; got 6"):
        Batches(20, 6, seed=1, share=(0, 4))


def test_noise_is_a_function_of_seed_step_and_row():
    keys = [(0, 1, 2), (1, 1, 2), (0, 2, 2), (0, 1, 3)]
    drawn = [noisy(FLIPPED.train, 0, *key) for key in keys]
    for key, (image, noise) in zip(keys, drawn, strict=True):
        again = noisy(FLIPPED.train, 0, *key)
        assert torch.equal(again[0], image)
        assert torch.equal(again[1], noise)
    assert len({noise.sum().item() for _, noise in drawn}) == len(keys)


def test_sets_without_images():
    empty = data.Images(IMAGES.test.images[:0])
    with pytest.raises(ValueError, match="Expected training and test images; got 60 and 0"):
        fit(small_flow(), data.ImageData("x", 3, IMAGES.train, empty), SHORT)
    with pytest.raises(ValueError, match="Expected at least one image to evaluate; got -3"):
        bits_per_dim(small_flow(), IMAGES.test, -3)


def test_metrics_and_configurations_that_are_damaged(tmp_path):
    run = RunFolder(tmp_path)
    with pytest.raises(FileNotFoundError, match="Expected the folder of a run"):
        run.config()
    with pytest.raises(FileNotFoundError, match="Expected a checkpoint in"):
        run.state()
    run.create({"a": 1})
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"step": 1}) + "\n" + '{"step": ')
    assert run.metrics() == [{"step": 1}]
    run.rewind(1)
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1}\n'
    run.rewind(0)
    assert run.metrics() == []
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
        ({"weight_decay": -1.0}, "Expected weight_decay as a number >= 0; got -1.0"),
        ({"ema": 1.0}, "Expected ema as a decay below 1; got 1.0"),
        ({"keep": 0}, "Expected keep as an integer >= 1; got 0"),
        ({"precision": "float16"}, "Expected a precision among"),
        ({"optimizer": "adamw"}, r"Expected an optimizer among .*did you mean 'AdamW'"),
        ({"optimizer": "LBFGS"}, "Expected an optimizer among"),
        ({"optimizer_options": {"momentum": 1}}, "Expected optimizer_options of AdamW among .*; got momentum"),
        ({"optimizer_options": [1]}, "Expected optimizer_options of AdamW as a dict"),
        ({"optimizer_options": {"betas": 0.9}}, "Expected optimizer_options of AdamW that torch can use; got {'betas'"),
        ({"optimizer_options": {"eps": None}}, "Expected optimizer_options of AdamW that torch can use"),
        ({"optimizer": "SGD", "optimizer_options": {"momentum": "x"}}, "Expected optimizer_options of SGD that torch"),
        ({"optimizer": "Muon"}, "Expected an optimizer among"),
        ({"schedule": "StepLR", "schedule_options": {"step_size": 0}}, "Expected schedule_options of StepLR that"),
        ({"schedule": "ConstantLR", "schedule_options": {"last_epoch": 5}}, "Expected schedule_options of ConstantLR"),
        ({"lr": True}, "Expected lr as a positive number; got True"),
        ({"schedule": "SequentialLR"}, "Expected a schedule among"),
        ({"schedule_options": {"T_max": 1}}, "Expected schedule_options of cosine among none; got T_max"),
        ({"schedule": "StepLR"}, "Expected schedule_options of StepLR with step_size; got none"),
        ({"compile": 1}, "Expected compile as True or False; got 1"),
        ({"memory": "none"}, "Expected memory among"),
        ({"minutes": "1"}, "Expected minutes as a positive number; got '1'"),
    ],
)
def test_bad_settings(setting, message):
    with pytest.raises(ValueError, match=message):
        Settings(**setting)
