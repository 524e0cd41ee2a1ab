"""Runs that stop, for whatever reason, and go on as if they had not."""

import math
import random
import re
import shutil
import signal
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import optim

import mera
from mera import data, physics
from mera.train import Callback, RunFolder, fit, loop
from tests.helpers.callbacks import At, interrupt
from tests.helpers.command import run as command
from tests.helpers.laws import randomize
from tests.helpers.training import FLIPPED, IMAGES, SHORT, lines, same, small_flow


def field_flow():
    torch.manual_seed(1)
    return randomize(mera.build("rgflow", L=4, m=2, channels=1, layers=1, hidden=(8,), norm=False, prior="gaussian"))


labelled_flow = partial(small_flow, classes=2)


class Turned(data.ArrayDataset):
    """Images that are augmented by random numbers of numpy and of Python."""

    def __getitem__(self, index):
        example = super().__getitem__(index)
        example = example.flip(-1) if np.random.random() < 0.5 else example
        return example.flip(-2) if random.random() < 0.5 else example


def noisy_loss(flow, x):
    """A loss that draws from torch's own random state."""
    return -flow.log_prob(x + 0.1 * torch.randn_like(x)) / 192


LABELLED = data.DataSplits(
    "labelled",
    3,
    *(data.ArrayDataset(x.array, {"class": torch.arange(len(x)) % 2}) for x in (IMAGES.train, IMAGES.test)),
)
TURNED = data.DataSplits("turned", 3, Turned(IMAGES.train.array), IMAGES.test)
PHOTOGRAPH = data.photograph()[:, :60, :50]
WINDOWS = data.windows([PHOTOGRAPH, PHOTOGRAPH.mT], L=8, flip=True, turn=True)
SGD = {
    "optimizer": partial(optim.SGD, lr=1e-3, momentum=0.9), "warmup": None,
    "schedule": partial(optim.lr_scheduler.OneCycleLR, max_lr=1e-3, total_steps=6),
}  # fmt: skip
CONSTANT = {
    "optimizer": "AdamW", "optimizer_options": {"betas": (0.8, 0.9)}, "schedule": "constant", "warmup": None,
    "precision": "bfloat16",
}  # fmt: skip
CASES = {
    "plain": (small_flow, FLIPPED, {}),
    "ema": (small_flow, IMAGES, {"ema": 0.9}),
    "sgd": (small_flow, IMAGES, SGD),
    "constant": (small_flow, IMAGES, CONSTANT),
    "compiled": (small_flow, IMAGES, {"compile": True}),
    "turned": (small_flow, TURNED, {"workers": 2}),
    "windows": (small_flow, WINDOWS, {}),
    "noise": (small_flow, IMAGES, {"loss": noisy_loss}),
    "classes": (labelled_flow, LABELLED, {}),
    "action": (field_flow, physics.Phi4(0.5, 0.3), {"batch_size": 8}),
    "symmetrized": (lambda: mera.Symmetrized(field_flow()), physics.Phi4(0.5, 0.3), {"batch_size": 8}),
}
"""By name, a flow, what it learns, and options of `fit`."""
OF_TORCH = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:The .grad:UserWarning")
MARKS = {"compiled": (pytest.mark.slow, OF_TORCH)}


@pytest.mark.parametrize(
    ("step", "other"), [(3, "plain"), *(pytest.param(4, other, marks=MARKS.get(other, ())) for other in CASES)]
)
def test_an_interrupted_run_goes_on_as_if_it_had_not_been(tmp_path, monkeypatch, step, other):
    monkeypatch.chdir(tmp_path)
    make_flow, examples, own = CASES[other]
    whole, cut = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "cut")
    flow = make_flow()
    expected = fit(flow, examples, SHORT, whole, **own)
    before = signal.getsignal(signal.SIGINT)
    result = fit(make_flow(), examples, SHORT, cut, callbacks=[At(step, interrupt)], on_signal="return", **own)
    assert (result.steps, result.interrupted) == (step, True)
    assert signal.getsignal(signal.SIGINT) == before
    torch.manual_seed(99)
    np.random.seed(5)
    again = make_flow()
    result = fit(again, examples, SHORT, cut, resume="auto", **own)
    assert not result.interrupted
    assert same(flow, again)
    assert same(expected.flow, result.flow)
    assert same(expected.flow, mera.load(cut.path))
    assert lines(cut) == lines(whole)
    assert result.history.metrics == cut.metrics()
    assert cut.state()["kept"]["best"] == whole.state()["kept"]["best"]
    if other == "ema":
        assert not same(flow, result.flow)
    if other == "action":
        assert {"ess", "free_energy", "test_nats"} <= lines(whole)[-1].keys()


def test_parameters_and_state_of_a_resumed_run_start_at_multiples_of_64_bytes(tmp_path):
    """The rounding of matrix products depends on it, on some processors."""
    fit(small_flow(), IMAGES, SHORT, tmp_path, steps=3)
    addresses = []

    class Watch(Callback):
        def on_step(self, loop, metrics):
            states = (value for state in loop.optimizer.state.values() for value in state.values() if value.ndim)
            addresses.extend(tensor.data_ptr() for tensor in (*loop.flow.parameters(), *states))

    fit(small_flow(), IMAGES, SHORT, tmp_path, resume=True, callbacks=[Watch()])
    assert len(addresses) > 100
    assert not any(address % 64 for address in addresses)


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    run, flow = RunFolder(tmp_path), small_flow()
    result = fit(flow, IMAGES, SHORT, run)
    before = run.metrics()
    again = fit(mera.load(run.path), IMAGES, SHORT, run, resume=True)
    assert (again.steps, again.test_loss, again.interrupted) == (result.steps, result.test_loss, False)
    assert same(again.flow, flow)
    assert run.metrics() == before


def test_a_loss_that_is_not_finite_stops_and_keeps_what_was_saved(tmp_path):
    run = RunFolder(tmp_path)

    def poison(loop):
        with torch.no_grad():
            next(loop.flow.bijectors["decimator1"].parameters()).fill_(math.nan)

    expected = r"got nan bits/dim and gradient norm nan at step 4: first in the output of node 'decimator1' at level 1"
    with pytest.raises(FloatingPointError, match=expected):
        fit(small_flow(), IMAGES, replace(SHORT, eval_every=2), run, callbacks=[At(3, poison)])
    assert run.state()["step"] == 2
    assert all(tensor.isfinite().all() for tensor in mera.load(run.path).state_dict().values())


def test_no_node_is_blamed_for_a_loss_that_is_not_finite():
    with pytest.raises(
        FloatingPointError, match=r"got nan loss .*: first in the loss or a gradient, since all outputs"
    ):
        fit(small_flow(), IMAGES, SHORT, loss=lambda flow, batch: math.nan * flow.log_prob(batch))


def test_a_mean_starts_where_the_flow_does(tmp_path):
    seen = []

    class AtStart(Callback):
        def on_start(self, loop):
            seen.extend([loop.trained is loop.flow, *(same(f, loop.flow) for f in (loop.trained, mera.load(tmp_path)))])

    fit(small_flow(), IMAGES, replace(SHORT, ema=0.9, steps=1), tmp_path, callbacks=[AtStart()])
    assert seen == [False, True, True]


def test_an_evaluation_that_is_no_number_stops_the_run(tmp_path, monkeypatch):
    """A run continues from its last checkpoint; a step that diverged is neither saved nor counted as the best."""
    found, run = iter([4.0, 3.0, 5.0, math.inf]), RunFolder(tmp_path)
    monkeypatch.setattr(loop, "losses", lambda *_, **__: torch.tensor([next(found)]))
    with pytest.raises(FloatingPointError, match="Expected finite bits/dim on test images; got inf after step 4"):
        fit(small_flow(), IMAGES, replace(SHORT, steps=5, eval_every=1), run)
    state = run.state()
    assert (state["step"], state["kept"]["best"]) == (3, (2, 3.0))
    assert [line["test_bits"] for line in run.metrics()] == [4, 3, 5]


def test_a_run_of_other_facts_is_not_resumed(tmp_path):
    run = RunFolder(tmp_path)
    fit(labelled_flow(), LABELLED, replace(SHORT, ema=0.9), run)
    train, test = LABELLED.train, LABELLED.test

    def splits(name, pixels, labels):
        return data.DataSplits(name, 3, data.ArrayDataset(pixels, {"class": labels}), test)

    images, labels = train.array, train.labels["class"]
    for name, other in (
        ("settings", {"ema": 0.0}),
        ("optimizer", {"optimizer": "AdamW"}),
        ("schedule", {"schedule": partial(optim.lr_scheduler.ExponentialLR, gamma=1), "warmup": None}),
        ("loss", {"loss": noisy_loss}),
        ("data", {"data": splits("flipped", images.flip(-1), labels)}),
        ("labels", {"data": splits("other labels", images, 1 - labels)}),
        ("options", {"flow": mera.build("rgflow", L=8, layers=1, hidden=(9,), classes=2)}),
    ):
        changes = {"flow": labelled_flow(), "data": LABELLED, "ema": 0.9} | other
        expected = rf"Expected the ({name}|optimizer options|settings).* (of|that) the run in"
        with pytest.raises(ValueError, match=expected):
            fit(changes.pop("flow"), changes.pop("data"), SHORT, run, resume=True, **changes)
    renamed = splits("renamed", images.clone(), labels)
    fit(labelled_flow(), renamed, replace(SHORT, ema=0.9), run, resume=True, eval_images=3)  # which may change
    assert run.facts()["limits"]["eval_images"] == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": noisy_loss}, r"a run that the command line can resume; go on with .*test_resume\.noisy_loss$"),
        ({"optimizer": partial(optim.RMSprop, lr=1e-3)}, "Expected the optimizer of the run in"),
    ],
)
def test_the_command_line_does_not_go_on_with_a_loss_or_an_optimizer_of_your_own(tmp_path, options, message):
    fit(small_flow(), IMAGES, SHORT, tmp_path, steps=1, **options)
    resumed = command("train", "--resume", tmp_path, "--steps", 9)
    assert resumed.exit_code == 1
    assert re.search(message, str(resumed.exception))


def test_what_is_written_is_what_is_used(tmp_path):
    used = {}

    def look(loop):
        used.update(threads=torch.get_num_threads(), decay=loop.optimizer.param_groups[0]["weight_decay"])

    fit(small_flow(), IMAGES, SHORT, tmp_path, callbacks=[At(1, look)], weight_decay=0.25, optimizer="AdamW")
    facts = RunFolder(tmp_path).facts()
    assert facts["optimizer options"][0]["weight_decay"] == used["decay"] == 0.25
    assert facts["threads"] == used["threads"]
    assert facts["loss"] is None


def test_parts_belong_to_their_run(tmp_path):
    """Checkpoints under each other's names or of another seed, a flow of another run, and one without a manifest."""
    one, two = (RunFolder(tmp_path / name) for name in ("one", "two"))
    for run, seed in ((one, 0), (two, 1)):
        fit(small_flow(), IMAGES, replace(SHORT, seed=seed), run)
    first, last = one.checkpoints / "step_00000003.pt", one.checkpoints / "step_00000006.pt"
    kept = last.read_bytes()
    for other in (first, two.checkpoints / last.name):
        last.write_bytes(other.read_bytes())
        with pytest.warns(
            UserWarning, match=r"step_00000006.pt: Expected a file as mera wrote it.*going on from step 3"
        ):
            assert one.state()["step"] == 3
    last.write_bytes(kept)
    one.weights.write_bytes(two.weights.read_bytes())
    with pytest.raises(ValueError, match="Expected the file of this run; got that of another"):
        mera.load(one.path)
    (one.path / "manifest.json").unlink()
    with pytest.raises(FileNotFoundError, match="has no manifest"):
        mera.load(one.path)
    with pytest.raises(FileNotFoundError, match="has no manifest"):
        fit(small_flow(), IMAGES, SHORT, one, resume="auto")


def test_a_folder_without_a_run_and_a_line_of_a_killed_process(tmp_path):
    """What damage does to files of a run is in `tests/test_damage.py`."""
    run = RunFolder(tmp_path)
    with pytest.raises(FileNotFoundError, match="Expected the folder of a run"):
        run.facts()
    with pytest.raises(FileNotFoundError, match="Expected a checkpoint in"):
        run.state()
    run.write({"a": 1})
    for step in (1, 2):
        run.append("metrics.jsonl", {"step": step})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": ')
    assert run.metrics() == [{"step": 1}, {"step": 2}]
    run.rewrite("metrics.jsonl", run.metrics()[:1])
    assert run.metrics() == [{"step": 1}]


def test_a_longer_run_has_a_new_schedule_or_is_told_that_its_own_is_spent(tmp_path):
    """With the rates of its new settings, from the next step on."""
    rates, x = [], torch.randn(20, 1, 4, 4)

    class Rates(Callback):
        def on_step(self, loop, metrics):
            rates.append(metrics["lr"])

    def learn(run, **options):
        rates.clear()
        settings = {"callbacks": [Rates()], "warmup": 3, "lr": 1e-2, "batch_size": 8}
        fit(field_flow().float(), x, run=run, **settings | options)

    learn(tmp_path / "a", steps=20)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    with pytest.warns(UserWarning, match=r"almost over: rates are at most 2\.0% of lr.*rewarm"):
        learn(tmp_path / "b", steps=22, resume=True)
    learn(tmp_path / "a", steps=30, resume=True, rewarm=True)
    expected = [min(1, (t + 1) / 3) * (1 + math.cos(math.pi * t / 10)) / 2 for t in range(10)]
    assert rates == pytest.approx([1e-2 * factor for factor in expected])
    learn(tmp_path / "a", steps=40, lr=2e-2, resume=True)  # the new schedule goes on to 40 steps
    assert rates[0] == pytest.approx(2e-2 * (1 + math.cos(math.pi / 2)) / 2)
    with pytest.raises(ValueError, match="rewarm=True with a run that is resumed"):
        learn(None, steps=3, rewarm=True)
