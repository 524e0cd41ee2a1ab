"""Arguments that `fit` refuses before anything is trained or written."""

import io
from dataclasses import replace

import pytest
import torch
from rich.console import Console

import mera
from mera import data
from mera.train import RunFolder, Settings, fit
from tests.helpers.callbacks import StopAt
from tests.helpers.training import IMAGES, SHORT, small_flow


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda run: fit(mera.Flow, IMAGES, SHORT, run), "Expected a Flow to train; got <class"),
        (lambda run: fit(small_flow(), None, SHORT, run), "Expected examples: a tensor, .*; got NoneType"),
        (lambda run: fit(small_flow().half(), IMAGES, SHORT, run), r"got torch\.float16: train flow\.float\(\)"),
        (lambda run: RunFolder(None), "Expected a path; got None"),
        (lambda run: fit(small_flow(), IMAGES, SHORT, run, resume="never"), 'resume as True, False or "auto"'),
        (lambda run: torch.no_grad()(fit)(small_flow(), IMAGES, SHORT, run), "Expected fit to run with gradients"),
        (lambda run: fit(small_flow(), IMAGES.train.array, SHORT, run, test=IMAGES.test.array[:0]),
         "Expected training and test examples; got 60 and 0"),
        (lambda run: fit(small_flow(), IMAGES, SHORT, run, stepps=3), "Expected a setting among .*mean 'steps'"),
        (lambda run: data.as_images(torch.zeros(2, 3, 8, 8) * 1j), "a dense tensor of real numbers; got a complex"),
    ],
)  # fmt: skip
def test_wrong_arguments(tmp_path, call, message):
    run = RunFolder(tmp_path / "run")
    with pytest.raises(ValueError, match=message):
        call(run)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("norm", "is_started", "n"), [(False, False, 1), (True, True, 1), (True, False, 2)])
def test_one_image_is_enough_without_normalisation_to_start_and_two_are_with_it(norm, is_started, n):
    flow = mera.build("rgflow", L=8, layers=1, hidden=(8,), norm=norm, prior="laplace")
    if is_started:
        flow.initialize(flow.from_images(IMAGES.train.array))
    few = data.DataSplits("few", 3, data.ArrayDataset(IMAGES.train.array[:n]), IMAGES.test)
    assert fit(flow, few, replace(SHORT, steps=1)).test_loss < 20


def labelled(classes):
    train = data.ArrayDataset(IMAGES.train.array, {"class": classes})
    test = data.ArrayDataset(IMAGES.test.array, {"class": classes[: len(IMAGES.test)]})
    return data.DataSplits("labelled", 3, train, test)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (torch.zeros(60, dtype=torch.complex64), r"Expected class numbers, integers \(N,\); got .* torch\.complex64"),
        (torch.zeros(60, dtype=torch.bool), r"Expected class numbers, integers \(N,\); got .* torch\.bool"),
        (torch.zeros(60, 1, dtype=torch.int64), r"Expected class numbers, integers \(N,\); got .* shape \(60, 1\)"),
        (torch.zeros(59, dtype=torch.int64), "Expected labels 'class' for each of 60 examples; got labels of shape"),
        (torch.full((60,), 3), "Expected class numbers from 0 to 2; got 3 to 3"),
    ],
)
def test_wrong_class_numbers(tmp_path, classes, message):
    flow = mera.build("rgflow", L=8, layers=1, hidden=(8,), classes=3)
    with pytest.raises(ValueError, match=message):
        fit(flow, labelled(classes), SHORT, tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_the_configuration_is_that_of_the_flow_that_learns(tmp_path):
    """A flow that failed before its first checkpoint leaves its manifest, but not for another flow."""
    run = RunFolder(tmp_path)
    run.write({"layout": "one that failed", "settings": {"lr": 1}})
    fit(small_flow(), IMAGES, replace(SHORT, steps=1), run, extra={"note": "mine"})
    facts = run.facts()
    assert (facts["note"], facts["model"]) == ("mine", "rgflow")
    assert "layout" not in facts
    assert facts["limits"]["lr"] == 8e-3


def test_settings_by_name_and_as_an_object_train_alike():
    """Where they depend on the data: batch size, rate, decay and evaluated samples of an action."""
    action, metrics = mera.physics.FreeField(1.0), []
    for settings, options in ((None, {"steps": 2}), (Settings(steps=2), {})):
        torch.manual_seed(0)
        flow = mera.build("rgflow", L=4, m=2, channels=1, hidden=(4,))
        metrics.append(fit(flow, action, settings, **options, check=False).history.metrics[-1])
    same = [{key: value for key, value in line.items() if not key.endswith("seconds")} for line in metrics]
    assert same[0] == same[1]
    assert Settings().filled({}).lr == Settings(lr=8e-3).filled({"lr": 1.0}).lr == 8e-3


def test_checkpointing_ends_with_the_run():
    flow = small_flow()
    fit(flow, IMAGES, SHORT, checkpoint=True, steps=1)
    assert not flow.checkpoint


def test_the_final_check_of_an_action_can_be_left_out(monkeypatch):
    judged = []
    monkeypatch.setattr("mera.train.reverse_kl.ReverseKL.verdict", lambda *args: judged.append(1) or "judged")
    flow = mera.build("rgflow", L=4, m=2, channels=1, hidden=(4,))
    for options, verdict in (({"check": False}, "not checked"), ({"callbacks": [StopAt(1)]}, "judged")):
        assert fit(flow, mera.physics.FreeField(1.0), steps=2, eval_images=2, **options).verdict == verdict
    assert judged == [1]


def test_the_final_check_of_an_action_is_announced():
    flow, action = mera.build("rgflow", L=4, m=2, channels=1, hidden=(4,)), mera.physics.FreeField(1.0)
    for check in (True, False):
        console = Console(file=io.StringIO())
        fit(flow, action, minutes=1e-9, eval_images=2, check=check, console=console)
        assert ("checking the weights of samples" in console.file.getvalue()) == check


@pytest.mark.parametrize("contexts", [torch.zeros(40, 3), torch.full((40, 2), torch.nan)])
def test_wrong_contexts_are_refused_before_anything_is_written(contexts, tmp_path):
    flow = mera.build("rgflow", L=4, m=2, channels=1, hidden=(4,), context=2)
    examples = data.ArrayDataset(torch.randn(40, 1, 4, 4), {"context": contexts})
    with pytest.raises(ValueError, match=r"Expected finite contexts \(40, 2\); got"):
        fit(flow, examples, test=examples, steps=1, run=tmp_path / "run")
    assert not any(tmp_path.iterdir())
