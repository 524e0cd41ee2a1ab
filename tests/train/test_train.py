"""Training stops when it is told to, writes a whole folder, and shares its batches."""

import math
from dataclasses import replace

import pytest
import torch

import mera
from mera.train import Callback, RunFolder, Settings, example_losses, fit
from mera.train.batches import Order
from mera.train.likelihoods import ImageLikelihood
from mera.train.recognize import recognize
from tests.helpers.callbacks import At
from tests.helpers.training import FLIPPED, IMAGES, SHORT, small_flow


def test_evaluation_is_repeatable_and_leaves_the_random_state():
    flow = small_flow()
    state = torch.get_rng_state()
    bits = example_losses(flow, IMAGES.test)
    assert torch.equal(example_losses(flow, IMAGES.test), bits)
    torch.testing.assert_close(example_losses(flow, IMAGES.test, batch_size=7), bits, atol=1e-6, rtol=0)
    assert not torch.allclose(example_losses(flow, IMAGES.test, seed=1), bits)
    assert torch.equal(torch.get_rng_state(), state)
    assert len(example_losses(flow, IMAGES.test, n=5)) == 5


def test_run_folder_holds_everything(tmp_path):
    run = RunFolder(tmp_path / "run")
    flow = small_flow()
    result = fit(flow, IMAGES, SHORT, run)
    metrics = run.metrics()
    assert [line["step"] for line in metrics] == [3, 6]
    assert metrics[-1]["test_bits"] == result.test_loss
    assert result.history._repr_png_().startswith(b"\x89PNG")
    assert {"seconds", "train_bits", "gradient_norm", "lr"} <= set(metrics[0])
    assert [p.name for p in sorted(run.samples.iterdir())] == ["step_000003.png", "step_000006.png"]
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(mera.load(run.path).log_prob(x), flow.log_prob(x))
    with pytest.raises(FileExistsError, match=r"Expected a folder without a run; got .*--resume"):
        fit(small_flow(), IMAGES, SHORT, run)


def test_a_callback_stops_the_run_at_an_evaluation():
    class Enough(Callback):
        def on_evaluation(self, loop, metrics):
            loop.stop()

    result = fit(small_flow(), IMAGES, SHORT, callbacks=[Enough()])
    assert (result.steps, result.interrupted) == (3, False)


def test_optimizer_options_that_exclude_fusing():
    for options, expected in (({"foreach": True}, (True, None)), ({}, (None, True))):
        defaults = {}
        settings = replace(SHORT, steps=1, optimizer="AdamW", optimizer_options=options)
        keep = At(1, lambda loop, kept=defaults: kept.update(loop.optimizer.defaults))
        fit(small_flow(), IMAGES, settings, callbacks=[keep])
        assert (defaults["foreach"], defaults["fused"]) == expected


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:The .grad:UserWarning"
)  # torch's
@pytest.mark.parametrize("name", ["rgflow", "realnvp", "glow", "wavelet"])
def test_compiled_flows_learn_the_same(name):
    flow, other = (small_flow(name) for _ in range(2))
    fit(flow.double(), IMAGES, replace(SHORT, steps=2))
    fit(other.double(), IMAGES, replace(SHORT, steps=2, compile=True))
    for name, tensor in flow.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], tensor, atol=1e-9, rtol=0, msg=name)


def test_shares_make_up_the_batch(monkeypatch):
    objective = ImageLikelihood(FLIPPED.train, order=Order(60, 6, seed=1))
    whole = objective.batch(0, 3, range(6))
    shares = [objective.batch(0, 3, range(start, start + 2)) for start in (0, 2, 4)]
    for tensor, *parts in zip(whole, *shares, strict=True):
        assert torch.equal(torch.cat(parts), tensor)
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(ValueError, match="Expected a batch_size that 4 processes can share; got 6 of 60 examples"):
        recognize(small_flow(), IMAGES, Settings(batch_size=6))


def test_noise_is_a_function_of_seed_step_and_row():
    objective, keys = ImageLikelihood(FLIPPED.train), [(0, 0, 1), (1, 0, 1), (0, 1, 1), (0, 0, 2)]
    drawn = [objective.batch(seed, step, range(row, row + 1)) for seed, step, row in keys]
    for (seed, step, row), (image, noise) in zip(keys, drawn, strict=True):
        again = ImageLikelihood(FLIPPED.train).batch(seed, step, range(row, row + 1))
        assert torch.equal(again[0], image)
        assert torch.equal(again[1], noise)
    assert len({noise.sum().item() for _, noise in drawn}) == len(keys)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"steps": 0}, "Expected steps as an integer >= 1; got 0"),
        ({"batch_size": True}, "Expected batch_size as an integer >= 1; got True"),
        ({"seed": 10**20}, r"Expected seed as an integer below 2\^31; got 1"),
        ({"lr": math.nan}, "Expected lr as a positive number; got nan"),
        ({"ema": 1.0}, "Expected ema as a number >= 0, up to 0.99999; got 1.0"),
        ({"keep": 0}, r"Expected the weights to keep among \['last', 'best', 'improved'\]; got 0"),
        ({"optimizer": "adamw"}, r"Expected an optimizer among .*did you mean 'AdamW'"),
        ({"optimizer_options": {"rho": 1}}, "Pass the name of the optimizer with optimizer_options"),
        ({"optimizer": "Muon", "optimizer_options": {"rho": 1}}, "optimizer_options of Muon among .*; got 'rho'"),
        ({"compile": 1}, "Expected compile as True or False; got 1"),
        ({"minutes": "1"}, "Expected minutes as a positive number; got '1'"),
    ],
)
def test_bad_settings(setting, message):
    with pytest.raises(ValueError, match=message):
        Settings(**setting)
